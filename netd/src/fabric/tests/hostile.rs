//! What guests must not be able to do to the daemon, its other guests, or the
//! host.

use super::*;

fn segment(seq: u32, ack: u32, payload: &[u8]) -> Frame {
    let header = Header {
        seq: Seq(seq),
        ack: Some(Seq(ack)),
        window: 1000,
        ..Header::default()
    };
    wire::tcp(&out([192, 0, 2, 1]), (4000, 80), &header, [payload, &[]])
}

/// A connected flow of 10.1.0.2's, and the number that it is to acknowledge.
fn connected(fabric: &mut Fabric, port: PortId, now: Instant) -> (FlowId, u32) {
    fabric.handle_frame(port, &syn([192, 0, 2, 1], 80), now);
    let (_, events) = drain(fabric, now);
    let [Event::Connect { flow, .. }] = events[..] else {
        panic!("{events:?}");
    };
    fabric.host_connected(flow, now);
    let (frames, _) = drain(fabric, now);
    let ip = wire::ip(&frames[0].1[ETHERNET..], &Offload::NONE).unwrap();
    let (.., answer, _) = wire::segment(&ip).unwrap();
    let ack = answer.seq.0.wrapping_add(1);
    fabric.handle_frame(port, &segment(101, ack, &[]), now);
    (flow, ack)
}

#[test]
fn a_large_segment_in_parts_is_kept_not_looked_for_in_the_last_of_them() {
    let now = Instant::now();
    let (mut fabric, [port, ..]) = fabric();
    let (flow, ack) = connected(&mut fabric, port, now);
    let payload: Vec<u8> = (0..20_000u32).map(|n| (n % 251) as u8).collect();
    let parts = wire::cut(segment(101, ack, &payload), 1500, 7);
    assert!(parts.len() > 10);
    for part in &parts {
        assert_eq!(fabric.handle_frame(port, part, now), Delivery::None);
    }
    assert!(fabric.connection(flow).unwrap().readable() == payload);
}

#[test]
fn padding_behind_a_segment_is_not_taken_for_its_end() {
    let now = Instant::now();
    let (mut fabric, [port, ..]) = fabric();
    let (flow, ack) = connected(&mut fabric, port, now);
    let mut frame = segment(101, ack, &[1; 10_000]);
    frame.extend_from_slice(&[2; 100]);
    assert_eq!(fabric.handle_frame(port, &frame, now), Delivery::None);
    assert!(fabric.connection(flow).unwrap().readable() == [1; 10_000]);
}

#[test]
fn a_guest_without_addresses_of_a_family_does_not_leave_by_it() {
    let now = Instant::now();
    let mut network = network(1, &[2]);
    network.endpoints[0].ipv6 = None;
    let mut fabric = Fabric::default();
    let port = fabric.apply(&[network], now).opened[0].port;
    let route = Route {
        src: "fe80::1234".parse().unwrap(),
        dst: "2001:db8::1".parse().unwrap(),
        ..out([0; 4])
    };
    let header = Header {
        syn: true,
        ..Header::default()
    };
    let tcp = wire::tcp(&route, (4000, 80), &header, [&[], &[]]);
    fabric.handle_frame(port, &tcp, now);
    fabric.handle_frame(port, &wire::udp(&route, (4000, 80), b"x"), now);
    assert_eq!(drain(&mut fabric, now).1, []);
    assert_eq!(fabric.flows.len(), 0);
    assert_eq!(fabric.counters.dropped(DropReason::NotRoutable), 2);
}

//! The core alone: frames in, frames and events out, on a clock of its own.
#![expect(
    clippy::disallowed_methods,
    reason = "tests need some instant to start from"
)]

mod flows;
mod guest;
mod hostile;
mod services;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::config::Protocol;
use crate::frame::Offload;
use crate::tcp::{Header, Seq};
use crate::wire::{self, ETHERNET};

fn endpoint(net: u8, last: u8) -> Endpoint {
    Endpoint {
        id: format!("{net}/{last}"),
        local: format!("/l{net}-{last}").into(),
        peer: format!("/p{net}-{last}").into(),
        transport: crate::config::Transport::Datagram,
        mac: format!("02:57:0a:{net:02x}:00:{last:02x}"),
        ipv4: Some(Ipv4Addr::new(10, net, 0, last)),
        ipv6: Some(Ipv6Addr::new(
            0xfd00,
            net.into(),
            0,
            0,
            0,
            0,
            0,
            last.into(),
        )),
        default_route: true,
        names: vec![format!("s{last}")],
        ..Endpoint::default()
    }
}

fn network(net: u8, lasts: &[u8]) -> Network {
    Network {
        name: format!("n{net}"),
        subnet: Some((Ipv4Addr::new(10, net, 0, 0), 24)),
        gateway: Some(Ipv4Addr::new(10, net, 0, 1)),
        subnet6: Some((Ipv6Addr::new(0xfd00, net.into(), 0, 0, 0, 0, 0, 0), 64)),
        gateway6: Some(Ipv6Addr::new(0xfd00, net.into(), 0, 0, 0, 0, 0, 1)),
        endpoints: lasts.iter().map(|last| endpoint(net, *last)).collect(),
        ..Network::default()
    }
}

/// Two networks; the ports of 10.1.0.2, 10.1.0.3 and 10.2.0.2.
fn fabric() -> (Fabric, [PortId; 3]) {
    let mut fabric = Fabric::default();
    let changes = fabric.apply(&[network(1, &[2, 3]), network(2, &[2])], Instant::now());
    let ports: Vec<PortId> = changes.opened.iter().map(|opened| opened.port).collect();
    (fabric, ports.try_into().unwrap())
}

/// From 10.1.0.2 to `dst` by way of the gateway.
fn out(dst: [u8; 4]) -> Route {
    Route {
        src_mac: wire::parse_mac("02:57:0a:01:00:02").unwrap(),
        dst_mac: network(1, &[]).gateway_mac(),
        src: Ipv4Addr::new(10, 1, 0, 2).into(),
        dst: Ipv4Addr::from(dst).into(),
    }
}

fn syn(dst: [u8; 4], port: u16) -> Frame {
    let header = Header {
        syn: true,
        seq: Seq(100),
        window: 1000,
        ..Header::default()
    };
    wire::tcp(&out(dst), (4000, port), &header, [&[], &[]])
}

fn drain(fabric: &mut Fabric, now: Instant) -> (Vec<(PortId, Frame)>, Vec<Event>) {
    let (mut frames, mut events) = (vec![], vec![]);
    loop {
        while let Some(flow) = fabric.next_ready() {
            fabric.flush(flow, now);
        }
        frames.extend(std::iter::from_fn(|| fabric.next_frame()));
        events.extend(std::iter::from_fn(|| fabric.next_event()));
        if fabric
            .flows
            .deadline()
            .is_none_or(|deadline| deadline > now)
        {
            return (frames, events);
        }
        fabric.timeout(now);
    }
}

#[test]
fn a_connection_is_answered_only_when_the_host_has_one() {
    let (mut fabric, [a, ..]) = fabric();
    let now = Instant::now();
    fabric.handle_frame(a, &syn([10, 1, 0, 1], 80), now);
    let (frames, events) = drain(&mut fabric, now);
    assert!(frames.is_empty());
    let [Event::Connect { flow, to }] = events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(to, "127.0.0.1:80".parse().unwrap());
    fabric.host_connected(flow, now);
    let (frames, _) = drain(&mut fabric, now);
    let ip = wire::ip(&frames[0].1[ETHERNET..], &Offload::NONE).unwrap();
    let (.., header, _) = wire::segment(&ip).unwrap();
    assert_eq!((frames[0].0, ip.src), (a, IpAddr::from([10, 1, 0, 1])));
    assert!(header.syn && header.ack == Some(Seq(101)));
}

#[test]
fn an_unreachable_host_is_an_icmp_error_that_quotes_the_packet() {
    let (mut fabric, [a, ..]) = fabric();
    let now = Instant::now();
    let frame = syn([192, 0, 2, 1], 80);
    fabric.handle_frame(a, &frame, now);
    let (_, events) = drain(&mut fabric, now);
    let [Event::Connect { flow, .. }] = events[..] else {
        panic!("{events:?}")
    };
    fabric.host_failed(flow, HostFailure::NetworkUnreachable, now);
    let (frames, _) = drain(&mut fabric, now);
    let ip = wire::ip(&frames[0].1[ETHERNET..], &Offload::NONE).unwrap();
    assert!(wire::icmp_message(&ip).is_some());
    assert_eq!((ip.payload[0], ip.payload[1]), (3, 0));
    assert_eq!(ip.payload[8..], frame[ETHERNET..]);
    assert_eq!(fabric.flow_count(), 0);
}

#[test]
fn other_networks_and_the_hosts_insides_are_not_destinations() {
    let (mut fabric, [a, ..]) = fabric();
    let now = Instant::now();
    for dst in [[10, 2, 0, 2], [10, 2, 0, 1]] {
        fabric.handle_frame(a, &syn(dst, 80), now);
    }
    assert_eq!(fabric.counters.dropped(DropReason::OtherNetwork), 2);
    let insides = [
        [127, 0, 0, 1],
        [10, 1, 0, 3],
        [169, 254, 169, 254],
        [0, 0, 0, 0],
        [224, 0, 0, 1],
    ];
    for dst in insides {
        fabric.handle_frame(a, &syn(dst, 80), now);
    }
    assert_eq!(fabric.counters.dropped(DropReason::NotRoutable), 5);
    // Those that are somebody's are said to be unreachable.
    let (frames, events) = drain(&mut fabric, now);
    assert!(events.is_empty());
    assert_eq!(frames.len(), 2 + 3);
    for (_, frame) in frames {
        let ip = wire::ip(&frame[ETHERNET..], &Offload::NONE).unwrap();
        assert_eq!(wire::icmp_message(&ip).unwrap()[..2], [3, 0]);
    }
}

#[test]
fn parts_are_put_together_or_dropped_and_counted() {
    let (mut fabric, [a, ..]) = fabric();
    let mut frame = wire::udp(&out([192, 0, 2, 1]), (4000, 4000), b"part");
    frame[ETHERNET + 6] = 0x20;
    // The header's checksum for the changed flags: 0x4000 became 0x2000.
    let sum = u16::from_be_bytes([frame[ETHERNET + 10], frame[ETHERNET + 11]]);
    let (sum, carry) = sum.overflowing_add(0x2000);
    frame[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&(sum + u16::from(carry)).to_be_bytes());
    let now = Instant::now();
    fabric.handle_frame(a, &frame, now);
    assert_eq!(fabric.counters.dropped(DropReason::Malformed), 1);
    // It may be a first part if its length is a multiple of eight; the others
    // never come.
    let whole = wire::udp(&out([192, 0, 2, 1]), (4000, 4000), &[7; 2000]);
    let parts = wire::cut(whole, 1500, 9);
    fabric.handle_frame(a, &parts[0], now);
    assert_eq!(fabric.counters.dropped(DropReason::Fragment), 0);
    fabric.timeout(now + Duration::from_secs(15));
    assert_eq!(fabric.counters.dropped(DropReason::Fragment), 1);
    for part in &parts {
        fabric.handle_frame(a, part, now);
    }
    let (_, events) = drain(&mut fabric, now);
    let [Event::SendDatagram { outgoing, .. }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(outgoing.payload, [7; 2000]);
    assert!(!outgoing.whole);
}

#[test]
fn a_guest_has_a_bounded_number_of_flows() {
    let (mut fabric, [a, _, c]) = fabric();
    let now = Instant::now();
    for n in 0..6000u32 {
        let header = Header {
            syn: true,
            window: 1000,
            ..Header::default()
        };
        let ports = (1024 + (n % 50_000) as u16, 80);
        fabric.handle_frame(
            a,
            &wire::tcp(&out([192, 0, 2, 1]), ports, &header, [&[], &[]]),
            now,
        );
    }
    // The oldest made place, several at a time.
    let count = fabric.flow_count();
    assert!((4096 - 64..=4096).contains(&count), "{count}");
    let gone = fabric.counters.dropped(DropReason::TooMany) as usize;
    assert_eq!(gone + count, 6000);
    let publish = Publish {
        id: "p".into(),
        host_ip: None,
        host_port: 0,
        host_port_last: None,
        host_path: None,
        protocol: Protocol::Tcp,
        endpoint: "2/2".into(),
        container_port: 80,
    };
    let publish = fabric.add_publish(publish);
    assert!(
        fabric
            .open_published(publish, "192.0.2.7:4000".parse().unwrap(), now)
            .is_some(),
        "others are not affected: {c:?}"
    );
    // All handshakes are given up in the end.
    let late = now + Duration::from_secs(120);
    fabric.timeout(late);
    drain(&mut fabric, late);
    assert_eq!(fabric.flow_count(), 0);
}

#[test]
fn what_stays_the_same_is_not_touched() {
    let (mut fabric, [a, b, c]) = fabric();
    let now = Instant::now();
    fabric.handle_frame(a, &syn([192, 0, 2, 1], 80), now);
    let mut first = network(1, &[2, 4]);
    first.endpoints[0].names.push("alias".into());
    let changes = fabric.apply(&[first.clone(), network(2, &[2])], Instant::now());
    assert_eq!(changes.closed, [b]);
    let opened: Vec<&str> = changes.opened.iter().map(|o| o.endpoint.as_str()).collect();
    assert_eq!(opened, ["1/4"]);
    assert_eq!(fabric.flow_count(), 1);
    let changes = fabric.apply(&[first.clone(), network(2, &[2])], Instant::now());
    assert!(changes.closed.is_empty() && changes.opened.is_empty());
    // Another address is another endpoint; another gateway another network.
    first.endpoints[0].ipv4 = Some(Ipv4Addr::new(10, 1, 0, 9));
    let mut second = network(2, &[2]);
    second.gateway = Some(Ipv4Addr::new(10, 2, 0, 7));
    let mut closed = fabric.apply(&[first, second], Instant::now()).closed;
    closed.sort();
    assert_eq!(closed, [a, c]);
    assert_eq!(fabric.flow_count(), 0);
    let closed = fabric.apply(&[], Instant::now()).closed;
    assert_eq!(closed.len(), 3);
    assert_eq!(fabric.endpoints(), 0);
}

#[test]
fn a_full_queue_holds_a_flow_back_until_it_is_empty() {
    let (mut fabric, [a, ..]) = fabric();
    let now = Instant::now();
    fabric.handle_frame(a, &syn([10, 1, 0, 1], 80), now);
    let (_, events) = drain(&mut fabric, now);
    let [Event::Connect { flow, .. }] = events[..] else {
        panic!("{events:?}")
    };
    fabric.host_connected(flow, now);
    let (frames, _) = drain(&mut fabric, now);
    let ip = wire::ip(&frames[0].1[ETHERNET..], &Offload::NONE).unwrap();
    let ours = wire::segment(&ip).unwrap().2.seq;
    let ack = Header {
        seq: Seq(101),
        ack: Some(ours.plus(1)),
        window: 60_000,
        ..Header::default()
    };
    fabric.handle_frame(
        a,
        &wire::tcp(&out([10, 1, 0, 1]), (4000, 80), &ack, [&[], &[]]),
        now,
    );
    drain(&mut fabric, now);
    fabric.set_queued(a, PORT_ROOM);
    fabric.connection(flow).unwrap().supply(b"data");
    fabric.flush(flow, now);
    assert!(drain(&mut fabric, now).0.is_empty());
    fabric.set_queued(a, 0);
    assert_eq!(drain(&mut fabric, now).0.len(), 1);
}

proptest! {
    #[test]
    fn any_frames_are_survived(
        frames in prop::collection::vec(
            (0usize..3, 0u8..12, prop::collection::vec(any::<u8>(), 0..120), any::<[u16; 3]>()),
            1..20,
        ),
    ) {
        let (mut fabric, ports) = fabric();
        fabric.set_resolvers(vec!["127.0.0.1:53".parse().unwrap()]);
        let mut now = Instant::now();
        for (from, kind, bytes, [x, y, z]) in frames {
            let dst = [[10, 1, 0, 1], [192, 0, 2, 1], [10, 2, 0, 2]][usize::from(z) % 3];
            let mut route = out(dst);
            if kind >= 6 {
                let dst = ["fd00:1::1", "2001:db8::1", "ff02::1:ff00:1", "fd00:2::2"][usize::from(y) % 4];
                (route.src, route.dst) = ("fd00:1::2".parse().unwrap(), dst.parse().unwrap());
            }
            let port = if x & 1 == 0 { 53 } else { y };
            let header = Header {
                seq: Seq(u32::from(x)), ack: (y & 1 == 1).then_some(Seq(u32::from(z))),
                syn: y & 6 == 6, fin: y & 24 == 24, rst: y & 96 == 96, psh: false,
                window: z, mss: Some(x), scale: Some((y % 20) as u8),
            };
            let frame = match kind {
                0 => bytes,
                1 => wire::udp(&route, (4000, port), &bytes).to_vec(),
                2 => wire::echo_reply(&route, &[&[8, 0, 0, 0, 0, 0, 0, 0], &bytes[..]].concat()).to_vec(),
                3 => wire::arp_reply((route.src_mac, route.dst_mac), [10, 1, 0, 2].into(), [10, 1, 0, 1].into()).to_vec(),
                6 => wire::icmp(&route, 255, [&[130 + (x % 12) as u8, 0, 0, 0, 0, 0, 0, 0], &bytes]).to_vec(),
                7 => {
                    let large = wire::udp(&route, (4000, port), &bytes.repeat(40));
                    let mut parts = wire::cut(large, 1280, z.into());
                    parts.swap_remove(usize::from(x) % parts.len()).to_vec()
                }
                8 | 9 => wire::udp(&route, (4000, port), &bytes).to_vec(),
                10 => {
                    (route.src, route.dst) = ([0; 4].into(), [255; 4].into());
                    let fixed = [&[1, 1, 6, 0][..], &[0; 24], &[2, 0x57, 10, 1, 0, 2], &[0; 202], &[99, 130, 83, 99]];
                    let request = [&fixed.concat()[..], &bytes].concat();
                    wire::udp(&route, (68, 67), &request).to_vec()
                }
                _ => wire::tcp(&route, (4000 + x % 3, port), &header, [&bytes, &[]]).to_vec(),
            };
            fabric.handle_frame(ports[from], &frame, now);
            let (_, events) = drain(&mut fabric, now);
            for event in events {
                if let Event::Connect { flow, .. } = event {
                    fabric.host_connected(flow, now);
                }
            }
            now += Duration::from_millis(u64::from(z % 5000));
            fabric.timeout(now);
            drain(&mut fabric, now);
        }
    }
}

//! TCP through the gateway, with smoltcp as the guest and a clock that jumps.

use proptest::prelude::*;
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::State;

use super::guest::{Link, World};
use super::*;

fn bytes(seed: u8, length: usize) -> Vec<u8> {
    (0..length)
        .map(|n| (n * 31 + n / 251) as u8 ^ seed)
        .collect()
}

/// Sends all that the guest has to say, and takes what comes.
fn talk(world: &mut World, handle: SocketHandle, unsent: &mut Vec<u8>, received: &mut Vec<u8>) {
    let socket = world.tcp(handle);
    if socket.can_send() && !unsent.is_empty() {
        let n = socket.send_slice(unsent).unwrap();
        unsent.drain(..n);
    }
    while socket.can_recv() {
        let take = |data: &mut [u8]| {
            received.extend_from_slice(data);
            (data.len(), ())
        };
        socket.recv(take).unwrap();
    }
}

/// Both sides send and finish in an order; both get everything.
fn exchange(
    world: &mut World,
    (handle, flow): (SocketHandle, FlowId),
    guest_first: bool,
    length: usize,
) {
    let (to_host, to_guest) = (bytes(1, length), bytes(2, length / 2 + 1));
    let (mut unsent, mut received) = (to_host.clone(), Vec::new());
    world.host(flow).unsent.extend(&to_guest);
    if !guest_first {
        world.host(flow).finish = true;
        world.until("the host's end", 600, |world| {
            talk(world, handle, &mut Vec::new(), &mut received);
            !world.tcp(handle).may_recv()
        });
        assert!(received == to_guest);
        // The other direction is still open.
        world.until("the guest's bytes", 600, |world| {
            talk(world, handle, &mut unsent, &mut Vec::new());
            world.hosts[&flow].received.len() == length
        });
        world.tcp(handle).close();
    } else {
        world.until("sending", 600, |world| {
            talk(world, handle, &mut unsent, &mut received);
            unsent.is_empty()
        });
        world.tcp(handle).close();
        world.until("the guest's end", 600, |world| {
            talk(world, handle, &mut Vec::new(), &mut received);
            world.hosts[&flow].guest_finished
        });
        assert_eq!(world.hosts[&flow].closed, None);
        world.host(flow).unsent.extend(b"and more");
        world.host(flow).finish = true;
        world.until("the host's bytes", 600, |world| {
            talk(world, handle, &mut Vec::new(), &mut received);
            !world.tcp(handle).may_recv()
        });
        assert!(received == [&to_guest[..], b"and more"].concat());
    }
    world.until("the end", 600, |world| world.hosts[&flow].closed.is_some());
    assert_eq!(world.hosts[&flow].closed, Some(Close::Done));
    assert!(world.hosts[&flow].received == to_host);
    // A SYN that came twice and late began another one, which the guest resets.
    world.until("nothing is left", 600, |world| {
        world.fabric.flows.len() == 0
    });
}

type Begin = fn(&mut World) -> (SocketHandle, FlowId);

/// Every way in which a connection can begin.
fn beginnings() -> [Begin; 5] {
    [
        |world| world.outward(true),
        |world| world.outward(false),
        |world| world.published("192.0.2.9:5000"),
        |world| world.published("[2001:db8::9]:5000"),
        |world| world.published("127.0.0.1:5000"),
    ]
}

#[test]
fn either_side_may_finish_first() {
    for begin in beginnings() {
        for guest_first in [false, true] {
            let mut world = World::new(Link::default(), 1);
            let ends = begin(&mut world);
            exchange(&mut world, ends, guest_first, 30_000);
        }
    }
}

#[test]
fn resets_are_carried_across() {
    for begin in beginnings() {
        // The guest resets, with and without data under way.
        for length in [0, 5000] {
            let mut world = World::new(Link::default(), 2);
            let (handle, flow) = begin(&mut world);
            world.host(flow).unsent.extend(bytes(1, length));
            world.tcp(handle).abort();
            world.until("the reset", 10, |world| world.hosts[&flow].closed.is_some());
            assert_eq!(world.hosts[&flow].closed, Some(Close::Reset));
        }
        // The host resets.
        let mut world = World::new(Link::default(), 3);
        let (handle, flow) = begin(&mut world);
        world.reset(flow);
        world.until("the reset", 10, |world| {
            world.tcp(handle).state() == State::Closed
        });
        assert_eq!(world.fabric.flows.len(), 0);
        // After the guest has finished, too.
        let mut world = World::new(Link::default(), 4);
        let (handle, flow) = begin(&mut world);
        world.tcp(handle).close();
        world.until("the end", 10, |world| world.hosts[&flow].guest_finished);
        world.reset(flow);
        world.until("the reset", 10, |world| {
            world.tcp(handle).state() == State::Closed
        });
    }
}

#[test]
fn a_side_that_does_not_read_holds_the_other_up_and_loses_nothing() {
    let mut world = World::new(Link::default(), 5);
    let (handle, flow) = world.outward(true);
    let data = bytes(3, 2_000_000);
    // The host does not read for a minute: the guest may not send on.
    world.host(flow).stalled = true;
    let mut unsent = data.clone();
    let end = world.now + Duration::from_secs(60);
    world.until("a minute", 120, |world| {
        talk(world, handle, &mut unsent, &mut Vec::new());
        world.now >= end
    });
    assert!(unsent.len() > 1_000_000, "{}", unsent.len());
    world.host(flow).stalled = false;
    world.until("all of it", 600, |world| {
        talk(world, handle, &mut unsent, &mut Vec::new());
        world.hosts[&flow].received.len() == data.len()
    });
    assert!(world.hosts[&flow].received == data);
    // The guest does not: the host is not read from any more.
    world.host(flow).unsent.extend(&data);
    world.pass(60);
    assert!(world.hosts[&flow].unsent.len() > 1_000_000);
    let mut received = Vec::new();
    world.until("all of it", 600, |world| {
        talk(world, handle, &mut Vec::new(), &mut received);
        received.len() == data.len()
    });
    assert!(received == data);
}

#[test]
fn a_host_that_reads_slowly_gets_all_after_both_have_ended() {
    for host_first in [true, false] {
        let mut world = World::new(Link::default(), 6);
        let (handle, flow) = world.outward(true);
        let data = bytes(4, 100_000);
        world.host(flow).stalled = true;
        let mut unsent = data.clone();
        if host_first {
            world.host(flow).finish = true;
        }
        world.until("all is sent", 60, |world| {
            talk(world, handle, &mut unsent, &mut Vec::new());
            unsent.is_empty()
        });
        world.tcp(handle).close();
        world.pass(1);
        world.host(flow).finish = true;
        world.pass(30);
        assert_eq!(world.hosts[&flow].closed, None);
        world.host(flow).stalled = false;
        world.until("the rest", 10, |world| world.hosts[&flow].closed.is_some());
        assert!(world.hosts[&flow].received == data);
        assert_eq!(world.hosts[&flow].closed, Some(Close::Done));
        assert_eq!(world.fabric.flows.len(), 0);
    }
}

#[test]
fn a_host_that_never_reads_can_be_given_up_when_the_guest_has_ended() {
    let mut world = World::new(Link::default(), 7);
    let (handle, flow) = world.outward(true);
    world.host(flow).stalled = true;
    world.host(flow).finish = true;
    let mut unsent = bytes(5, 1000);
    world.until("all is sent", 60, |world| {
        talk(world, handle, &mut unsent, &mut Vec::new());
        unsent.is_empty()
    });
    world.tcp(handle).close();
    world.pass(30);
    let now = world.now;
    world.fabric.abort(flow, now);
    world.pass(1);
    assert_eq!(world.hosts[&flow].closed, Some(Close::Aborted));
}

#[test]
fn the_client_is_seen_as_itself_or_as_the_gateway() {
    for (client, seen) in [
        ("192.0.2.9:5000", Some("192.0.2.9:5000")),
        ("[2001:db8::9]:5000", Some("[2001:db8::9]:5000")),
        ("127.0.0.1:5000", None),
        ("10.1.0.3:5000", None),
        ("[::ffff:192.0.2.9]:5000", Some("192.0.2.9:5000")),
    ] {
        let mut world = World::new(Link::default(), 6);
        let (handle, _) = world.published(client);
        let remote = world.tcp(handle).remote_endpoint().unwrap().to_string();
        match seen {
            Some(seen) => assert_eq!(remote.replace(['[', ']'], ""), seen.replace(['[', ']'], "")),
            None => assert!(remote.starts_with("10.1.0.1:"), "{client}: {remote}"),
        }
    }
}

#[test]
fn a_service_of_the_other_family_is_found() {
    let mut world = World::new(Link::default(), 7);
    let publish = Publish {
        id: "p".into(),
        host_ip: None,
        host_port: 0,
        host_port_last: None,
        host_path: None,
        protocol: Protocol::Tcp,
        endpoint: "1/2".into(),
        container_port: 80,
    };
    let publish = world.fabric.add_publish(publish);
    let client = "[2001:db8::9]:5000".parse().unwrap();
    let flow = world
        .fabric
        .open_published(publish, client, world.now)
        .unwrap();
    // Nobody listens at all: asked by IPv6, then by IPv4, then refused.
    world.until("the refusal", 10, |world| {
        world
            .hosts
            .get(&flow)
            .is_some_and(|host| host.closed.is_some())
    });
    assert_eq!(world.hosts[&flow].closed, Some(Close::Reset));
    assert_eq!(world.fabric.flows.len(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_bad_link_loses_nothing(
        seed: u64, begin in 0usize..5, guest_first: bool, length in 0usize..60_000,
        lost in 8u64..60, repeated in 8u64..60, late in 3u64..60,
    ) {
        let mut world = World::new(Link { lost, repeated, late }, seed);
        let ends = beginnings()[begin](&mut world);
        exchange(&mut world, ends, guest_first, length);
    }
}

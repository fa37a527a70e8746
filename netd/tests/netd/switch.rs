//! Guests among themselves: who reaches whom, and who may say what.

use std::time::Duration;

use smoltcp::socket::icmp;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol,
    Icmpv4Packet, Icmpv4Repr, Ipv4Address,
};

use crate::guest::Guest;
use crate::kit::{Daemon, PATIENCE, bytes, config};

/// Sends `count` pings to `to`; how many are answered within half a second.
fn ping(guest: &mut Guest, to: Ipv4Address, count: u16) -> usize {
    let buffer = || icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 16], vec![0; 4096]);
    let mut socket = icmp::Socket::new(buffer(), buffer());
    socket.bind(icmp::Endpoint::Ident(7)).unwrap();
    let handle = guest.sockets.add(socket);
    for seq_no in 0..count {
        let repr = Icmpv4Repr::EchoRequest {
            ident: 7,
            seq_no,
            data: b"0123456",
        };
        let socket = guest.sockets.get_mut::<icmp::Socket>(handle);
        let payload = socket.send(repr.buffer_len(), to.into()).unwrap();
        repr.emit(
            &mut Icmpv4Packet::new_unchecked(payload),
            &Default::default(),
        );
    }
    guest.work(Duration::from_millis(500));
    let mut answers = 0;
    while let Ok((payload, from)) = guest.sockets.get_mut::<icmp::Socket>(handle).recv() {
        let packet = Icmpv4Packet::new_checked(payload).unwrap();
        let repr = Icmpv4Repr::parse(&packet, &Default::default()).unwrap();
        assert!(matches!(
            repr,
            Icmpv4Repr::EchoReply {
                data: b"0123456",
                ..
            }
        ));
        assert_eq!(from, to.into());
        answers += 1;
    }
    answers
}

#[test]
fn the_gateway_answers_pings_and_nobody_else_answers_for_strangers() {
    let daemon = Daemon::start();
    let network = daemon.network(77, &["a"]);
    daemon.apply(&config(&[&network]));
    let mut guest = daemon.guest(&network, "a");
    assert_eq!(ping(&mut guest, network.gateway.unwrap(), 5), 5);
    guest.work(Duration::from_millis(1000));
    assert_eq!(ping(&mut guest, Ipv4Address::new(10, 77, 0, 9), 2), 0);
    assert!(daemon.drops("ArpNotForUs") > 0);
}

#[test]
fn guests_of_a_network_talk_to_each_other() {
    let daemon = Daemon::start();
    let network = daemon.network(77, &["a", "b"]);
    daemon.apply(&config(&[&network]));
    let mut a = daemon.guest(&network, "a");
    let mut b = daemon.guest(&network, "b");
    let server = b.listen(80);
    let address = b.address;
    let data = bytes(1 << 20);
    let expected = data.clone();
    let thread = std::thread::spawn(move || {
        assert_eq!(b.receive_all(server), expected);
        b.send(server, b"thanks", true);
        b.work(Duration::from_millis(300));
    });
    let socket = a.connect((address, 80)).unwrap();
    a.send(socket, &data, true);
    assert_eq!(a.receive_all(socket), b"thanks");
    thread.join().unwrap();
}

#[test]
fn networks_do_not_reach_each_other() {
    let daemon = Daemon::start();
    let (front, back) = (daemon.network(77, &["a"]), daemon.network(78, &["b"]));
    daemon.apply(&config(&[&front, &back]));
    let mut a = daemon.guest(&front, "a");
    let mut b = daemon.guest(&back, "b");
    b.listen(80);
    let there = b.address;
    let _b = b.in_background();
    // Routed through the gateway, to the guest and to the other gateway.
    let socket = a.dial((there, 80));
    assert_eq!(ping(&mut a, there, 2), 0);
    assert_eq!(ping(&mut a, back.gateway.unwrap(), 2), 0);
    assert!(!a.tcp(socket).may_send());
    assert!(daemon.drops("OtherNetwork") >= 5);
    // With the other guest's hardware address.
    let before = daemon.drops("UnknownDestination");
    let mut frame = arp(&front.endpoints[0].mac, a.address, there);
    frame[..6].copy_from_slice(mac(&back.endpoints[0].mac).as_bytes());
    a.card.send(&frame);
    a.work(Duration::from_millis(50));
    assert_eq!(daemon.drops("UnknownDestination"), before + 1);
}

#[test]
fn the_hosts_loopback_and_link_local_addresses_are_out_of_reach() {
    let daemon = Daemon::start();
    let network = daemon.network(77, &["a"]);
    daemon.apply(&config(&[&network]));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut guest = daemon.guest(&network, "a");
    let local = guest.dial((Ipv4Address::new(127, 0, 0, 1), port));
    let metadata = guest.dial((Ipv4Address::new(169, 254, 169, 254), 80));
    guest.work(Duration::from_millis(300));
    assert!(!guest.tcp(local).may_send() && !guest.tcp(metadata).may_send());
    assert!(daemon.drops("NotRoutable") >= 2);
}

/// The next frame that comes to a guest, whose own stack does not get it.
fn card_of(guest: &mut Guest) -> Vec<u8> {
    let start = std::time::Instant::now();
    loop {
        if let Some(frame) = guest.card.receive() {
            return frame;
        }
        assert!(start.elapsed() < PATIENCE, "no frame");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn mac(text: &str) -> EthernetAddress {
    let bytes: Vec<u8> = text
        .split(':')
        .map(|b| u8::from_str_radix(b, 16).unwrap())
        .collect();
    EthernetAddress::from_bytes(&bytes)
}

/// An ARP announcement: `address` is at `hardware`.
fn arp(hardware: &str, address: Ipv4Address, target: Ipv4Address) -> Vec<u8> {
    let repr = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Request,
        source_hardware_addr: mac(hardware),
        source_protocol_addr: address,
        target_hardware_addr: EthernetAddress([0; 6]),
        target_protocol_addr: target,
    };
    let mut frame = vec![0; 14 + repr.buffer_len()];
    let mut view = EthernetFrame::new_unchecked(&mut frame);
    view.set_src_addr(mac(hardware));
    view.set_dst_addr(EthernetAddress::BROADCAST);
    view.set_ethertype(EthernetProtocol::Arp);
    repr.emit(&mut ArpPacket::new_unchecked(view.payload_mut()));
    frame
}

#[test]
fn whoever_claims_to_be_somebody_else_is_not_heard() {
    let daemon = Daemon::start();
    let network = daemon.network(77, &["a", "b"]);
    daemon.apply(&config(&[&network]));
    let mut a = daemon.guest(&network, "a");
    let mut b = daemon.guest(&network, "b");
    let (mine, theirs) = (&network.endpoints[0], &network.endpoints[1]);
    let honest = arp(&mine.mac, mine.ipv4.unwrap(), theirs.ipv4.unwrap());
    let wrong_address = arp(&mine.mac, network.gateway.unwrap(), theirs.ipv4.unwrap());
    let wrong_mac = arp(&theirs.mac, mine.ipv4.unwrap(), theirs.ipv4.unwrap());
    let mut inner_mac = honest.clone();
    inner_mac[22..28].copy_from_slice(mac(&theirs.mac).as_bytes());
    for frame in [&wrong_address, &wrong_mac, &inner_mac, &honest] {
        a.card.send(frame);
    }
    // Only the honest one arrives.
    let heard = card_of(&mut b);
    assert_eq!(heard, honest);
    assert_eq!(b.card.receive(), None);
    assert_eq!(
        (daemon.drops("SpoofedAddress"), daemon.drops("SpoofedMac")),
        (1, 2)
    );

    // An IPv4 packet with another source.
    let mut frame = vec![0; 60];
    frame[..6].copy_from_slice(mac(&theirs.mac).as_bytes());
    frame[6..12].copy_from_slice(mac(&mine.mac).as_bytes());
    frame[12..15].copy_from_slice(&[8, 0, 0x45]);
    frame[26..30].copy_from_slice(&network.gateway.unwrap().octets());
    a.card.send(&frame);
    a.work(Duration::from_millis(50));
    assert_eq!(daemon.drops("SpoofedAddress"), 2);
    assert_eq!(b.card.receive(), None);
}

#[test]
fn an_internal_network_has_no_way_out() {
    let daemon = Daemon::start();
    let mut network = daemon.network(77, &["a", "b"]);
    network.internal = true;
    daemon.apply(&config(&[&network]));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut a = daemon.guest(&network, "a");
    assert!(a.connect((network.gateway.unwrap(), port)).is_none());
    let out = a.dial((Ipv4Address::new(192, 0, 2, 1), 80));
    a.work(Duration::from_millis(200));
    assert!(!a.tcp(out).may_send());
    assert_eq!(daemon.drops("Internal"), 2);
    let mut b = daemon.guest(&network, "b");
    let address = b.address;
    b.listen(80);
    let _b = b.in_background();
    assert!(a.connect((address, 80)).is_some());
}

#[test]
fn an_address_that_moves_to_another_machine_is_told() {
    let daemon = Daemon::start();
    let mut network = daemon.network(77, &["a", "b"]);
    daemon.apply(&config(&[&network]));
    let mut a = daemon.guest(&network, "a");
    let b = daemon.guest(&network, "b");
    let address = b.address;
    let mut b = b;
    let _server = b.listen(80);
    let b = b.in_background();
    assert!(a.connect((address, 80)).is_some());
    drop(b);
    // Its machine is removed, and another one has its address.
    let last = network.endpoints.pop().unwrap();
    daemon.apply(&config(&[&network]));
    network.endpoints.push(stack_netd::config::Endpoint {
        id: "c".into(),
        mac: "02:57:0a:4d:00:77".into(),
        ..last
    });
    let mut c = daemon.guest(&network, "c");
    let _server = c.listen(80);
    let _c = c.in_background();
    daemon.apply(&config(&[&network]));
    let start = std::time::Instant::now();
    assert!(a.connect((address, 80)).is_some());
    assert!(start.elapsed() < std::time::Duration::from_secs(10));
}

//! What the gateway does for guests besides flows, and what it refuses.

use std::net::IpAddr;

use smoltcp::wire::{DhcpMessageType, DhcpPacket, DhcpRepr};

use super::*;
use crate::config::link_local;
use crate::wire::{IcmpError, Ip, Mac};

const OTHER_MAC: &str = "02:57:0a:01:00:03";

fn mac(text: &str) -> Mac {
    wire::parse_mac(text).unwrap()
}

fn own_mac() -> Mac {
    mac("02:57:0a:01:00:02")
}

fn six(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, last)
}

/// From 10.1.0.2's card, whatever the addresses.
fn from_guest(src: IpAddr, dst: IpAddr, dst_mac: Mac) -> Route {
    Route {
        src_mac: own_mac(),
        dst_mac,
        src,
        dst,
    }
}

fn packet(frame: &[u8]) -> Ip<'_> {
    wire::ip(&frame[ETHERNET..], &Offload::NONE).unwrap()
}

/// Which counter a frame of 10.1.0.2's card is dropped under.
fn dropped(frame: &[u8]) -> Option<DropReason> {
    let (mut fabric, [a, ..]) = fabric();
    fabric.handle_frame(a, frame, Instant::now());
    let all = [
        DropReason::Malformed,
        DropReason::SpoofedMac,
        DropReason::SpoofedAddress,
        DropReason::RogueRouter,
        DropReason::NotRoutable,
        DropReason::OtherNetwork,
        DropReason::HopsUsed,
    ];
    all.into_iter()
        .find(|reason| fabric.counters.dropped(*reason) > 0)
}

fn icmp6(src: Ipv6Addr, dst: Ipv6Addr, message: &[u8]) -> Vec<u8> {
    let route = from_guest(src.into(), dst.into(), mac(OTHER_MAC));
    wire::icmp(&route, 255, [message, &[]]).to_vec()
}

fn advertisement_of(target: Ipv6Addr, mac: Mac) -> Vec<u8> {
    let target = target.octets();
    [
        &[136, 0, 0, 0, 0x20, 0, 0, 0],
        &target[..],
        &[2, 1],
        mac.as_bytes(),
    ]
    .concat()
}

#[test]
fn neighbours_speak_for_themselves_only() {
    let others = link_local(mac(OTHER_MAC));
    let own = link_local(own_mac());
    let echo = [128, 0, 0, 0, 0, 1, 0, 1];
    for (frame, expected) in [
        (icmp6(six(2), six(3), &echo), None),
        (icmp6(own, six(3), &echo), None),
        (icmp6("fe80::1234".parse().unwrap(), six(3), &echo), None),
        (
            icmp6(six(3), six(2), &echo),
            Some(DropReason::SpoofedAddress),
        ),
        (
            icmp6(six(1), six(3), &echo),
            Some(DropReason::SpoofedAddress),
        ),
        (
            icmp6(others, six(3), &echo),
            Some(DropReason::SpoofedAddress),
        ),
        (
            icmp6(Ipv6Addr::UNSPECIFIED, six(3), &echo),
            Some(DropReason::SpoofedAddress),
        ),
        (
            icmp6(six(2), six(3), &advertisement_of(six(2), own_mac())),
            None,
        ),
        (
            icmp6(six(2), six(3), &advertisement_of(six(1), own_mac())),
            Some(DropReason::SpoofedAddress),
        ),
        (
            icmp6(six(2), six(3), &advertisement_of(six(2), mac(OTHER_MAC))),
            Some(DropReason::SpoofedMac),
        ),
        (
            icmp6(
                own,
                "ff02::1".parse().unwrap(),
                &[134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0],
            ),
            Some(DropReason::RogueRouter),
        ),
    ] {
        assert_eq!(dropped(&frame), expected, "{:?}", packet(&frame));
    }
    // Behind more headers than are looked behind.
    let mut frame = icmp6(six(2), six(3), &advertisement_of(six(1), own_mac()));
    frame[ETHERNET + 6] = 60;
    let mut options = vec![[60, 0, 1, 4, 0, 0, 0, 0]; 8];
    options.push([58, 0, 1, 4, 0, 0, 0, 0]);
    let options = options.concat();
    let length = u16::from_be_bytes([frame[ETHERNET + 4], frame[ETHERNET + 5]]);
    let length = length + options.len() as u16;
    frame[ETHERNET + 4..ETHERNET + 6].copy_from_slice(&length.to_be_bytes());
    frame.splice(ETHERNET + 40..ETHERNET + 40, options);
    assert_eq!(dropped(&frame), Some(DropReason::Malformed));
    // An IPv4 address that is another's, and none at all.
    for src in [[10, 1, 0, 3], [0, 0, 0, 0]] {
        let route = from_guest(src.into(), [10, 1, 0, 3].into(), mac(OTHER_MAC));
        let frame = wire::udp(&route, (5000, 5000), b"x");
        assert_eq!(dropped(&frame), Some(DropReason::SpoofedAddress));
    }
}

#[test]
fn the_gateway_tells_its_hardware_address() {
    let (mut fabric, [a, ..]) = fabric();
    let now = Instant::now();
    let gateway = network(1, &[]).gateway_mac();
    for (src, target, dst) in [
        (six(2), six(1), six(2)),
        (
            link_local(own_mac()),
            link_local(gateway),
            link_local(own_mac()),
        ),
        // Somebody wants the address for itself.
        (Ipv6Addr::UNSPECIFIED, six(1), "ff02::1".parse().unwrap()),
    ] {
        let group: Ipv6Addr = "ff02::1:ff00:1".parse().unwrap();
        let route = from_guest(src.into(), group.into(), Mac([0x33, 0x33, 0xff, 0, 0, 1]));
        let target_bytes = target.octets();
        let message = [&[135, 0, 0, 0, 0, 0, 0, 0], &target_bytes[..]].concat();
        let frame = wire::icmp(&route, 255, [&message, &[]]);
        fabric.handle_frame(a, &frame[..], now);
        let (frames, _) = drain(&mut fabric, now);
        let answer = packet(&frames[0].1);
        assert_eq!((answer.src, answer.dst), (target.into(), dst.into()));
        let message = wire::icmp_message(&answer).unwrap();
        assert_eq!((message[0], &message[26..32]), (136, gateway.as_bytes()));
        // From further away it would be a forgery.
        let far = wire::icmp(&route, 254, [message, &[]]);
        fabric.handle_frame(a, &far[..], now);
        assert!(drain(&mut fabric, now).0.is_empty());
    }
}

#[test]
fn routers_are_advertised_when_asked_and_from_time_to_time() {
    let (mut fabric, [a, b, _]) = fabric();
    let now = Instant::now();
    let lifetimes = |frames: &[(PortId, Frame)]| -> Vec<(PortId, u16)> {
        let lifetime = |frame: &[u8]| {
            let ip = packet(frame);
            let message = wire::icmp_message(&ip).unwrap().to_vec();
            assert_eq!(message[0], 134);
            u16::from_be_bytes([message[6], message[7]])
        };
        frames
            .iter()
            .map(|(port, frame)| (*port, lifetime(frame)))
            .collect()
    };
    let all: Ipv6Addr = "ff02::2".parse().unwrap();
    let route = from_guest(
        link_local(own_mac()).into(),
        all.into(),
        Mac([0x33, 0x33, 0, 0, 0, 2]),
    );
    let ask = wire::icmp(&route, 255, [&[133, 0, 0, 0, 0, 0, 0, 0], &[]]);
    fabric.handle_frame(a, &ask[..], now);
    let frames = pending(&mut fabric);
    assert_eq!(lifetimes(&frames), [(a, 0)], "the host has no IPv6");
    fabric.set_host_ipv6(true);
    let frames = pending(&mut fabric);
    let told = lifetimes(&frames);
    assert!(told.len() == 3 && told.contains(&(a, 9000)) && told.contains(&(b, 9000)));
    fabric.timeout(now + Duration::from_secs(1801));
    let frames = pending(&mut fabric);
    assert_eq!(frames.len(), 3);
}

fn pending(fabric: &mut Fabric) -> Vec<(PortId, Frame)> {
    std::iter::from_fn(|| fabric.next_frame()).collect()
}

fn dhcp(kind: DhcpMessageType, change: impl FnOnce(&mut DhcpRepr<'_>)) -> Vec<u8> {
    let none = Ipv4Addr::UNSPECIFIED;
    let mut repr = DhcpRepr {
        message_type: kind,
        transaction_id: 77,
        secs: 0,
        client_hardware_address: own_mac(),
        client_ip: none,
        your_ip: none,
        server_ip: none,
        router: None,
        subnet_mask: None,
        relay_agent_ip: none,
        broadcast: false,
        requested_ip: None,
        client_identifier: Some(own_mac()),
        server_identifier: None,
        parameter_request_list: None,
        dns_servers: None,
        max_size: None,
        lease_duration: None,
        renew_duration: None,
        rebind_duration: None,
        additional_options: &[],
    };
    change(&mut repr);
    let mut bytes = vec![0; repr.buffer_len()];
    repr.emit(&mut DhcpPacket::new_unchecked(&mut bytes[..]))
        .unwrap();
    let src: IpAddr = repr.client_ip.into();
    let route = from_guest(src, Ipv4Addr::BROADCAST.into(), Mac([0xff; 6]));
    wire::udp(&route, (68, 67), &bytes).to_vec()
}

#[test]
fn dhcp_gives_what_the_guest_has_anyway() {
    let (mut fabric, [a, ..]) = fabric();
    let now = Instant::now();
    let mut ask = |frame: &[u8]| {
        let delivery = fabric.handle_frame(a, frame, now);
        assert_eq!(delivery, Delivery::None, "nobody else hears it");
        let (frames, _) = drain(&mut fabric, now);
        frames.first().map(|(_, frame)| {
            let ip = packet(frame);
            let payload = wire::datagram(&ip).unwrap().payload.to_vec();
            let view = DhcpPacket::new_checked(&payload[..]).unwrap();
            let repr = DhcpRepr::parse(&view).unwrap();
            (
                repr.message_type,
                repr.your_ip,
                repr.router,
                repr.lease_duration,
            )
        })
    };
    let own = Ipv4Addr::new(10, 1, 0, 2);
    let gateway = Some(Ipv4Addr::new(10, 1, 0, 1));
    let given = |kind| Some((kind, own, gateway, Some(u32::MAX)));
    let offer = ask(&dhcp(DhcpMessageType::Discover, |_| {}));
    assert_eq!(offer, given(DhcpMessageType::Offer));
    let wanted = |ip: Ipv4Addr| move |repr: &mut DhcpRepr<'_>| repr.requested_ip = Some(ip);
    let ack = ask(&dhcp(DhcpMessageType::Request, wanted(own)));
    assert_eq!(ack, given(DhcpMessageType::Ack));
    let nak = ask(&dhcp(
        DhcpMessageType::Request,
        wanted([10, 1, 0, 9].into()),
    ));
    assert_eq!(nak.map(|answer| answer.0), Some(DhcpMessageType::Nak));
    let renewal = |repr: &mut DhcpRepr<'_>| repr.client_ip = own;
    let ack = ask(&dhcp(DhcpMessageType::Request, renewal));
    assert_eq!(ack, given(DhcpMessageType::Ack));
    // To another server, and for another card.
    let elsewhere = |repr: &mut DhcpRepr<'_>| {
        repr.requested_ip = Some(own);
        repr.server_identifier = Some([10, 1, 0, 3].into());
    };
    assert_eq!(ask(&dhcp(DhcpMessageType::Request, elsewhere)), None);
    let forged = |repr: &mut DhcpRepr<'_>| repr.client_hardware_address = mac(OTHER_MAC);
    assert_eq!(ask(&dhcp(DhcpMessageType::Discover, forged)), None);
}

#[test]
fn echo_requests_go_out_and_come_back_with_their_own_identifier() {
    let (mut fabric, [a, ..]) = fabric();
    let now = Instant::now();
    let gateway = network(1, &[]).gateway_mac();
    for (src, dst, kinds) in [
        (
            IpAddr::from([10, 1, 0, 2]),
            IpAddr::from([192, 0, 2, 9]),
            (8, 0),
        ),
        (six(2).into(), "2001:db8::9".parse().unwrap(), (128, 129)),
    ] {
        let route = from_guest(src, dst, gateway);
        let request = [kinds.0, 0, 0, 0, 0x12, 0x34, 0, 1, 1, 2, 3];
        let frame = wire::icmp(&route, 64, [&request, &[]]);
        fabric.handle_frame(a, &frame[..], now);
        let (frames, events) = drain(&mut fabric, now);
        assert!(frames.is_empty(), "nobody answers in another's place");
        let [
            Event::SendDatagram {
                association,
                outgoing,
            },
        ] = &events[..]
        else {
            panic!("{events:?}")
        };
        assert_eq!((outgoing.to.ip(), outgoing.hops), (dst, 63));
        // The host's socket has an identifier of its own.
        let reply = [kinds.1, 0, 0, 0, 0xab, 0xcd, 0, 1, 1, 2, 3];
        let from = SocketAddr::new(dst, 0);
        fabric.handle_datagram(*association, from, &reply, now);
        let (frames, _) = drain(&mut fabric, now);
        let answer = packet(&frames[0].1);
        assert_eq!((answer.src, answer.dst), (dst, src));
        let message = wire::icmp_message(&answer).unwrap();
        assert_eq!(message[..2], [kinds.1, 0]);
        assert_eq!(message[4..], request[4..]);
        // Something on the way has no route on.
        let error = IcmpError::no_route(dst.is_ipv4());
        let router: IpAddr = [198, 51, 100, 7].into();
        let sent = [kinds.0, 0, 0, 0, 0xab, 0xcd, 0, 1];
        fabric.handle_error(*association, error, from, Some(router), &sent);
        let (frames, _) = drain(&mut fabric, now);
        let said = packet(&frames[0].1);
        let message = wire::icmp_message(&said).unwrap();
        let quoted = wire::ip(&message[8..], &Offload::NONE).unwrap();
        assert_eq!((quoted.src, quoted.dst), (src, dst));
        assert_eq!(quoted.payload[4..8], request[4..8]);
        assert_eq!(said.src == router, dst.is_ipv4());
    }
}

#[test]
fn a_packet_without_hops_goes_no_further() {
    let mut route = out([192, 0, 2, 1]);
    let frame = wire::icmp(&route, 1, [&[8, 0, 0, 0, 0, 0, 0, 0], &[]]);
    assert_eq!(dropped(&frame), Some(DropReason::HopsUsed));
    route.dst = [10, 1, 0, 1].into();
    let frame = wire::icmp(&route, 1, [&[8, 0, 0, 0, 0, 0, 0, 0], &[]]);
    assert_eq!(dropped(&frame), None);
}

#[test]
fn a_guest_may_be_the_resolver_of_another() {
    let mut networks = [network(1, &[2, 3]), network(2, &[2])];
    networks[0].endpoints[0].dns = vec![[10, 1, 0, 3].into()];
    let mut fabric = Fabric::default();
    let now = Instant::now();
    let opened = fabric.apply(&networks, now).opened;
    let [a, b, _] = [0, 1, 2].map(|n| opened[n].port);
    let query =
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03org\x00\x00\x01\x00\x01";
    let frame = wire::udp(&out([10, 1, 0, 1]), (4000, 53), query);
    fabric.handle_frame(a, &frame[..], now);
    let (frames, _) = drain(&mut fabric, now);
    assert_eq!(frames[0].0, b);
    let asked = packet(&frames[0].1);
    assert_eq!(asked.src, IpAddr::from([10, 1, 0, 1]));
    let datagram = wire::datagram(&asked).unwrap();
    assert_eq!((datagram.dst, &datagram.payload[2..]), (53, &query[2..]));
    // The resolver answers; the guest hears it from the gateway.
    let mut answer = datagram.payload.to_vec();
    answer[2] |= 0x80;
    let route = Route {
        src_mac: mac(OTHER_MAC),
        dst_mac: network(1, &[]).gateway_mac(),
        src: [10, 1, 0, 3].into(),
        dst: [10, 1, 0, 1].into(),
    };
    let frame = wire::udp(&route, (53, datagram.src), &answer);
    fabric.handle_frame(b, &frame[..], now);
    let (frames, _) = drain(&mut fabric, now);
    let heard = packet(&frames[0].1);
    let heard = wire::datagram(&heard).unwrap();
    assert_eq!((frames[0].0, heard.src, heard.dst), (a, 53, 4000));
    assert_eq!(heard.payload[..2], [0x12, 0x34]);
}

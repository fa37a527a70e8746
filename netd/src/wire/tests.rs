//! Views and builders against each other, against smoltcp's checks, and
//! against arbitrary bytes.

use std::net::{IpAddr, Ipv6Addr};

use proptest::prelude::*;
use smoltcp::wire::{Ipv4Packet, TcpPacket, UdpPacket};

use super::*;
use crate::frame::{Frame, Offload};
use crate::tcp::{self, Seq};

fn route(v4: bool) -> Route {
    let (src, dst): (IpAddr, IpAddr) = if v4 {
        ([10, 89, 0, 1].into(), [10, 89, 0, 2].into())
    } else {
        let last = |n| Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, n);
        (last(1).into(), last(2).into())
    };
    Route {
        src_mac: Mac([2, 0x67, 10, 89, 0, 1]),
        dst_mac: Mac([2, 0x57, 10, 89, 0, 2]),
        src,
        dst,
    }
}

/// The packet of a frame of ours.
fn packet(frame: &Frame) -> Ip<'_> {
    ip(&frame[ETHERNET..], &Offload::NONE).unwrap()
}

#[test]
fn hardware_addresses_are_read_strictly() {
    assert_eq!(
        parse_mac("02:57:0a:59:00:02"),
        Some(Mac([2, 0x57, 10, 0x59, 0, 2]))
    );
    for wrong in [
        "",
        "02:57:0a:59:00",
        "02:57:0a:59:00:02:03",
        "2:57:0a:59:0:2",
        "ff:ff:ff:ff:ff:ff",
    ] {
        assert_eq!(parse_mac(wrong), None, "{wrong}");
    }
}

proptest! {
    #[test]
    fn segments_come_back_as_they_were_built(
        seq: u32, ack: Option<u32>, window: u16, flags in 0u8..16, v4: bool,
        a in prop::collection::vec(any::<u8>(), 0..70),
        b in prop::collection::vec(any::<u8>(), 0..70),
    ) {
        let syn = flags & 1 != 0;
        let header = tcp::Header {
            seq: Seq(seq), ack: ack.map(Seq), window, syn,
            fin: flags & 2 != 0, rst: flags & 4 != 0, psh: flags & 8 != 0,
            mss: syn.then_some(1460), scale: syn.then_some(7),
        };
        let route = route(v4);
        let frame = super::tcp(&route, (80, 4000), &header, [&a, &b]);
        let ip = packet(&frame);
        prop_assert_eq!((ip.src, ip.dst), (route.src, route.dst));
        let (src, dst) = (route.src.into(), route.dst.into());
        prop_assert!(TcpPacket::new_checked(ip.payload).unwrap().verify_checksum(&src, &dst));
        if v4 {
            prop_assert!(Ipv4Packet::new_checked(ip.packet).unwrap().verify_checksum());
        }
        let (from, to, parsed, payload) = segment(&ip).unwrap();
        prop_assert_eq!((from, to, parsed), (80, 4000, header));
        prop_assert_eq!(payload, [a, b].concat());
    }

    #[test]
    fn datagrams_come_back_as_they_were_built(
        payload in prop::collection::vec(any::<u8>(), 0..1500), v4: bool,
    ) {
        let route = route(v4);
        let frame = udp(&route, (53, 4000), &payload);
        let ip = packet(&frame);
        let (src, dst) = (route.src.into(), route.dst.into());
        prop_assert!(UdpPacket::new_checked(ip.payload).unwrap().verify_checksum(&src, &dst));
        let datagram = datagram(&ip).unwrap();
        prop_assert_eq!((datagram.src, datagram.dst, datagram.payload), (53, 4000, &payload[..]));
    }

    #[test]
    fn any_bytes_are_parsed_without_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200), first in 0x40u8..0x70, v4: bool,
        extension in prop::sample::select(vec![0u8, 43, 44, 60, 58, 17]),
    ) {
        let mut bytes = bytes;
        if let Some(byte) = bytes.first_mut() {
            *byte = first;
        }
        if let Some(byte) = bytes.get_mut(6) {
            *byte = extension;
        }
        if let Some(length) = bytes.len().checked_sub(40) && first >= 0x60 {
            bytes[4..6].copy_from_slice(&(length as u16).to_be_bytes());
        }
        let _ = ethernet(&bytes).map(|view| view.payload().len());
        let _ = ip(&bytes, &Offload::NONE);
        // The checksum would stop nearly everything here: go around it.
        let inner = Ip {
            src: route(v4).src, dst: route(v4).dst, protocol: IpProtocol::Tcp, hops: 64,
            whole: true, fragment: None, unsummed: false, packet: &bytes, payload: &bytes,
        };
        let _ = segment(&inner);
        let _ = datagram(&inner);
        let _ = icmp_message(&inner);
    }

    #[test]
    fn one_wrong_bit_is_noticed(bit in 0usize..(20 + 8 + 100) * 8) {
        let mut frame = udp(&route(true), (53, 4000), &[7; 100]);
        frame[ETHERNET + bit / 8] ^= 1 << (bit % 8);
        let parsed = ip(&frame[ETHERNET..], &Offload::NONE)
            .and_then(|ip| datagram(&ip).map(|d| d.payload.to_vec()));
        // Without checksum (bits that make it zero) nothing can be noticed.
        prop_assert!(parsed.is_none());
    }

    #[test]
    fn what_is_cut_fits_and_adds_up(
        length in 0usize..60_000, mtu in 1280usize..9000, v4: bool,
    ) {
        let payload: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
        let whole = udp(&route(v4), (53, 4000), &payload);
        let parts = cut(whole.clone(), mtu, 77);
        prop_assert_eq!(parts.len() > 1, whole.len() > ETHERNET + mtu);
        let mut sum = Vec::new();
        let mut header = None;
        for part in &parts {
            prop_assert!(part.len() <= ETHERNET + mtu);
            let ip = packet(part);
            if let Some(fragment) = ip.fragment {
                prop_assert_eq!(fragment.offset, sum.len());
                prop_assert_eq!(fragment.id, 77);
            }
            header.get_or_insert_with(|| super::Header::of(&ip));
            sum.extend_from_slice(ip.payload);
        }
        prop_assert_eq!(&sum[..], packet(&whole).payload);
        let assembled = super::Assembled::new(&header.unwrap(), &sum).unwrap();
        let ip = assembled.view().unwrap();
        prop_assert_eq!(datagram(&ip).unwrap().payload, payload);
    }
}

#[test]
fn every_length_of_ping_is_answered_right() {
    for length in [8, 9, 63, 64, MTU - 20] {
        let mut request: Vec<u8> = (0..length).map(|n| n as u8).collect();
        request[..4].copy_from_slice(&[8, 0, 0, 0]);
        let frame = echo_reply(&route(true), &request);
        let message = icmp_message(&packet(&frame)).unwrap().to_vec();
        assert_eq!(message[4..], request[4..]);
        assert_eq!(message[0], 0);
        request[0] = 128;
        let frame = echo_reply(&route(false), &request);
        let message = icmp_message(&packet(&frame)).unwrap().to_vec();
        assert_eq!((message[0], &message[4..]), (129, &request[4..]));
    }
}

#[test]
fn errors_quote_what_fits_everywhere() {
    for (v4, longest) in [(true, 576), (false, 1280)] {
        let mut around = route(v4);
        std::mem::swap(&mut around.src, &mut around.dst);
        let original = udp(&around, (4000, 53), &[1; 3000]);
        let error = IcmpError::too_big(v4, 1400);
        let frame = icmp_error(&route(v4), error, &original[ETHERNET..]);
        let ip = packet(&frame);
        assert_eq!(ip.packet.len(), longest);
        let message = icmp_message(&ip).unwrap();
        assert_eq!(message[4..8], 1400u32.to_be_bytes());
        assert!(original[ETHERNET..].starts_with(&message[8..]));
    }
}

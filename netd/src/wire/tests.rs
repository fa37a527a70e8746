//! Views and builders against each other, against smoltcp's checks, and
//! against arbitrary bytes.

use std::net::Ipv4Addr;

use proptest::prelude::*;
use smoltcp::wire::{IpAddress, Ipv4Packet, TcpPacket, UdpPacket};

use super::*;
use crate::tcp::{Header, Seq};

fn route() -> Route {
    let (src, dst) = (Ipv4Addr::new(10, 89, 0, 1), Ipv4Addr::new(10, 89, 0, 2));
    Route {
        src_mac: Mac([2, 0x67, 10, 89, 0, 1]),
        dst_mac: Mac([2, 0x57, 10, 89, 0, 2]),
        src,
        dst,
    }
}

fn addresses() -> (IpAddress, IpAddress) {
    (route().src.into(), route().dst.into())
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
        seq: u32, ack: Option<u32>, window: u16, flags in 0u8..16,
        a in prop::collection::vec(any::<u8>(), 0..70),
        b in prop::collection::vec(any::<u8>(), 0..70),
    ) {
        let syn = flags & 1 != 0;
        let header = Header {
            seq: Seq(seq), ack: ack.map(Seq), window, syn,
            fin: flags & 2 != 0, rst: flags & 4 != 0, psh: flags & 8 != 0,
            mss: syn.then_some(1460), scale: syn.then_some(7),
        };
        let frame = tcp(&route(), (80, 4000), &header, [&a, &b]);
        let view = ethernet(&frame).unwrap();
        let packet = Ipv4Packet::new_checked(view.payload()).unwrap();
        prop_assert!(packet.verify_checksum());
        let (src, dst) = addresses();
        prop_assert!(TcpPacket::new_checked(packet.payload()).unwrap().verify_checksum(&src, &dst));
        let ip = ip(view.payload()).unwrap();
        let (from, to, parsed, payload) = segment(&ip).unwrap();
        prop_assert_eq!((from, to, parsed), (80, 4000, header));
        prop_assert_eq!(payload, [a, b].concat());
    }

    #[test]
    fn datagrams_come_back_as_they_were_built(
        payload in prop::collection::vec(any::<u8>(), 0..1500),
    ) {
        let frame = udp(&route(), (53, 4000), &payload);
        let ip = ip(ethernet(&frame).unwrap().payload()).unwrap();
        let (src, dst) = addresses();
        prop_assert!(UdpPacket::new_checked(ip.payload).unwrap().verify_checksum(&src, &dst));
        let datagram = datagram(&ip).unwrap();
        prop_assert_eq!((datagram.src, datagram.dst, datagram.payload), (53, 4000, &payload[..]));
    }

    #[test]
    fn any_bytes_are_parsed_without_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200), first in 0x40u8..0x50,
    ) {
        let mut bytes = bytes;
        if let Some(byte) = bytes.first_mut() {
            *byte = first;
        }
        let _ = ethernet(&bytes).map(|view| view.payload().len());
        let _ = ip(&bytes);
        // The checksum would stop nearly everything here: go around it.
        let inner = Ip {
            src: route().src, dst: route().dst, protocol: IpProtocol::Tcp, fragment: false,
            unsummed: false,
            packet: &bytes, payload: &bytes,
        };
        let _ = segment(&inner);
        let _ = datagram(&inner);
    }

    #[test]
    fn one_wrong_bit_is_noticed(bit in 0usize..(20 + 8 + 100) * 8) {
        let mut frame = udp(&route(), (53, 4000), &[7; 100]);
        frame[ETHERNET + bit / 8] ^= 1 << (bit % 8);
        let parsed = ip(&frame[ETHERNET..]).and_then(|ip| datagram(&ip).map(|d| d.payload.to_vec()));
        // Without checksum (bits that make it zero) nothing can be noticed.
        prop_assert!(parsed.is_none());
    }
}

#[test]
fn every_length_of_ping_is_answered_right() {
    for length in [8, 9, 63, 64, MTU - 20] {
        let mut request: Vec<u8> = (0..length).map(|n| n as u8).collect();
        request[..4].copy_from_slice(&[8, 0, 0, 0]);
        let frame = echo_reply(&route(), &request);
        let packet = ip(ethernet(&frame).unwrap().payload()).unwrap().payload;
        let view = smoltcp::wire::Icmpv4Packet::new_checked(packet).unwrap();
        assert!(view.verify_checksum());
        assert_eq!(packet[4..], request[4..]);
        assert_eq!(packet[0], 0);
    }
}

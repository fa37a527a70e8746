//! Frames for guests.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::checksum::Sum;
use super::{ArpOperation, ArpPacket, ArpRepr, ETHERNET, EthernetFrame, EthernetProtocol, Mac};
use crate::frame::{Checksum, Frame, Offload, Segmented, Segments};
use crate::tcp::Header;

/// Bytes of an IPv4 header without options, and of an IPv6 header.
const IPV4: usize = 20;
const IPV6: usize = 40;

/// Between whom a frame goes. Both addresses are of the same family.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Route {
    /// Source hardware address.
    pub(crate) src_mac: Mac,
    /// Destination hardware address.
    pub(crate) dst_mac: Mac,
    /// Source address.
    pub(crate) src: IpAddr,
    /// Destination address.
    pub(crate) dst: IpAddr,
}

/// A TCP segment; the payload may come in two pieces.
pub(crate) fn tcp(route: &Route, ports: (u16, u16), header: &Header, payload: [&[u8]; 2]) -> Frame {
    let mut frame = tcp_headers(route, ports, header, payload, Finish::Here);
    frame.extend_from_slice(payload[0]);
    frame.extend_from_slice(payload[1]);
    frame
}

/// Who finishes a TCP segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish {
    /// It is complete.
    Here,
    /// Its receiver takes it without a checksum, and cut into segments of so
    /// many bytes of payload if it has more.
    There(u16),
}

/// The headers of a TCP segment, which `payload` follows.
pub(crate) fn tcp_headers(
    route: &Route,
    ports: (u16, u16),
    header: &Header,
    payload: [&[u8]; 2],
    finish: Finish,
) -> Frame {
    let options = if header.syn {
        options(header)
    } else {
        ([0; 8], 0)
    };
    let options = &options.0[..options.1];
    let fixed = 20 + options.len();
    let length = payload[0].len() + payload[1].len();
    let mut frame = packet(route, 6, fixed + length);
    let start = frame.len();
    frame.extend_from_slice(&ports.0.to_be_bytes());
    frame.extend_from_slice(&ports.1.to_be_bytes());
    frame.extend_from_slice(&header.seq.0.to_be_bytes());
    frame.extend_from_slice(&header.ack.map_or(0, |ack| ack.0).to_be_bytes());
    let flags = u8::from(header.fin)
        | u8::from(header.syn) << 1
        | u8::from(header.rst) << 2
        | u8::from(header.psh) << 3
        | u8::from(header.ack.is_some()) << 4;
    frame.extend_from_slice(&[(fixed as u8 / 4) << 4, flags]);
    frame.extend_from_slice(&header.window.to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(options);
    let sum = Sum::pseudo(route.src, route.dst, 6, fixed + length);
    let sum = match finish {
        Finish::Here => sum.add(&frame[start..]).add_last(payload).finish(),
        Finish::There(size) => {
            frame.offload = unfinished(start, length, size);
            sum.unfinished()
        }
    };
    frame[start + 16..start + 18].copy_from_slice(&sum);
    frame
}

fn unfinished(start: usize, length: usize, size: u16) -> Offload {
    let kind = if start == ETHERNET + IPV4 {
        Segmented::Tcp4
    } else {
        Segmented::Tcp6
    };
    Offload {
        checksum: Some(Checksum {
            start: start as u16,
            offset: 16,
        }),
        segments: (length > usize::from(size)).then_some(Segments { kind, size }),
    }
}

/// Maximum segment size and window scale (RFC 9293 3.1, RFC 7323 2.2).
fn options(header: &Header) -> ([u8; 8], usize) {
    let mut bytes = [0; 8];
    let mut length = 0;
    if let Some(mss) = header.mss {
        let [high, low] = mss.to_be_bytes();
        bytes[..4].copy_from_slice(&[2, 4, high, low]);
        length = 4;
    }
    if let Some(scale) = header.scale {
        bytes[length..length + 4].copy_from_slice(&[1, 3, 3, scale]);
        length += 4;
    }
    (bytes, length)
}

/// A UDP datagram; `payload` is at most [`MAX_DATAGRAM`](super::MAX_DATAGRAM)
/// long.
pub(crate) fn udp(route: &Route, ports: (u16, u16), payload: &[u8]) -> Frame {
    let length = 8 + payload.len();
    let mut frame = packet(route, 17, length);
    let start = frame.len();
    frame.extend_from_slice(&ports.0.to_be_bytes());
    frame.extend_from_slice(&ports.1.to_be_bytes());
    frame.extend_from_slice(&(length as u16).to_be_bytes());
    frame.extend_from_slice(&[0; 2]);
    frame.extend_from_slice(payload);
    let sum = Sum::pseudo(route.src, route.dst, 17, length)
        .add(&frame[start..])
        .finish();
    // Zero would mean "no checksum" (RFC 768).
    let sum = if sum == [0, 0] { [0xff, 0xff] } else { sum };
    frame[start + 6..start + 8].copy_from_slice(&sum);
    frame
}

/// An ICMP message (RFC 792), or ICMPv6 (RFC 4443) between IPv6 addresses;
/// its checksum is computed. `hops` is the hop limit.
pub(crate) fn icmp(route: &Route, hops: u8, message: [&[u8]; 2]) -> Frame {
    let length = message[0].len() + message[1].len();
    let protocol = if route.src.is_ipv4() { 1 } else { 58 };
    let mut frame = packet(route, protocol, length);
    let start = frame.len();
    if route.src.is_ipv4() {
        frame[ETHERNET + 8] = hops;
        seal(&mut frame[ETHERNET..]);
    } else {
        frame[ETHERNET + 7] = hops;
    }
    frame.extend_from_slice(message[0]);
    frame.extend_from_slice(message[1]);
    frame[start + 2..start + 4].fill(0);
    let sum = if route.src.is_ipv4() {
        Sum::default()
    } else {
        Sum::pseudo(route.src, route.dst, protocol, length)
    };
    let sum = sum.add(&frame[start..]).finish();
    frame[start + 2..start + 4].copy_from_slice(&sum);
    frame
}

/// The gateway's answer to an ARP request.
pub(crate) fn arp_reply(macs: (Mac, Mac), src: Ipv4Addr, dst: Ipv4Addr) -> Frame {
    arp(ArpOperation::Reply, macs, src, dst)
}

/// The first one says that the address is its own: Linux believes that of one
/// whose address it has learnt in the last second.
pub(crate) fn arp_announcement(macs: (Mac, Mac), address: Ipv4Addr) -> Frame {
    arp(ArpOperation::Request, macs, address, address)
}

fn arp(operation: ArpOperation, macs: (Mac, Mac), src: Ipv4Addr, dst: Ipv4Addr) -> Frame {
    let repr = ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr: macs.0,
        source_protocol_addr: src,
        target_hardware_addr: macs.1,
        target_protocol_addr: dst,
    };
    let mut frame = Frame::with_capacity(ETHERNET + repr.buffer_len());
    frame.resize(ETHERNET + repr.buffer_len());
    ethernet(&mut frame, macs, EthernetProtocol::Arp);
    repr.emit(&mut ArpPacket::new_unchecked(&mut frame[ETHERNET..]));
    frame
}

/// Ethernet and IP headers before `length` bytes of `protocol`, with room
/// for those.
fn packet(route: &Route, protocol: u8, length: usize) -> Frame {
    match (route.src, route.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => packet4(route, (src, dst), protocol, length),
        (src, dst) => packet6(route, (in_v6(src), in_v6(dst)), protocol, length),
    }
}

fn in_v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

fn packet4(route: &Route, ends: (Ipv4Addr, Ipv4Addr), protocol: u8, length: usize) -> Frame {
    let total = IPV4 + length;
    let mut frame = Frame::with_capacity(ETHERNET + total);
    frame.resize(ETHERNET + IPV4);
    ethernet(
        &mut frame,
        (route.src_mac, route.dst_mac),
        EthernetProtocol::Ipv4,
    );
    let header = &mut frame[ETHERNET..];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&(total as u16).to_be_bytes());
    header[6] = 0x40; // Don't fragment.
    header[8] = 64;
    header[9] = protocol;
    header[12..16].copy_from_slice(&ends.0.octets());
    header[16..20].copy_from_slice(&ends.1.octets());
    seal(header);
    frame
}

fn packet6(route: &Route, ends: (Ipv6Addr, Ipv6Addr), protocol: u8, length: usize) -> Frame {
    let mut frame = Frame::with_capacity(ETHERNET + IPV6 + length);
    frame.resize(ETHERNET + IPV6);
    ethernet(
        &mut frame,
        (route.src_mac, route.dst_mac),
        EthernetProtocol::Ipv6,
    );
    let header = &mut frame[ETHERNET..];
    header[0] = 0x60;
    header[4..6].copy_from_slice(&(length as u16).to_be_bytes());
    header[6] = protocol;
    header[7] = 64;
    header[8..24].copy_from_slice(&ends.0.octets());
    header[24..40].copy_from_slice(&ends.1.octets());
    frame
}

/// Computes the checksum of an IPv4 header without options.
pub(super) fn seal(header: &mut [u8]) {
    header[10..12].fill(0);
    let sum = Sum::default().add(&header[..IPV4]).finish();
    header[10..12].copy_from_slice(&sum);
}

fn ethernet(frame: &mut Frame, (src, dst): (Mac, Mac), kind: EthernetProtocol) {
    let mut view = EthernetFrame::new_unchecked(&mut **frame);
    view.set_src_addr(src);
    view.set_dst_addr(dst);
    view.set_ethertype(kind);
}

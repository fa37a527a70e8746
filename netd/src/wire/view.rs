//! Checked views of what guests send. Every function takes any bytes.

use std::net::Ipv4Addr;

use smoltcp::wire::{Ipv4Packet, TcpOption, TcpPacket, UdpPacket};

use super::checksum::Sum;
use super::{EthernetFrame, IpProtocol};
use crate::tcp::{Header, Seq};

/// An Ethernet frame.
pub(crate) fn ethernet(frame: &[u8]) -> Option<EthernetFrame<&[u8]>> {
    EthernetFrame::new_checked(frame).ok()
}

/// An IPv4 packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ip<'a> {
    /// Source address.
    pub(crate) src: Ipv4Addr,
    /// Destination address.
    pub(crate) dst: Ipv4Addr,
    /// What it carries.
    pub(crate) protocol: IpProtocol,
    /// It is a part of a packet.
    pub(crate) fragment: bool,
    /// The checksum of what it carries is not complete, and need not be
    /// checked: the frame has not been on any wire.
    pub(crate) unsummed: bool,
    /// The whole packet, without padding.
    pub(crate) packet: &'a [u8],
    /// What follows the header.
    pub(crate) payload: &'a [u8],
}

/// An IPv4 packet whose header is right.
pub(crate) fn ip(bytes: &[u8]) -> Option<Ip<'_>> {
    let view = Ipv4Packet::new_checked(bytes).ok()?;
    let header = usize::from(view.header_len());
    if view.version() != 4 || header < 20 || !Sum::default().add(bytes.get(..header)?).is_valid() {
        return None;
    }
    let packet = bytes.get(..usize::from(view.total_len()))?;
    Some(Ip {
        src: view.src_addr(),
        dst: view.dst_addr(),
        protocol: view.next_header(),
        fragment: view.more_frags() || view.frag_offset() != 0,
        unsummed: false,
        payload: packet.get(header..)?,
        packet,
    })
}

/// A UDP datagram.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Datagram<'a> {
    /// Source port.
    pub(crate) src: u16,
    /// Destination port.
    pub(crate) dst: u16,
    /// Payload.
    pub(crate) payload: &'a [u8],
}

/// The UDP datagram in `ip`.
pub(crate) fn datagram<'a>(ip: &Ip<'a>) -> Option<Datagram<'a>> {
    let view = UdpPacket::new_checked(ip.payload).ok()?;
    let bytes = ip.payload.get(..usize::from(view.len()))?;
    let valid = || {
        Sum::pseudo(ip.src, ip.dst, 17, bytes.len())
            .add(bytes)
            .is_valid()
    };
    // A checksum of zero means that there is none (RFC 768).
    let unsummed = ip.unsummed || view.checksum() == 0;
    if view.src_port() == 0 || view.dst_port() == 0 || !unsummed && !valid() {
        return None;
    }
    Some(Datagram {
        src: view.src_port(),
        dst: view.dst_port(),
        payload: bytes.get(8..)?,
    })
}

/// The checksum of an ICMP message is right.
pub(crate) fn icmp_is_valid(message: &[u8]) -> bool {
    Sum::default().add(message).is_valid()
}

/// Source port, destination port, header and payload of the TCP segment in
/// `ip`.
pub(crate) fn segment<'a>(ip: &Ip<'a>) -> Option<(u16, u16, Header, &'a [u8])> {
    let bytes = ip.payload;
    let view = TcpPacket::new_checked(bytes).ok()?;
    if view.src_port() == 0
        || view.dst_port() == 0
        || !ip.unsummed
            && !Sum::pseudo(ip.src, ip.dst, 6, bytes.len())
                .add(bytes)
                .is_valid()
    {
        return None;
    }
    let mut header = Header {
        seq: Seq(view.seq_number().0 as u32),
        ack: view.ack().then(|| Seq(view.ack_number().0 as u32)),
        syn: view.syn(),
        fin: view.fin(),
        rst: view.rst(),
        psh: view.psh(),
        window: view.window_len(),
        mss: None,
        scale: None,
    };
    if header.syn {
        let mut options = view.options();
        while !options.is_empty() {
            let Ok((rest, option)) = TcpOption::parse(options) else {
                break;
            };
            match option {
                TcpOption::EndOfList => break,
                TcpOption::MaxSegmentSize(mss) => header.mss = Some(mss),
                TcpOption::WindowScale(scale) => header.scale = Some(scale.min(14)),
                _ => {}
            }
            options = rest;
        }
    }
    Some((view.src_port(), view.dst_port(), header, view.payload()))
}

//! Checked views of what guests send. Every function takes any bytes.

use std::net::IpAddr;

use smoltcp::wire::{Ipv4Packet, Ipv6Packet, TcpOption, TcpPacket, UdpPacket};

use super::checksum::Sum;
use super::{EthernetFrame, IpProtocol};
use crate::frame::Offload;
use crate::tcp::{Header, Seq};

/// Extension headers that are looked behind.
const MAX_EXTENSIONS: usize = 8;

/// An Ethernet frame.
pub(crate) fn ethernet(frame: &[u8]) -> Option<EthernetFrame<&[u8]>> {
    EthernetFrame::new_checked(frame).ok()
}

/// An IP packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ip<'a> {
    /// Source address.
    pub(crate) src: IpAddr,
    /// Destination address, of the same family.
    pub(crate) dst: IpAddr,
    /// What it carries, behind all extension headers.
    pub(crate) protocol: IpProtocol,
    /// Hops it may still take.
    pub(crate) hops: u8,
    /// Routers must not cut it; always so with IPv6.
    pub(crate) whole: bool,
    /// Which part of a packet it is, unless it is one as a whole.
    pub(crate) fragment: Option<Fragment>,
    /// The checksum of what it carries is not complete, and need not be
    /// checked: the frame has not been on any wire.
    pub(crate) unsummed: bool,
    /// The whole packet, without padding.
    pub(crate) packet: &'a [u8],
    /// What follows the headers.
    pub(crate) payload: &'a [u8],
}

/// A part of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fragment {
    /// Which packet.
    pub(crate) id: u32,
    /// Where it begins, in bytes.
    pub(crate) offset: usize,
    /// Others follow.
    pub(crate) more: bool,
}

/// An IPv4 or IPv6 packet whose headers are right, from a frame with
/// `offload`.
pub(crate) fn ip<'a>(bytes: &'a [u8], offload: &Offload) -> Option<Ip<'a>> {
    let ip = match bytes.first()? >> 4 {
        4 => ipv4(bytes),
        6 => ipv6(bytes),
        _ => None,
    };
    let unsummed = offload.checksum.is_some();
    ip.map(|ip| Ip { unsummed, ..ip })
}

/// RFC 791, section 3.1.
fn ipv4(bytes: &[u8]) -> Option<Ip<'_>> {
    let view = Ipv4Packet::new_checked(bytes).ok()?;
    let header = usize::from(view.header_len());
    if header < 20 || !Sum::default().add(bytes.get(..header)?).is_valid() {
        return None;
    }
    let packet = bytes.get(..usize::from(view.total_len()))?;
    let part = view.more_frags() || view.frag_offset() != 0;
    Some(Ip {
        src: view.src_addr().into(),
        dst: view.dst_addr().into(),
        protocol: view.next_header(),
        hops: view.hop_limit(),
        whole: view.dont_frag(),
        fragment: part.then(|| Fragment {
            id: view.ident().into(),
            offset: view.frag_offset().into(),
            more: view.more_frags(),
        }),
        unsummed: false,
        payload: packet.get(header..)?,
        packet,
    })
}

/// RFC 8200, sections 3 and 4.
fn ipv6(bytes: &[u8]) -> Option<Ip<'_>> {
    let view = Ipv6Packet::new_checked(bytes).ok()?;
    let packet = bytes.get(..40 + usize::from(view.payload_len()))?;
    let mut protocol = view.next_header();
    let mut payload = packet.get(40..)?;
    let mut fragment = None;
    for _ in 0..MAX_EXTENSIONS {
        match protocol {
            IpProtocol::HopByHop | IpProtocol::Ipv6Route | IpProtocol::Ipv6Opts => {
                let length = 8 + 8 * usize::from(*payload.get(1)?);
                protocol = (*payload.first()?).into();
                payload = payload.get(length..)?;
            }
            IpProtocol::Ipv6Frag => {
                let (header, rest) = payload.split_first_chunk::<8>()?;
                let [next, _, high, low, id @ ..] = *header;
                let offset = usize::from(u16::from_be_bytes([high, low]) & !7);
                let more = low & 1 != 0;
                protocol = next.into();
                payload = rest;
                // What is whole with a fragment header is whole (RFC 6946).
                if more || offset != 0 {
                    let id = u32::from_be_bytes(id);
                    fragment = Some(Fragment { id, offset, more });
                    break;
                }
            }
            _ => break,
        }
    }
    // What is behind so many of them is not known, so it is not let through.
    let more = matches!(
        protocol,
        IpProtocol::HopByHop | IpProtocol::Ipv6Route | IpProtocol::Ipv6Opts | IpProtocol::Ipv6Frag
    );
    if more && fragment.is_none() {
        return None;
    }
    Some(Ip {
        src: view.src_addr().into(),
        dst: view.dst_addr().into(),
        protocol,
        hops: view.hop_limit(),
        whole: true,
        fragment,
        unsummed: false,
        packet,
        payload,
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
    // A checksum of zero means that there is none (RFC 768), which IPv6 does
    // not allow (RFC 8200, section 8.1).
    let unsummed = ip.unsummed || view.checksum() == 0 && ip.src.is_ipv4();
    if view.src_port() == 0 || view.dst_port() == 0 || !unsummed && !valid() {
        return None;
    }
    Some(Datagram {
        src: view.src_port(),
        dst: view.dst_port(),
        payload: bytes.get(8..)?,
    })
}

/// The ICMP or ICMPv6 message in `ip`: at least 8 bytes.
pub(crate) fn icmp_message<'a>(ip: &Ip<'a>) -> Option<&'a [u8]> {
    let message = ip.payload;
    let sum = match (ip.src, ip.protocol) {
        (IpAddr::V4(_), IpProtocol::Icmp) => Sum::default(),
        (IpAddr::V6(_), IpProtocol::Icmpv6) => Sum::pseudo(ip.src, ip.dst, 58, message.len()),
        _ => return None,
    };
    (message.len() >= 8 && (ip.unsummed || sum.add(message).is_valid())).then_some(message)
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

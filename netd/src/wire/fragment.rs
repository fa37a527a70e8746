//! Packets in parts: putting together what guests cut, and cutting what is
//! too long for them (RFC 791, section 3.2; RFC 8200, section 4.5).

use std::net::IpAddr;

use super::build::seal;
use super::{ETHERNET, Fragment, Ip, IpProtocol, ip};
use crate::frame::{Frame, Offload};

/// Bytes of an IPv6 fragment header.
const EXTENSION: usize = 8;

/// A packet that was put together.
#[derive(Debug)]
pub(crate) struct Assembled {
    bytes: Vec<u8>,
}

impl Assembled {
    /// From the header of the first part, and the payloads of all.
    pub(crate) fn new(first: &Header, payload: &[u8]) -> Option<Assembled> {
        let mut bytes = first.bytes.clone();
        bytes.extend_from_slice(payload);
        if first.v4 {
            let total = u16::try_from(bytes.len()).ok()?.to_be_bytes();
            bytes[2..4].copy_from_slice(&total);
            bytes[6..8].fill(0);
            seal(&mut bytes);
        } else {
            let length = u16::try_from(payload.len()).ok()?.to_be_bytes();
            bytes[4..6].copy_from_slice(&length);
            bytes[6] = first.protocol.into();
        }
        Some(Assembled { bytes })
    }

    /// The packet, which may be cut again on its further way.
    pub(crate) fn view(&self) -> Option<Ip<'_>> {
        let ip = ip(&self.bytes, &Offload::NONE)?;
        Some(Ip { whole: false, ..ip })
    }
}

/// What stays of the headers of a packet that comes in parts: IPv4 options
/// and IPv6 extension headers do not.
#[derive(Debug)]
pub(crate) struct Header {
    v4: bool,
    protocol: IpProtocol,
    bytes: Vec<u8>,
}

impl Header {
    /// Of the first part.
    pub(crate) fn of(first: &Ip<'_>) -> Header {
        let v4 = first.src.is_ipv4();
        let mut bytes = first.packet[..if v4 { 20 } else { 40 }].to_vec();
        if v4 {
            bytes[0] = 0x45;
        }
        Header {
            v4,
            protocol: first.protocol,
            bytes,
        }
    }
}

/// Cuts `frame`, one of our own, into frames whose packets have at most `mtu`
/// bytes; `id` is the packet's.
pub(crate) fn cut(frame: Frame, mtu: usize, id: u32) -> Vec<Frame> {
    if frame.len() <= ETHERNET + mtu {
        return vec![frame];
    }
    let v4 = frame[ETHERNET] >> 4 == 4;
    let fixed = if v4 { 20 } else { 40 };
    let extension = if v4 { 0 } else { EXTENSION };
    let (headers, payload) = frame.split_at(ETHERNET + fixed);
    let step = (mtu - fixed - extension) & !7;
    let mut frames = Vec::with_capacity(payload.len().div_ceil(step));
    for (n, part) in payload.chunks(step).enumerate() {
        let fragment = Fragment {
            id,
            offset: n * step,
            more: (n + 1) * step < payload.len(),
        };
        let mut frame = Frame::with_capacity(headers.len() + extension + part.len());
        frame.extend_from_slice(headers);
        mark(&mut frame, fragment, part.len());
        frame.extend_from_slice(part);
        frames.push(frame);
    }
    frames
}

/// Makes a copy of a packet's headers those of a part with `length` bytes.
fn mark(frame: &mut Frame, part: Fragment, length: usize) {
    if frame[ETHERNET] >> 4 == 4 {
        let header = &mut frame[ETHERNET..];
        header[2..4].copy_from_slice(&((20 + length) as u16).to_be_bytes());
        header[4..6].copy_from_slice(&(part.id as u16).to_be_bytes());
        let place = (part.offset / 8) as u16 | u16::from(part.more) << 13;
        header[6..8].copy_from_slice(&place.to_be_bytes());
        seal(header);
    } else {
        let header = &mut frame[ETHERNET..];
        header[4..6].copy_from_slice(&((EXTENSION + length) as u16).to_be_bytes());
        let protocol = std::mem::replace(&mut header[6], IpProtocol::Ipv6Frag.into());
        let place = part.offset as u16 | u16::from(part.more);
        frame.extend_from_slice(&[protocol, 0]);
        frame.extend_from_slice(&place.to_be_bytes());
        frame.extend_from_slice(&part.id.to_be_bytes());
    }
}

/// Parts of the same packet have this in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PacketId {
    src: IpAddr,
    dst: IpAddr,
    id: u32,
    // Only IPv4 tells protocols apart here.
    protocol: u8,
}

impl PacketId {
    /// Of the packet that `ip` is a part of.
    pub(crate) fn of(ip: &Ip<'_>, fragment: Fragment) -> PacketId {
        let protocol = if ip.src.is_ipv4() {
            ip.protocol.into()
        } else {
            0
        };
        PacketId {
            src: ip.src,
            dst: ip.dst,
            id: fragment.id,
            protocol,
        }
    }
}

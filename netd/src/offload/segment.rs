//! Cutting TCP of up to 64 KiB into segments (RFC 9293, 3.7.1; the same as
//! `tcp_gso_segment` of Linux).

use super::MAX_HEADERS;
use super::checksum::Sum;
use super::headers::{join, slice, split};
use crate::frame::{Checksum, Parts, Segmented, Segments};

const ETHERNET: usize = 14;
/// Offset of TCP's checksum.
const CHECKSUM: usize = 16;
const FIN: u8 = 1;
const PSH: u8 = 1 << 3;
const CWR: u8 = 1 << 7;

/// Cuts a frame into complete segments.
pub(super) fn segment(
    frame: &Parts<'_>,
    checksum: Checksum,
    segments: Segments,
    mut emit: impl FnMut(&Parts<'_>),
) -> bool {
    let tcp = usize::from(checksum.start);
    let mut first = [0; MAX_HEADERS];
    if usize::from(checksum.offset) != CHECKSUM
        || segments.size == 0
        || split(frame, tcp + 20, &mut first).is_none()
        || !fits(&first, tcp, segments.kind)
    {
        return false;
    }
    let headers = tcp + usize::from(first[tcp + 12] >> 4) * 4;
    if headers < tcp + 20 {
        return false;
    }
    let Some(payload) = split(frame, headers, &mut first) else {
        return false;
    };
    let total = payload.len();
    let size = usize::from(segments.size);
    let mut start = 0;
    let mut number = 0;
    loop {
        let length = size.min(total - start);
        let last = start + length == total;
        let piece = slice(&payload, start, length);
        let mut own = first;
        let own = &mut own[..headers];
        lengths(own, tcp, segments.kind, length, number);
        let sequence = u32::from_be_bytes([own[tcp + 4], own[tcp + 5], own[tcp + 6], own[tcp + 7]]);
        own[tcp + 4..tcp + 8].copy_from_slice(&sequence.wrapping_add(start as u32).to_be_bytes());
        if !last {
            own[tcp + 13] &= !(FIN | PSH);
        }
        if number > 0 {
            own[tcp + 13] &= !CWR;
        }
        own[tcp + CHECKSUM..tcp + CHECKSUM + 2].fill(0);
        let mut sum = pseudo(own, segments.kind, headers - tcp + length);
        sum.add(&own[tcp..]);
        piece.pieces.iter().for_each(|piece| sum.add(piece));
        own[tcp + CHECKSUM..tcp + CHECKSUM + 2].copy_from_slice(&sum.finish());
        match join(own, &piece) {
            Some(frame) => emit(&frame),
            None => return false,
        }
        if last {
            return true;
        }
        start += length;
        number += 1;
    }
}

/// The headers are what the metadata says.
fn fits(frame: &[u8], tcp: usize, kind: Segmented) -> bool {
    let protocol = u16::from_be_bytes([frame[12], frame[13]]);
    let version = frame[ETHERNET] >> 4;
    match kind {
        Segmented::Tcp4 => {
            let header = usize::from(frame[ETHERNET] & 15) * 4;
            let is_tcp = frame[ETHERNET + 9] == 6;
            protocol == 0x0800 && version == 4 && header >= 20 && is_tcp && tcp == ETHERNET + header
        }
        Segmented::Tcp6 => protocol == 0x86dd && version == 6 && tcp >= ETHERNET + 40,
    }
}

/// Sets the lengths of a segment with `payload` bytes, IPv4's number and its
/// checksum.
fn lengths(headers: &mut [u8], tcp: usize, kind: Segmented, payload: usize, number: u16) {
    let end = headers.len() + payload;
    let ip = &mut headers[ETHERNET..tcp];
    match kind {
        Segmented::Tcp4 => {
            ip[2..4].copy_from_slice(&((end - ETHERNET) as u16).to_be_bytes());
            let id = u16::from_be_bytes([ip[4], ip[5]]).wrapping_add(number);
            ip[4..6].copy_from_slice(&id.to_be_bytes());
            ip[10..12].fill(0);
            let mut sum = Sum::default();
            sum.add(ip);
            ip[10..12].copy_from_slice(&sum.finish());
        }
        Segmented::Tcp6 => {
            ip[4..6].copy_from_slice(&((end - ETHERNET - 40) as u16).to_be_bytes());
        }
    }
}

/// The pseudo-header before `length` bytes of TCP.
fn pseudo(headers: &[u8], kind: Segmented, length: usize) -> Sum {
    let ip = &headers[ETHERNET..];
    let addresses = match kind {
        Segmented::Tcp4 => &ip[12..20],
        Segmented::Tcp6 => &ip[8..40],
    };
    let mut sum = Sum::default();
    sum.add(addresses);
    sum.add(&[0, 6]);
    sum.add(&(length as u16).to_be_bytes());
    sum
}

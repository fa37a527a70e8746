//! Completing a checksum (RFC 1071).

use super::MAX_HEADERS;
use super::headers::{join, split};
use crate::frame::{Checksum, Parts};

/// Completes the checksum of a frame that is one segment.
pub(super) fn complete(
    frame: &Parts<'_>,
    checksum: Checksum,
    mut emit: impl FnMut(&Parts<'_>),
) -> bool {
    let start = usize::from(checksum.start);
    let field = start + usize::from(checksum.offset);
    let mut buffer = [0; MAX_HEADERS];
    let Some(payload) = split(frame, field + 2, &mut buffer) else {
        return false;
    };
    let headers = &mut buffer[..field + 2];
    let mut sum = Sum::default();
    sum.add(&headers[start..]);
    payload.pieces.iter().for_each(|piece| sum.add(piece));
    headers[field..].copy_from_slice(&sum.finish());
    match join(headers, &payload) {
        Some(frame) => emit(&frame),
        None => return false,
    }
    true
}

/// A sum over pieces of any length.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sum {
    sum: u64,
    // So far there were an odd number of bytes.
    odd: bool,
}

impl Sum {
    /// Adds `bytes`.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        // Sums of 32-bit words in the host's byte order: that order does not
        // matter until the end, and 2^32 of them fit 64 bits.
        let (words, rest) = bytes.as_chunks::<4>();
        let mut sum = 0u64;
        for word in words {
            sum += u64::from(u32::from_ne_bytes(*word));
        }
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        sum += u64::from(u32::from_ne_bytes(last));
        let folded = fold(sum);
        let folded = if self.odd {
            folded.swap_bytes()
        } else {
            folded
        };
        self.sum += u64::from(folded);
        self.odd ^= bytes.len() % 2 == 1;
    }

    /// The checksum as it goes into a header: never zero, which would mean
    /// "none" in UDP, and is the same number as 0xffff.
    pub(super) fn finish(self) -> [u8; 2] {
        match !fold(self.sum) {
            0 => [0xff; 2],
            sum => sum.to_ne_bytes(),
        }
    }
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

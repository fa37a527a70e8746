//! A frame's headers in one piece, and the payload behind them, wherever it
//! lies.

use super::MAX_HEADERS;
use crate::frame::{Offload, Parts};

/// Copies the first `at` bytes of a frame; gives them and what follows.
/// `None` if the frame is shorter or `at` more than headers have.
pub(super) fn split<'a>(
    frame: &Parts<'a>,
    at: usize,
    buffer: &mut [u8; MAX_HEADERS],
) -> Option<Parts<'a>> {
    let buffer = buffer.get_mut(..at)?;
    let mut rest = *frame;
    rest.offload = Offload::NONE;
    let mut filled = 0;
    for piece in &mut rest.pieces {
        let (taken, left) = piece.split_at(piece.len().min(at - filled));
        buffer[filled..filled + taken.len()].copy_from_slice(taken);
        filled += taken.len();
        *piece = left;
    }
    (filled == at).then_some(rest)
}

/// `headers` before `payload`, which has at most two pieces.
pub(super) fn join<'a>(headers: &'a [u8], payload: &Parts<'a>) -> Option<Parts<'a>> {
    let mut pieces = payload.pieces.into_iter().filter(|piece| !piece.is_empty());
    let joined = Parts {
        pieces: [
            headers,
            pieces.next().unwrap_or_default(),
            pieces.next().unwrap_or_default(),
        ],
        offload: Offload::NONE,
    };
    pieces.next().is_none().then_some(joined)
}

/// The bytes from `start` on, `length` of them.
pub(super) fn slice<'a>(payload: &Parts<'a>, start: usize, length: usize) -> Parts<'a> {
    let (mut skip, mut left) = (start, length);
    let pieces = payload.pieces.map(|piece| {
        let begin = skip.min(piece.len());
        let end = piece.len().min(begin + left);
        skip -= begin;
        left -= end - begin;
        &piece[begin..end]
    });
    Parts {
        pieces,
        offload: Offload::NONE,
    }
}

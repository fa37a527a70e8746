//! Software for what a frame's sender left to be done and its receiver cannot
//! do: checksums and segmentation.
//!
//! ```text
//!   Parts + Offload ──finish──► Parts, Parts, … with Offload::NONE
//! ```
//!
//! Payloads are not copied, only headers are.

mod checksum;
mod headers;
mod segment;

use crate::frame::{Features, Parts};

/// Most bytes of headers: Ethernet, IPv6 with some extensions, TCP with all
/// its options. What has more is not finished.
const MAX_HEADERS: usize = 256;

/// Hands `frame` to `emit` as a receiver with `features` takes it: as it is,
/// or as one or more complete frames. Whether that could be done: `false` is
/// a frame whose headers do not fit what its offload says.
pub(crate) fn finish(
    frame: &Parts<'_>,
    features: Features,
    mut emit: impl FnMut(&Parts<'_>),
) -> bool {
    if features.take(&frame.offload) {
        emit(frame);
        return true;
    }
    match (frame.offload.checksum, frame.offload.segments) {
        (Some(checksum), Some(segments)) => segment::segment(frame, checksum, segments, emit),
        (Some(checksum), None) => checksum::complete(frame, checksum, emit),
        (None, Some(_)) => false,
        (None, None) => {
            emit(frame);
            true
        }
    }
}

#[cfg(test)]
mod tests;

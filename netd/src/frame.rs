//! Ethernet frames on their way through the daemon.
//!
//! ```text
//!   port ──receive──► Batch ──FrameRef──► fabric ──► Delivery ──Parts──► port
//!                                            └─ own frames ─► Frame ─Parts─┘
//! ```
//!
//! What ports receive stays where it was received, in a [`Batch`], and is
//! sent on from there. Only what the core builds itself, and what has to wait
//! for a port, is an owned [`Frame`].
//!
//! A frame may carry [`Offload`] metadata, like `struct virtio_net_hdr`: its
//! checksum is not computed yet, or it stands for several segments (up to
//! 64 KiB in one frame). A port that cannot pass that on finishes the work in
//! software.

mod batch;

use std::ops::{Deref, DerefMut};

pub(crate) use batch::Batch;

/// Longest frame, in bytes: an IP packet of 64 KiB behind an Ethernet header.
pub(crate) const LONGEST: usize = 65_535 + 14;

/// Least offset of a frame in a page of memory. The kernel's `rep movsb`
/// copies up to three times slower from or to the very start of a page on
/// some processors (AMD Zen 4), and page starts are where large allocations
/// begin.
const PAGE_OFFSET: usize = 64;

/// What the sender left to whoever hands the frame on (virtio 1.2, 5.1.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Offload {
    /// The checksum that is to be completed.
    pub(crate) checksum: Option<Checksum>,
    /// The segments that the frame stands for; always with a checksum.
    pub(crate) segments: Option<Segments>,
}

impl Offload {
    /// The frame is complete: as it would be on a wire.
    pub(crate) const NONE: Offload = Offload {
        checksum: None,
        segments: None,
    };
}

/// A checksum to complete: the field holds the sum of the pseudo-header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Checksum {
    /// Where summing begins, in bytes from the start of the frame.
    pub(crate) start: u16,
    /// Where the result goes, in bytes from `start`.
    pub(crate) offset: u16,
}

/// How to cut a frame into segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segments {
    /// What is inside.
    pub(crate) kind: Segmented,
    /// Bytes of payload in each segment but the last.
    pub(crate) size: u16,
}

/// Protocols that can be segmented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Segmented {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
}

/// What a port's other end takes unfinished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Features {
    /// Frames whose checksum is not complete.
    pub(crate) checksum: bool,
    /// TCP over IPv4 of up to 64 KiB in one frame.
    pub(crate) tcp4: bool,
    /// TCP over IPv6 of up to 64 KiB in one frame.
    pub(crate) tcp6: bool,
}

impl Features {
    /// A frame with `offload` can be sent as it is.
    pub(crate) fn take(self, offload: &Offload) -> bool {
        let segments = match offload.segments.map(|segments| segments.kind) {
            None => true,
            Some(Segmented::Tcp4) => self.tcp4,
            Some(Segmented::Tcp6) => self.tcp6,
        };
        segments && (self.checksum || offload.checksum.is_none())
    }
}

/// A received frame, where it was received.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameRef<'a> {
    /// From the Ethernet header on.
    pub(crate) bytes: &'a [u8],
    /// What is not done yet.
    pub(crate) offload: Offload,
}

impl<'a> From<&'a [u8]> for FrameRef<'a> {
    /// A complete frame.
    fn from(bytes: &'a [u8]) -> Self {
        FrameRef {
            bytes,
            offload: Offload::NONE,
        }
    }
}

impl<'a> From<&'a Frame> for FrameRef<'a> {
    fn from(frame: &'a Frame) -> Self {
        FrameRef {
            bytes: frame,
            offload: frame.offload,
        }
    }
}

#[cfg(test)]
impl<'a> From<&'a Vec<u8>> for FrameRef<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        FrameRef::from(&bytes[..])
    }
}

/// A frame to send, in up to three pieces that lie anywhere: headers, and a
/// payload that may wrap around the end of a ring.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts<'a> {
    /// The pieces, in order; some may be empty.
    pub(crate) pieces: [&'a [u8]; 3],
    /// What is not done yet.
    pub(crate) offload: Offload,
}

impl Parts<'_> {
    /// No bytes at all.
    pub(crate) const EMPTY: Parts<'static> = Parts {
        pieces: [&[]; 3],
        offload: Offload::NONE,
    };

    /// Bytes of the frame.
    pub(crate) fn len(&self) -> usize {
        self.pieces.iter().map(|piece| piece.len()).sum()
    }

    /// The frame in one piece.
    pub(crate) fn to_frame(self) -> Frame {
        let mut frame = Frame::with_capacity(self.len());
        for piece in self.pieces {
            frame.extend_from_slice(piece);
        }
        frame.offload = self.offload;
        frame
    }
}

impl<'a> From<FrameRef<'a>> for Parts<'a> {
    fn from(frame: FrameRef<'a>) -> Self {
        Parts {
            pieces: [frame.bytes, &[], &[]],
            offload: frame.offload,
        }
    }
}

impl<'a> From<&'a Frame> for Parts<'a> {
    fn from(frame: &'a Frame) -> Self {
        FrameRef::from(frame).into()
    }
}

/// A frame of our own, in one piece. It is the slice of its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    storage: Vec<u8>,
    start: usize,
    /// What is not done yet.
    pub(crate) offload: Offload,
}

impl Frame {
    /// An empty frame with place for `capacity` bytes.
    pub(crate) fn with_capacity(capacity: usize) -> Frame {
        let mut storage: Vec<u8> = Vec::with_capacity(capacity + 2 * PAGE_OFFSET);
        let start = start_in_page(storage.as_ptr().addr());
        storage.resize(start, 0);
        Frame {
            storage,
            start,
            offload: Offload::NONE,
        }
    }

    /// Appends bytes.
    pub(crate) fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.storage.extend_from_slice(bytes);
    }

    /// Makes it `length` bytes long, with zeros at the end if it grows.
    pub(crate) fn resize(&mut self, length: usize) {
        self.storage.resize(self.start + length, 0);
    }
}

impl Deref for Frame {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.storage[self.start..]
    }
}

impl DerefMut for Frame {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.storage[self.start..]
    }
}

/// How far behind `address` bytes should begin that the kernel is to copy:
/// less than 128.
pub(crate) fn start_in_page(address: usize) -> usize {
    const PAGE: usize = 4096;
    let aligned = address.next_multiple_of(PAGE_OFFSET);
    let skip = if aligned.is_multiple_of(PAGE) {
        PAGE_OFFSET
    } else {
        0
    };
    aligned - address + skip
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_keep_away_from_the_start_of_a_page() {
        for address in 0..3 * 4096 {
            let start = start_in_page(address);
            assert!((address + start) % 4096 >= PAGE_OFFSET, "{address}");
            assert!(start < 2 * PAGE_OFFSET);
        }
        for capacity in [0, 60, 1514, LONGEST, 1 << 20] {
            let mut frame = Frame::with_capacity(capacity);
            frame.resize(capacity);
            assert!(frame.as_ptr().addr() % 4096 >= PAGE_OFFSET);
            assert_eq!(frame.len(), capacity);
        }
    }

    #[test]
    fn pieces_become_one_frame() {
        let offload = Offload {
            checksum: Some(Checksum {
                start: 34,
                offset: 16,
            }),
            segments: None,
        };
        let parts = Parts {
            pieces: [b"head", b"", b"tail"],
            offload,
        };
        let frame = parts.to_frame();
        assert_eq!((&*frame, frame.offload), (&b"headtail"[..], offload));
        assert_eq!(Parts::from(&frame).len(), parts.len());
    }

    #[test]
    fn unfinished_frames_go_to_those_who_take_them() {
        let checksum = Some(Checksum {
            start: 34,
            offset: 16,
        });
        let large = Offload {
            checksum,
            segments: Some(Segments {
                kind: Segmented::Tcp4,
                size: 1448,
            }),
        };
        let partial = Offload {
            checksum,
            segments: None,
        };
        let none = Features::default();
        let some = Features {
            checksum: true,
            ..none
        };
        let all = Features { tcp4: true, ..some };
        assert!(none.take(&Offload::NONE) && !none.take(&partial) && !none.take(&large));
        assert!(some.take(&partial) && !some.take(&large) && all.take(&large));
    }
}

//! Frames that were received together.

use super::{FrameRef, LONGEST, Offload, start_in_page};

/// Frames of one batch, at most.
const FRAMES: usize = 64;

/// Bytes after which a batch is large enough: more frames would only push
/// each other out of the cache.
const BYTES: usize = 128 << 10;

/// Frames of one batch, however long they are.
const FEWEST: usize = 4;

/// Bytes from one place to the next. Not a multiple of a page, so that the
/// frames do not compete for the same lines of the cache, and a multiple of
/// 512, so that none begins at the start of a page.
const STRIDE: usize = (64 << 10) + 4096 + 1536;

/// Places for received frames, used again and again.
///
/// Memory that no frame has ever needed is not resident.
#[derive(Debug)]
pub(crate) struct Batch {
    storage: Vec<u8>,
    start: usize,
    frames: Vec<(usize, Offload)>,
    room: usize,
}

impl Batch {
    /// An empty batch.
    pub(crate) fn new() -> Batch {
        let storage = vec![0; FRAMES * STRIDE + 128];
        Batch {
            start: start_in_page(storage.as_ptr().addr()),
            storage,
            frames: Vec::with_capacity(FRAMES),
            room: FRAMES,
        }
    }

    /// One that has no places at all, to put where a batch is missing.
    pub(crate) fn none() -> Batch {
        Batch {
            storage: Vec::new(),
            start: 0,
            frames: Vec::new(),
            room: 0,
        }
    }

    /// Forgets the frames.
    pub(crate) fn clear(&mut self) {
        if !self.frames.is_empty() {
            // As many as would have been enough, and a few more.
            let bytes: usize = self.frames.iter().map(|(length, _)| length).sum();
            let mean = (bytes / self.frames.len()).max(1);
            self.room = (BYTES / mean).clamp(self.frames.len().min(FEWEST), FRAMES);
        }
        self.frames.clear();
    }

    /// How many more frames may come.
    pub(crate) fn room(&self) -> usize {
        self.room.saturating_sub(self.frames.len())
    }

    /// The places for the next frames, [`room`](Self::room) of them, each
    /// long enough for the [longest](super::LONGEST) frame.
    pub(crate) fn places(&mut self) -> impl Iterator<Item = &mut [u8]> {
        let used = self.start + self.frames.len() * STRIDE;
        let room = self.room();
        self.storage[used..]
            .chunks_mut(STRIDE)
            .map(|place| &mut place[..LONGEST + 1])
            .take(room)
    }

    /// The next place holds a frame of `length` bytes.
    pub(crate) fn push(&mut self, length: usize, offload: Offload) {
        debug_assert!(self.frames.len() < FRAMES && length <= LONGEST + 1);
        self.frames.push((length.min(LONGEST + 1), offload));
    }

    /// Makes a frame `more` bytes longer; gives the place for those.
    pub(crate) fn lengthen(&mut self, n: usize, more: usize) -> &mut [u8] {
        let (length, _) = &mut self.frames[n];
        let begin = self.start + n * STRIDE + *length;
        *length += more;
        &mut self.storage[begin..begin + more]
    }

    /// How many frames there are.
    pub(crate) fn len(&self) -> usize {
        self.frames.len()
    }

    /// A frame.
    pub(crate) fn get(&self, n: usize) -> FrameRef<'_> {
        let (length, offload) = self.frames[n];
        let start = self.start + n * STRIDE;
        FrameRef {
            bytes: &self.storage[start..start + length],
            offload,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_lie_where_they_were_received() {
        let mut batch = Batch::new();
        for (n, place) in batch.places().enumerate() {
            assert!(place.as_ptr().addr() % 4096 >= 64);
            place[0] = n as u8;
        }
        for n in 0..FRAMES {
            batch.push(n + 1, Offload::NONE);
        }
        assert_eq!((batch.len(), batch.room()), (FRAMES, 0));
        for n in 0..FRAMES {
            let frame = batch.get(n);
            assert_eq!((frame.bytes[0], frame.bytes.len()), (n as u8, n + 1));
        }
    }

    #[test]
    fn batches_of_long_frames_are_short() {
        let mut batch = Batch::new();
        for _ in 0..FRAMES {
            batch.push(60_000, Offload::NONE);
        }
        batch.clear();
        assert_eq!((batch.len(), batch.room()), (0, FEWEST));
        for _ in 0..4 {
            batch.push(1514, Offload::NONE);
        }
        batch.clear();
        assert_eq!(batch.room(), FRAMES);
    }
}

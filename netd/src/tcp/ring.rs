//! A byte queue in one piece of memory that is used around and around.

use crate::frame::start_in_page;

/// Least capacity, in bytes.
const LEAST: usize = 2 << 10;

/// An empty queue with more capacity than this gives its memory back: there
/// may be thousands of connections that say nothing.
const KEPT: usize = 16 << 10;

/// The queue. It grows as it must; whoever fills it bounds it.
#[derive(Debug, Default)]
pub(super) struct Ring {
    storage: Vec<u8>,
    // Where the memory that is used begins, and how much that is.
    base: usize,
    capacity: usize,
    // Of the first byte, from `base` on.
    head: usize,
    length: usize,
}

impl Ring {
    /// Bytes in it.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Nothing is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// So many bytes from `start` on, in two pieces.
    pub(super) fn slice(&self, start: usize, length: usize) -> [&[u8]; 2] {
        let start = start.min(self.length);
        let length = length.min(self.length - start);
        let bytes = &self.storage[self.base..self.base + self.capacity];
        let from = self.head + start;
        if from >= self.capacity {
            let from = from - self.capacity;
            return [&bytes[from..from + length], &[]];
        }
        let first = length.min(self.capacity - from);
        [&bytes[from..from + first], &bytes[..length - first]]
    }

    /// Appends bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let [first, second] = self.space(bytes.len());
        let (a, b) = bytes.split_at(first.len().min(bytes.len()));
        first[..a.len()].copy_from_slice(a);
        second[..b.len()].copy_from_slice(b);
        self.commit(bytes.len());
    }

    /// Place behind the last byte, of `wanted` bytes in all, in two pieces.
    pub(super) fn space(&mut self, wanted: usize) -> [&mut [u8]; 2] {
        if self.length + wanted > self.capacity {
            self.grow(self.length + wanted);
        }
        let bytes = &mut self.storage[self.base..self.base + self.capacity];
        let tail = self.head + self.length;
        if tail >= self.capacity {
            let tail = tail - self.capacity;
            return [&mut bytes[tail..tail + wanted], &mut []];
        }
        let first = wanted.min(self.capacity - tail);
        let (start, end) = bytes.split_at_mut(tail);
        [&mut end[..first], &mut start[..wanted - first]]
    }

    /// The first `n` bytes of the [`space`](Self::space) are filled.
    pub(super) fn commit(&mut self, n: usize) {
        debug_assert!(self.length + n <= self.capacity);
        self.length = (self.length + n).min(self.capacity);
    }

    /// Forgets the first `n` bytes.
    pub(super) fn consume(&mut self, n: usize) {
        let n = n.min(self.length);
        self.length -= n;
        self.head += n;
        if self.head >= self.capacity {
            self.head -= self.capacity;
        }
        if self.length == 0 {
            self.head = 0;
            if self.capacity > KEPT {
                *self = Ring::default();
            }
        }
    }

    fn grow(&mut self, least: usize) {
        let capacity = least.next_power_of_two().max(LEAST);
        let storage = vec![0; capacity + 128];
        let base = start_in_page(storage.as_ptr().addr());
        let mut larger = Ring {
            storage,
            base,
            capacity,
            head: 0,
            length: self.length,
        };
        let [a, b] = self.slice(0, self.length);
        larger.storage[base..base + a.len()].copy_from_slice(a);
        larger.storage[base + a.len()..base + self.length].copy_from_slice(b);
        *self = larger;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bytes_come_out_as_they_went_in(
            steps in proptest::collection::vec((any::<bool>(), 0usize..40_000), 0..60)
        ) {
            let (mut ring, mut model) = (Ring::default(), VecDeque::new());
            let mut next = 0u32;
            for (push, n) in steps {
                if push {
                    let bytes: Vec<u8> = (0..n).map(|_| { next += 1; (next >> 3) as u8 }).collect();
                    ring.push(&bytes);
                    model.extend(bytes);
                } else {
                    ring.consume(n);
                    model.drain(..n.min(model.len()));
                }
                let from = n.min(model.len());
                let all = ring.slice(from, model.len()).concat();
                prop_assert_eq!(ring.len(), model.len());
                prop_assert_eq!(all.len(), model.len() - from);
                prop_assert!(all.iter().eq(model.range(from..)));
            }
        }
    }

    #[test]
    fn an_empty_ring_does_not_keep_much() {
        let mut ring = Ring::default();
        ring.push(&[1; 500_000]);
        ring.consume(500_000);
        assert_eq!((ring.capacity, ring.is_empty()), (0, true));
    }
}

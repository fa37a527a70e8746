//! Bytes from the guest: put in order, kept until the host takes them.

use super::Seq;
use super::ring::Ring;

/// Shift of the windows we offer: up to 8 MiB, far more than any limit here.
pub(super) const SCALE: u8 = 7;

/// Least payload that is passed on without being kept: a system call for each
/// of them costs less than copying.
const PASSED: usize = 8 << 10;

/// Segments kept that came too early.
const MAX_EARLY: usize = 256;

/// Most duplicate acknowledgements sent in one go: what a fast retransmit
/// needs.
const MAX_DUPLICATES: u8 = 3;

/// The receiving half.
#[derive(Debug)]
pub(super) struct Receiver {
    next: Seq,
    // What the guest may send up to. It never moves back.
    edge: Seq,
    buffer: Ring,
    early: Vec<Early>,
    limit: usize,
    finished: bool,
    ack: bool,
    duplicates: u8,
}

#[derive(Debug)]
struct Early {
    seq: Seq,
    bytes: Vec<u8>,
    fin: bool,
}

impl Receiver {
    /// Expects `next`; keeps up to `limit` bytes.
    pub(super) fn new(next: Seq, limit: usize) -> Receiver {
        Receiver {
            next,
            edge: next.plus(limit.min(usize::from(u16::MAX))),
            buffer: Ring::default(),
            early: Vec::new(),
            limit,
            finished: false,
            ack: false,
            duplicates: 0,
        }
    }

    /// Next byte expected.
    pub(super) fn next(&self) -> Seq {
        self.next
    }

    /// The guest has said its last byte; some may still wait to be read.
    pub(super) fn finished(&self) -> bool {
        self.finished
    }

    /// Bytes that wait, the first piece of them.
    pub(super) fn readable(&self) -> &[u8] {
        self.buffer.slice(0, self.buffer.len())[0]
    }

    /// Forgets the first `n` bytes.
    pub(super) fn consume(&mut self, n: usize) {
        self.buffer.consume(n);
        // Say so only when it is worth a segment (RFC 9293, 3.8.6.2.2).
        if !self.finished && self.growth() >= self.limit / 4 {
            self.ack = true;
        }
    }

    /// Changes how much is kept; what was already offered is kept in any
    /// case.
    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Takes what a segment carries.
    pub(super) fn accept(&mut self, seq: Seq, payload: &[u8], fin: bool) {
        let old = self.next.since(seq);
        if payload.is_empty() && !fin {
            // A keepalive or something stale: tell where we are.
            self.ack |= old != 0;
        } else if self.finished {
            self.ack = true;
        } else if old < 0 {
            self.keep_early(seq, payload, fin);
            self.duplicates = (self.duplicates + 1).min(MAX_DUPLICATES);
        } else {
            self.ack = true;
            self.append(old as usize, payload, fin);
            self.append_early();
        }
    }

    /// A segment that need not be kept, because it is the next one and nothing
    /// waits before it: how much of its end is to be passed on at once. What
    /// then does not go is to be [kept](Self::keep).
    pub(super) fn pass(&mut self, seq: Seq, payload: &[u8]) -> Option<usize> {
        let old = usize::try_from(self.next.since(seq)).ok()?;
        let new = payload.len().checked_sub(old)?;
        let passes = new >= PASSED
            && self.buffer.is_empty()
            && self.early.is_empty()
            && !self.finished
            && new <= self.edge.distance(self.next);
        if !passes {
            return None;
        }
        self.next = self.next.plus(new);
        self.ack = true;
        Some(new)
    }

    /// Keeps bytes that could not be passed on.
    pub(super) fn keep(&mut self, bytes: &[u8]) {
        self.buffer.push(bytes);
    }

    fn append(&mut self, old: usize, payload: &[u8], fin: bool) {
        let Some(new) = payload.get(old..) else {
            return;
        };
        let room = self.edge.distance(self.next);
        let taken = &new[..new.len().min(room)];
        self.buffer.push(taken);
        self.next = self.next.plus(taken.len());
        if fin && taken.len() == new.len() {
            self.finished = true;
            self.next = self.next.plus(1);
        }
    }

    fn keep_early(&mut self, seq: Seq, payload: &[u8], fin: bool) {
        let bytes: usize = self.early.iter().map(|early| early.bytes.len()).sum();
        let fits = seq.plus(payload.len()).since(self.edge) <= 0;
        let known = self.early.iter().any(|early| early.seq == seq);
        if fits && !known && self.early.len() < MAX_EARLY && bytes + payload.len() <= self.limit {
            self.early.push(Early {
                seq,
                bytes: payload.to_vec(),
                fin,
            });
        }
    }

    fn append_early(&mut self) {
        while !self.finished
            && let Some(at) = self.early.iter().position(|e| self.next.since(e.seq) >= 0)
        {
            let early = self.early.swap_remove(at);
            let old = self.next.distance(early.seq);
            self.append(old, &early.bytes, early.fin);
        }
        if self.finished {
            self.early = Vec::new();
        }
    }

    /// An acknowledgement is owed.
    pub(super) fn owes(&self) -> bool {
        self.ack || self.duplicates > 0
    }

    /// Asks for one.
    pub(super) fn owe(&mut self) {
        self.ack = true;
    }

    /// An acknowledgement is being sent; the window that goes with it, as it
    /// goes into a header that is not SYN.
    pub(super) fn acknowledge(&mut self) -> u16 {
        self.ack = false;
        self.duplicates = self.duplicates.saturating_sub(1);
        if self.growth() > 0 {
            self.edge = self.edge.plus(self.growth());
        }
        u16::try_from(self.edge.distance(self.next) >> SCALE).unwrap_or(u16::MAX)
    }

    /// The window for a SYN, which is not scaled.
    pub(super) fn first_window(&self) -> u16 {
        u16::try_from(self.edge.distance(self.next)).unwrap_or(u16::MAX)
    }

    /// How far the right edge could move.
    fn growth(&self) -> usize {
        let free = self.limit.saturating_sub(self.buffer.len());
        self.next.plus(free).distance(self.edge)
    }

    /// A reset with this number is believable (RFC 9293, 3.10.7.4).
    pub(super) fn in_window(&self, seq: Seq) -> bool {
        seq.since(self.next) >= 0 && seq.since(self.edge) <= 0
    }
}

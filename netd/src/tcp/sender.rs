//! Bytes for the guest: kept until it has acknowledged them.

use std::time::Instant;

use super::Seq;
use super::ring::Ring;
use super::rto::Rto;

/// Duplicate acknowledgements that mean a loss. The link keeps the order, so
/// fewer than the usual three do.
const DUPLICATES: u8 = 2;

/// No congestion window while nothing is lost: the link has a queue of its
/// own that says when it is full.
const OPEN_WINDOW: usize = 16 << 20;

/// The sending half, from the moment the connection is open.
#[derive(Debug)]
pub(super) struct Sender {
    acked: Seq,
    next: Seq,
    // Behind the highest byte ever sent.
    top: Seq,
    // From `acked` on.
    buffer: Ring,
    finish: bool,
    finish_acked: bool,
    window: usize,
    scale: u8,
    mss: usize,
    congestion: usize,
    duplicates: u8,
    // Until this is acknowledged, losses belong to one event.
    recover: Option<Seq>,
    // That event was seen by duplicates, not by the timer, so what lies
    // behind the hole is not sent again.
    fast: bool,
    resend: bool,
    probe: bool,
    rto: Rto,
    timer: Option<Instant>,
    // What is being timed, and since when (Karn: never a retransmission).
    timed: Option<(Seq, Instant)>,
    // The oldest byte that is not acknowledged was sent, or what was before it
    // acknowledged.
    waits_since: Option<Instant>,
}

/// A segment's worth of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(super) seq: Seq,
    pub(super) start: usize,
    pub(super) length: usize,
    pub(super) fin: bool,
    pub(super) last: bool,
}

impl Piece {
    /// None of it.
    pub(super) const NOTHING: Piece = Piece {
        seq: Seq(0),
        start: 0,
        length: 0,
        fin: false,
        last: false,
    };

    /// Bytes of payload.
    pub(crate) fn len(&self) -> usize {
        self.length
    }
}

impl Sender {
    /// The first byte has the number `first`.
    pub(super) fn new(first: Seq) -> Sender {
        Sender {
            acked: first,
            next: first,
            top: first,
            buffer: Ring::default(),
            finish: false,
            finish_acked: false,
            window: 0,
            scale: 0,
            mss: 536,
            congestion: OPEN_WINDOW,
            duplicates: 0,
            recover: None,
            fast: false,
            resend: false,
            probe: false,
            rto: Rto::new(),
            timer: None,
            timed: None,
            waits_since: None,
        }
    }

    /// What the guest's SYN said.
    pub(super) fn negotiate(&mut self, mss: usize, scale: u8, window: u16) {
        self.mss = mss;
        self.scale = scale;
        self.window = usize::from(window);
    }

    pub(super) fn next(&self) -> Seq {
        self.next
    }

    pub(super) fn first_unacked(&self) -> Seq {
        self.acked
    }

    pub(super) fn queued(&self) -> usize {
        self.buffer.len()
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.push(bytes);
    }

    /// Place for `wanted` more bytes.
    pub(super) fn space(&mut self, wanted: usize) -> [&mut [u8]; 2] {
        self.buffer.space(wanted)
    }

    /// The first `n` of them are filled.
    pub(super) fn commit(&mut self, n: usize) {
        self.buffer.commit(n);
    }

    /// Bytes of payload of a segment.
    pub(super) fn mss(&self) -> usize {
        self.mss
    }

    /// Nothing comes after what is queued.
    pub(super) fn finish(&mut self) {
        self.finish = true;
    }

    pub(super) fn finishing(&self) -> bool {
        self.finish
    }

    /// Everything arrived, the end too.
    pub(super) fn done(&self) -> bool {
        self.finish_acked
    }

    /// Something was sent and not acknowledged.
    pub(super) fn outstanding(&self) -> bool {
        self.top != self.acked
    }

    /// Since when an acknowledgement is waited for.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        self.waits_since
    }

    pub(super) fn timer(&self) -> Option<Instant> {
        self.timer
    }

    /// The bytes of a piece.
    pub(super) fn bytes(&self, piece: &Piece) -> [&[u8]; 2] {
        self.buffer.slice(piece.start, piece.length)
    }

    /// An acknowledgement came. `plain` is one without payload, SYN or FIN.
    /// Returns whether it makes sense.
    pub(super) fn acknowledged(
        &mut self,
        ack: Seq,
        window: u16,
        plain: bool,
        now: Instant,
    ) -> bool {
        if ack.since(self.top) > 0 {
            return false;
        }
        let progress = ack.since(self.acked);
        if progress < 0 {
            return true;
        }
        let window = usize::from(window) << self.scale;
        let before = std::mem::replace(&mut self.window, window);
        if before == 0 && window > 0 && progress == 0 {
            // The probe's byte was most likely not kept.
            self.next = self.acked;
        }
        if progress > 0 {
            self.advance(ack, progress as usize, now);
        } else if plain && window == before && self.outstanding() && window > 0 {
            self.duplicates = self.duplicates.saturating_add(1);
            if self.duplicates == DUPLICATES && self.recover.is_none() {
                self.recover = Some(self.top);
                self.fast = true;
                self.resend = true;
            }
        }
        true
    }

    fn advance(&mut self, ack: Seq, progress: usize, now: Instant) {
        let bytes = progress.min(self.buffer.len());
        self.buffer.consume(bytes);
        self.finish_acked |= progress > bytes;
        self.acked = ack;
        if self.next.since(ack) < 0 {
            self.next = ack;
        }
        if let Some((seq, since)) = self.timed
            && ack.since(seq) >= 0
        {
            self.rto.sample(now.saturating_duration_since(since));
            self.timed = None;
        }
        self.rto.progress();
        self.duplicates = 0;
        self.probe = false;
        self.congestion = (self.congestion + progress).min(OPEN_WINDOW);
        match self.recover {
            Some(recover) if ack.since(recover) < 0 => {
                self.resend = self.fast && self.next != ack;
            }
            Some(_) => {
                self.recover = None;
                self.congestion = OPEN_WINDOW;
                self.resend = false;
            }
            None => self.resend = false,
        }
        self.timer = self.outstanding().then(|| now + self.rto.current());
        self.waits_since = self.outstanding().then_some(now);
    }

    /// The timer has run out.
    pub(super) fn timeout(&mut self, now: Instant) {
        if self.timer.is_none_or(|timer| timer > now) {
            return;
        }
        self.rto.back_off();
        self.timer = Some(now + self.rto.current());
        self.timed = None;
        self.next = self.acked;
        if self.window == 0 {
            self.probe = true;
        } else {
            self.recover = Some(self.top);
            self.fast = false;
            self.congestion = self.mss;
        }
    }

    /// The next segment to send, which counts as sent then. It may stand for
    /// several, of `most` bytes in all.
    pub(super) fn pop(&mut self, most: usize, now: Instant) -> Option<Piece> {
        let resend = std::mem::take(&mut self.resend) && self.outstanding();
        let probe = std::mem::take(&mut self.probe);
        let from = if resend { self.acked } else { self.next };
        let start = from.distance(self.acked);
        let available = self.buffer.len().checked_sub(start)?;
        let usable = self
            .window
            .min(self.congestion.max(self.mss))
            .saturating_sub(start);
        let usable = if probe { usable.max(1) } else { usable };
        // What is sent again is sent alone: more of it may have arrived.
        let again = resend || self.recover.is_some();
        let most = if again { self.mss } else { most.max(self.mss) };
        let whole = most - most % self.mss;
        let mut length = available.min(whole).min(usable);
        if length > self.mss && length < available {
            length -= length % self.mss;
        }
        let fin = self.finish && !self.finish_acked && length == available;
        // Part of what could go, because the window is small: only if
        // nothing is under way (RFC 9293, 3.8.6.2.1).
        let silly = length < available && length < self.mss && start > 0;
        if (length == 0 || silly) && !fin {
            if available > 0 && !self.outstanding() && self.timer.is_none() {
                self.timer = Some(now + self.rto.current());
            }
            return None;
        }
        let end = from.plus(length + usize::from(fin));
        if end.since(self.next) > 0 {
            self.next = end;
        }
        if end.since(self.top) > 0 {
            self.top = end;
            self.waits_since.get_or_insert(now);
            self.timed.get_or_insert((end, now));
        } else {
            self.timed = None;
        }
        if self.timer.is_none() || resend {
            self.timer = Some(now + self.rto.current());
        }
        Some(Piece {
            seq: from,
            start,
            length,
            fin,
            last: length == available,
        })
    }
}

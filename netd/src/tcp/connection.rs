//! The state machine of one connection.

use std::time::{Duration, Instant};

use super::receiver::{Receiver, SCALE};
use super::sender::{Piece, Sender};
use super::{Header, Seq};
use crate::wire::MTU;

/// What we let the guest send in one segment.
const MSS: u16 = (MTU - 40) as u16;

/// Guests that ask for less get this much: tiny segments cost us, not them.
const MIN_MSS: u16 = 216;

/// How long the guest may take to complete a handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long the host's side may take to connect.
const CONNECT: Duration = Duration::from_secs(60);

/// The last acknowledgement may get lost: how long it can be repeated.
const TIME_WAIT: Duration = Duration::from_secs(1);

/// Silence until the guest is asked whether it is still there.
const IDLE: Duration = Duration::from_secs(7200);

/// How often it is asked.
const KEEPALIVE: Duration = Duration::from_secs(75);

/// Silence that ends a connection, from the first question or
/// retransmission on. Paused guests are silent for long.
const GIVE_UP: Duration = Duration::from_secs(900);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Asked,
    Answered,
    Asking,
    Open,
    TimeWait,
    Closed(Close),
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Close {
    /// Both sides said all they had to say.
    Done,
    /// The guest reset or refused it.
    Reset,
    /// We reset it.
    Aborted,
    /// The guest did not answer.
    TimedOut,
}

/// One connection with a guest.
#[derive(Debug)]
pub(crate) struct Connection {
    phase: Phase,
    initial: Seq,
    guest_initial: Seq,
    send: Sender,
    receive: Receiver,
    limit: usize,
    // The guest's SYN had a window scale, so ours counts.
    scaled: bool,
    mss: u16,
    // SYN or SYN-ACK is due.
    handshake: bool,
    attempts: u32,
    reset: Option<Header>,
    refused: bool,
    keepalive: bool,
    timer: Option<Instant>,
    phase_since: Instant,
    heard: Instant,
    asked: Option<Instant>,
    asked_first: Option<Instant>,
}

impl Connection {
    /// The guest's SYN came: nothing is answered until [`accept`](Self::accept).
    /// `limit` bounds what is kept in each direction, in bytes.
    pub(crate) fn asked(syn: &Header, initial: Seq, limit: usize, now: Instant) -> Connection {
        let mut connection = Connection::new(Phase::Asked, initial, limit, now);
        connection.negotiate(syn);
        connection
    }

    /// The guest is to be asked.
    pub(crate) fn asking(initial: Seq, limit: usize, now: Instant) -> Connection {
        let mut connection = Connection::new(Phase::Asking, initial, limit, now);
        connection.handshake = true;
        connection
    }

    fn new(phase: Phase, initial: Seq, limit: usize, now: Instant) -> Connection {
        Connection {
            phase,
            initial,
            guest_initial: Seq(0),
            send: Sender::new(initial.plus(1)),
            receive: Receiver::new(Seq(0), limit),
            limit,
            scaled: false,
            mss: 0,
            handshake: false,
            attempts: 0,
            reset: None,
            refused: false,
            keepalive: false,
            timer: None,
            phase_since: now,
            heard: now,
            asked: None,
            asked_first: None,
        }
    }

    fn negotiate(&mut self, syn: &Header) {
        self.guest_initial = syn.seq;
        self.receive = Receiver::new(syn.seq.plus(1), self.limit);
        self.mss = syn.mss.unwrap_or(536).clamp(MIN_MSS, MSS);
        self.scaled = syn.scale.is_some();
        self.send
            .negotiate(usize::from(self.mss), syn.scale.unwrap_or(0), syn.window);
    }

    fn enter(&mut self, phase: Phase, now: Instant) {
        self.phase = phase;
        self.phase_since = now;
    }

    // What the owner asks and does.

    /// The host's side is connected: answer the guest.
    pub(crate) fn accept(&mut self, now: Instant) {
        if self.phase == Phase::Asked {
            self.enter(Phase::Answered, now);
            self.handshake = true;
        }
    }

    /// Resets the connection; what was queued is lost.
    pub(crate) fn abort(&mut self, now: Instant) {
        let seq = match self.phase {
            // The guest has said and heard everything, the host has not.
            Phase::TimeWait | Phase::Closed(Close::Done) if self.has_more() => {
                self.enter(Phase::Closed(Close::Aborted), now);
                return;
            }
            Phase::Closed(_) => return,
            Phase::TimeWait => {
                self.enter(Phase::Closed(Close::Done), now);
                return;
            }
            Phase::Asked => Seq(0),
            Phase::Answered | Phase::Asking => self.initial.plus(1),
            Phase::Open => self.send.next(),
        };
        let ack = (self.phase != Phase::Asking).then(|| self.receive.next());
        self.reset = Some(Header {
            seq,
            ack,
            rst: true,
            ..Header::default()
        });
        self.enter(Phase::Closed(Close::Aborted), now);
    }

    /// When the guest was heard last.
    pub(crate) fn heard(&self) -> Instant {
        self.heard
    }

    /// The guest refused to open it.
    pub(crate) fn was_refused(&self) -> bool {
        self.refused
    }

    /// Data can flow, or has flowed.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::TimeWait)
    }

    /// There is something to do for whoever moves its bytes.
    pub(crate) fn moves(&self) -> bool {
        self.is_open() || self.phase == Phase::Closed(Close::Done) && self.has_more()
    }

    fn has_more(&self) -> bool {
        !self.receive.readable().is_empty()
    }

    /// It ended, and everything that was received is consumed.
    pub(crate) fn closed(&self) -> Option<Close> {
        match self.phase {
            Phase::Closed(Close::Done) if self.has_more() => None,
            Phase::Closed(close) => Some(close),
            Phase::Asked | Phase::Answered | Phase::Asking | Phase::Open | Phase::TimeWait => None,
        }
    }

    /// The guest opens with `syn` what it has forgotten. On a link that keeps
    /// the order, and with senders that are checked, that is no old segment
    /// and no attack, but a guest that started again or reuses its port.
    pub(crate) fn is_forgotten(&self, syn: &Header) -> bool {
        match self.phase {
            Phase::TimeWait | Phase::Closed(_) => true,
            Phase::Asked | Phase::Answered | Phase::Open => syn.seq != self.guest_initial,
            Phase::Asking => false,
        }
    }

    /// Nothing but the last acknowledgement may have to be repeated.
    pub(crate) fn lingers(&self) -> bool {
        self.phase == Phase::TimeWait
    }

    /// Lingers no more.
    pub(crate) fn abandon(&mut self) {
        if self.phase == Phase::TimeWait {
            self.phase = Phase::Closed(Close::Done);
        }
    }

    /// Bytes from the guest.
    pub(crate) fn readable(&self) -> &[u8] {
        self.receive.readable()
    }

    /// The first `n` of them were taken.
    pub(crate) fn consume(&mut self, n: usize) {
        self.receive.consume(n);
    }

    /// The guest sends no more, and all it sent was consumed.
    pub(crate) fn guest_finished(&self) -> bool {
        self.receive.finished() && self.receive.readable().is_empty()
    }

    /// How many bytes [`supply`](Self::supply) may bring now.
    pub(crate) fn room(&self) -> usize {
        if self.phase == Phase::Open && !self.send.finishing() {
            self.limit.saturating_sub(self.send.queued())
        } else {
            0
        }
    }

    /// Place for up to [`room`](Self::room) bytes for the guest, to be filled
    /// from the start; [`commit`](Self::commit) says how far.
    pub(crate) fn space(&mut self, wanted: usize) -> [&mut [u8]; 2] {
        self.send.space(wanted)
    }

    /// The first `n` bytes of the place are filled.
    pub(crate) fn commit(&mut self, n: usize) {
        self.send.commit(n);
    }

    /// Keeps the end of a segment that [`handle`](Self::handle) said to pass
    /// on, and that did not go.
    pub(crate) fn keep(&mut self, bytes: &[u8]) {
        self.receive.keep(bytes);
    }

    /// Bytes of payload that the guest takes in one segment.
    pub(crate) fn segment_size(&self) -> usize {
        self.send.mss()
    }

    /// Queues bytes for the guest.
    pub(crate) fn supply(&mut self, bytes: &[u8]) {
        self.send.push(bytes);
    }

    /// Nothing follows what was supplied.
    pub(crate) fn finish(&mut self) {
        self.send.finish();
    }

    /// Bounds what is kept in each direction from now on.
    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
        self.receive.set_limit(limit);
    }

    // What the guest and the clock do.

    /// A segment came. Returns how many bytes at the end of its payload are to
    /// be passed on to the host at once, as if they had been
    /// [readable](Self::readable) and were consumed.
    pub(crate) fn handle(&mut self, header: &Header, payload: &[u8], now: Instant) -> usize {
        self.heard = now;
        self.asked = None;
        self.asked_first = None;
        match self.phase {
            Phase::Asked => {
                if header.rst {
                    self.enter(Phase::Closed(Close::Reset), now);
                }
            }
            Phase::Asking => self.handle_answer(header, now),
            Phase::Answered | Phase::Open => return self.handle_open(header, payload, now),
            Phase::TimeWait => {
                if header.rst {
                    self.enter(Phase::Closed(Close::Done), now);
                } else if header.fin {
                    self.receive.owe();
                    self.phase_since = now;
                }
            }
            Phase::Closed(_) => {}
        }
        0
    }

    fn handle_answer(&mut self, header: &Header, now: Instant) {
        if header.ack != Some(self.initial.plus(1)) {
            // The guest still has an old connection of this name: end that
            // (RFC 9293, 3.10.7.3). The next SYN opens the new one.
            self.reset = header.ack.and(header.refusal(0));
            return;
        }
        if header.rst {
            self.refused = true;
            self.enter(Phase::Closed(Close::Reset), now);
        } else if header.syn {
            self.negotiate(header);
            self.receive.owe();
            self.open(now);
        }
    }

    fn open(&mut self, now: Instant) {
        self.enter(Phase::Open, now);
        self.handshake = false;
        self.timer = None;
    }

    fn handle_open(&mut self, header: &Header, payload: &[u8], now: Instant) -> usize {
        if header.rst {
            if self.receive.in_window(header.seq) {
                self.enter(Phase::Closed(Close::Reset), now);
            }
            return 0;
        }
        if header.syn {
            if self.phase == Phase::Answered {
                self.handshake = true;
            } else {
                self.receive.owe();
            }
            return 0;
        }
        let Some(ack) = header.ack else { return 0 };
        if self.phase == Phase::Answered {
            if ack != self.initial.plus(1) {
                return 0;
            }
            self.open(now);
        }
        let plain = payload.is_empty() && !header.fin;
        if !self.send.acknowledged(ack, header.window, plain, now) {
            self.receive.owe();
            return 0;
        }
        if !header.fin
            && let Some(passed) = self.receive.pass(header.seq, payload)
        {
            return passed;
        }
        let guest_was_first = self.receive.finished();
        self.receive.accept(header.seq, payload, header.fin);
        if self.receive.finished() && self.send.done() {
            let next = if guest_was_first {
                Phase::Closed(Close::Done)
            } else {
                Phase::TimeWait
            };
            self.enter(next, now);
        }
        0
    }

    /// When [`timeout`](Self::timeout) has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Asked => Some(self.phase_since + CONNECT),
            Phase::Answered | Phase::Asking => {
                let limit = self.phase_since + HANDSHAKE;
                Some(self.timer.map_or(limit, |timer| timer.min(limit)))
            }
            Phase::Open => {
                let idle = self
                    .asked
                    .map_or(self.heard + IDLE, |asked| asked + KEEPALIVE);
                Some(self.send.timer().map_or(idle, |timer| timer.min(idle)))
            }
            Phase::TimeWait => Some(self.phase_since + TIME_WAIT),
            Phase::Closed(_) => None,
        }
    }

    /// The clock went on.
    pub(crate) fn timeout(&mut self, now: Instant) {
        match self.phase {
            Phase::Asked if now >= self.phase_since + CONNECT => self.give_up(now),
            Phase::Answered | Phase::Asking => {
                if now >= self.phase_since + HANDSHAKE {
                    self.give_up(now);
                } else if self.timer.is_some_and(|timer| timer <= now) {
                    self.timer = None;
                    self.handshake = true;
                }
            }
            Phase::Open => self.timeout_open(now),
            Phase::TimeWait if now >= self.phase_since + TIME_WAIT => {
                self.enter(Phase::Closed(Close::Done), now);
            }
            Phase::Asked | Phase::TimeWait | Phase::Closed(_) => {}
        }
    }

    fn timeout_open(&mut self, now: Instant) {
        self.send.timeout(now);
        let silent = now.saturating_duration_since(self.heard);
        let unanswered = self.send.waits_since().or(self.asked_first);
        let unanswered = unanswered.map(|since| now.saturating_duration_since(since));
        if unanswered.is_some_and(|waited| waited.min(silent) >= GIVE_UP) {
            self.give_up(now);
        } else if silent >= IDLE && self.asked.is_none_or(|asked| now >= asked + KEEPALIVE) {
            self.asked = Some(now);
            self.asked_first.get_or_insert(now);
            self.keepalive = true;
        }
    }

    fn give_up(&mut self, now: Instant) {
        self.abort(now);
        self.enter(Phase::Closed(Close::TimedOut), now);
    }

    /// The next segment for the guest: its header, and which
    /// [bytes](Self::bytes) it carries. Without `data` only one that carries
    /// none; with it, one that stands for several may carry `data` bytes.
    pub(crate) fn pop(&mut self, data: Option<usize>, now: Instant) -> Option<(Header, Piece)> {
        const NOTHING: Piece = Piece::NOTHING;
        if let Some(reset) = self.reset.take() {
            return Some((reset, NOTHING));
        }
        if std::mem::take(&mut self.handshake) {
            return Some((self.syn(now), NOTHING));
        }
        if self.phase == Phase::Open
            && let Some(most) = data
            && let Some(piece) = self.send.pop(most, now)
        {
            let header = Header {
                fin: piece.fin,
                psh: piece.last && piece.length > 0,
                ..self.plain(piece.seq)
            };
            return Some((header, piece));
        }
        if std::mem::take(&mut self.keepalive) {
            let before = Seq(self.send.first_unacked().0.wrapping_sub(1));
            return Some((self.plain(before), NOTHING));
        }
        let acknowledges = match self.phase {
            Phase::Open | Phase::TimeWait | Phase::Closed(Close::Done) => true,
            Phase::Asked | Phase::Answered | Phase::Asking | Phase::Closed(_) => false,
        };
        (acknowledges && self.receive.owes()).then(|| (self.plain(self.send.next()), NOTHING))
    }

    /// What a segment carries, in two pieces. Good until a segment comes.
    pub(crate) fn bytes(&self, piece: &Piece) -> [&[u8]; 2] {
        self.send.bytes(piece)
    }

    fn plain(&mut self, seq: Seq) -> Header {
        let mut window = self.receive.acknowledge();
        if !self.scaled {
            window = u16::try_from(usize::from(window) << SCALE).unwrap_or(u16::MAX);
        }
        Header {
            seq,
            ack: Some(self.receive.next()),
            window,
            ..Header::default()
        }
    }

    fn syn(&mut self, now: Instant) -> Header {
        let wait = Duration::from_millis(250 << self.attempts.min(2));
        self.attempts += 1;
        self.timer = Some(now + wait);
        let answer = self.phase == Phase::Answered;
        Header {
            seq: self.initial,
            ack: answer.then(|| self.receive.next()),
            syn: true,
            window: self.receive.first_window(),
            mss: Some(MSS),
            scale: (!answer || self.scaled).then_some(SCALE),
            ..Header::default()
        }
    }
}

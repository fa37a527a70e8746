//! Frames through the loop: from ports to where they go, and from flows to
//! ports.

use std::collections::HashMap;
use std::time::Instant;

use super::event_loop::Loop;
use super::mmsg::MANY;
use super::port::{self, Outcome, Port};
use super::sources::Source;
use super::taps::Taps;
use crate::counters::DropReason;
use crate::fabric::{Delivery, Sink};
use crate::frame::{Batch, Features, Frame, Parts};
use crate::ids::{FlowId, PortId};

/// Bytes of a flow that are read to be copied; when there are more, the rest
/// is not copied.
const SHORT: usize = 16 << 10;

impl Loop {
    /// Takes a batch of frames from a port, and hands them on.
    pub(super) fn read_frames(&mut self, id: PortId, now: Instant) {
        let Some(port) = self.ports.get_mut(&id) else {
            return;
        };
        if port.receive(&mut self.batch) && !self.unread.contains(&Source::Frames(id)) {
            self.unread.push(Source::Frames(id));
        }
        if self.taps.is_capturing() {
            (0..self.batch.len()).for_each(|n| self.complete(id, n));
        }
        let batch = std::mem::replace(&mut self.batch, Batch::none());
        self.tap_received(id, &batch);
        self.batch = batch;
        for n in 0..self.batch.len() {
            if self.hand_over(id, n, now) {
                continue;
            }
            match self.fabric.handle_frame(id, self.batch.get(n), now) {
                Delivery::None => {}
                Delivery::One(to) => self.deliveries.push((to, n)),
                Delivery::Many(all) => self.deliveries.extend(all.into_iter().map(|to| (to, n))),
                Delivery::Flow(flow, bytes) => self.pass(flow, n, bytes, now),
            }
        }
        self.deliver(now);
        self.batch.clear();
        if let Some(port) = self.ports.get_mut(&id) {
            port.done();
        }
        self.note_vmm(id, now);
    }

    /// Has the batch's frame `n` copied straight from one VM's memory to
    /// another's, if it was left there and goes there. Else it is whole
    /// afterwards.
    fn hand_over(&mut self, id: PortId, n: usize, now: Instant) -> bool {
        let rest = self.ports.get(&id).map_or(0, |port| port.lent(n));
        if rest == 0 {
            return false;
        }
        self.taps.count_rest(id, rest);
        let to = self.fabric.recipient(id, self.batch.get(n));
        if let Some(to) = to.filter(|to| *to != id) {
            // What came before it goes before it.
            self.deliver(now);
            if let [Some(from), Some(port)] = self.ports.get_disjoint_mut([&id, &to])
                && let Some(outcome) = from.lend(n, &self.batch, port.as_mut())
            {
                self.fabric.counters().frames_in += 1;
                let length = self.batch.get(n).bytes.len() + rest;
                self.taps.count_handed_over(to, length);
                self.sent(to, outcome, now);
                return true;
            }
        }
        self.complete(id, n);
        false
    }

    /// Copies what was left of the batch's frame `n`, if anything was.
    fn complete(&mut self, id: PortId, n: usize) {
        if let Some(port) = self.ports.get_mut(&id) {
            port.complete(n, &mut self.batch);
        }
    }

    /// Writes the end of the batch's frame `n` to a flow's socket.
    fn pass(&mut self, flow: FlowId, n: usize, length: usize, now: Instant) {
        let frame = self.batch.get(n).bytes;
        let Some(at) = frame.len().checked_sub(length) else {
            return self.fabric.abort(flow, now);
        };
        let bytes = &frame[at..];
        let passed = match self.streams.get_mut(&flow) {
            Some(stream) => stream.pass(bytes),
            None => Ok(0),
        };
        match passed {
            Ok(n) => {
                if let Some(connection) = self.fabric.connection(flow)
                    && n < length
                {
                    connection.keep(&bytes[n..]);
                }
            }
            Err(_) => self.fabric.abort(flow, now),
        }
    }

    /// Sends the batch's frames where they go: to each port all at once.
    fn deliver(&mut self, now: Instant) {
        let mut deliveries = std::mem::take(&mut self.deliveries);
        let batch = std::mem::replace(&mut self.batch, Batch::none());
        deliveries.sort_by_key(|(to, _)| *to);
        for same in deliveries.chunk_by(|a, b| a.0 == b.0) {
            let mut frames = [Parts::EMPTY; MANY];
            for some in same.chunks(MANY) {
                for (frame, (_, n)) in frames.iter_mut().zip(some) {
                    *frame = batch.get(*n).into();
                }
                self.send(some[0].0, &frames[..some.len()], now);
            }
        }
        self.batch = batch;
        deliveries.clear();
        self.deliveries = deliveries;
    }

    pub(super) fn pump(&mut self, flow: FlowId, now: Instant) {
        if let Some(stream) = self.streams.get_mut(&flow)
            && let Some(connection) = self.fabric.connection(flow)
        {
            let pumped = stream.pump(connection, &mut self.buffer[..SHORT]);
            let done = connection.lingers() && connection.guest_finished();
            if pumped.is_err() {
                self.fabric.abort(flow, now);
            } else if done {
                self.close_stream(flow, false);
            }
        }
        let mut outlets = Outlets {
            ports: &mut self.ports,
            taps: &mut self.taps,
            captured: Vec::new(),
            outcomes: Vec::new(),
            now,
        };
        self.fabric.flush_to(flow, &mut outlets, now);
        let (outcomes, captured) = (outlets.outcomes, outlets.captured);
        for (port, frame) in captured {
            self.capture_sent(port, &[Parts::from(&frame)]);
        }
        for (port, outcome) in outcomes {
            self.sent(port, outcome, now);
        }
    }

    /// Sends the frames that the core keeps.
    pub(super) fn send_own(&mut self, now: Instant) {
        let mut own: Vec<Frame> = Vec::new();
        let mut next = self.fabric.next_frame();
        while let Some((to, frame)) = next.take() {
            own.push(frame);
            next = self.fabric.next_frame();
            if own.len() == MANY || next.as_ref().is_none_or(|(other, _)| *other != to) {
                let mut frames = [Parts::EMPTY; MANY];
                for (parts, frame) in frames.iter_mut().zip(&own) {
                    *parts = frame.into();
                }
                self.send(to, &frames[..own.len()], now);
                own.clear();
            }
        }
    }

    /// Sends frames to a VMM.
    fn send(&mut self, to: PortId, frames: &[Parts<'_>], now: Instant) {
        self.taps.count_sent(to, frames);
        self.capture_sent(to, frames);
        if let Some(port) = self.ports.get_mut(&to) {
            let outcome = port::send(port.as_mut(), frames, now);
            self.sent(to, outcome, now);
        }
    }

    /// A VMM has something to say.
    pub(super) fn control_port(&mut self, id: PortId, now: Instant) {
        if let Some(port) = self.ports.get_mut(&id) {
            let cut_off = port.control(&mut self.sources, now);
            self.fabric
                .counters()
                .drop_many(DropReason::BrokenRing, cut_off.into());
            self.read_frames(id, now);
            self.flush(id, now);
        }
    }

    /// Sends what waits for a VMM.
    pub(super) fn flush(&mut self, id: PortId, now: Instant) {
        if let Some(port) = self.ports.get_mut(&id) {
            let outcome = port.flush(now);
            self.sent(id, outcome, now);
        }
    }

    fn sent(&mut self, id: PortId, outcome: Outcome, now: Instant) {
        self.fabric.counters().frames_out += outcome.taken;
        for (reason, count) in outcome.lost() {
            self.fabric.counters().drop_many(reason, count);
        }
        let Some(port) = self.ports.get(&id) else {
            return;
        };
        if port.retry().is_some() {
            self.retries.insert(id);
        } else {
            self.retries.remove(&id);
        }
        self.fabric.set_queued(id, port.queued());
        if outcome.absent > 0 {
            self.note_vmm(id, now);
        }
    }
}

/// The ports, as flows send through them.
struct Outlets<'a> {
    ports: &'a mut HashMap<PortId, Box<dyn Port>>,
    taps: &'a mut Taps,
    captured: Vec<(PortId, Frame)>,
    outcomes: Vec<(PortId, Outcome)>,
    now: Instant,
}

impl Sink for Outlets<'_> {
    fn features(&self, port: PortId) -> Features {
        self.ports
            .get(&port)
            .map_or(Features::default(), |port| port.features())
    }

    fn send(&mut self, id: PortId, frames: &[Parts<'_>]) -> usize {
        let Some(port) = self.ports.get_mut(&id) else {
            return 0;
        };
        self.taps.count_sent(id, frames);
        if self.taps.is_capturing() {
            let copies = frames.iter().map(|frame| (id, frame.to_frame()));
            self.captured.extend(copies);
        }
        for some in frames.chunks(MANY) {
            let outcome = port::send(&mut **port, some, self.now);
            self.outcomes.push((id, outcome));
        }
        port.queued()
    }
}

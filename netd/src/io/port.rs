//! What all kinds of connections to a VMM have in common.

use std::fmt::Debug;
use std::io;
use std::time::Instant;

use super::frame_port::FramePort;
use super::mmsg::MANY;
use super::presence::Vmm;
use super::sources::Sources;
#[cfg(target_os = "linux")]
use super::vhost::{Lent, VhostPort};
use crate::config::Transport;
use crate::counters::DropReason;
use crate::fabric::Opened;
use crate::frame::{Batch, Features, Frame, Parts};
use crate::ids::PortId;
use crate::offload;

/// One endpoint's connection to its VMM. Nothing here blocks.
///
/// The loop calls [`receive`](Port::receive) when something happens to the
/// port's [`Frames`](super::sources::Source::Frames) token, and
/// [`flush`](Port::flush) when something happens to its
/// [`FramesOut`](super::sources::Source::FramesOut) token or
/// [`retry`](Port::retry) has come.
pub(super) trait Port: Debug {
    /// Adds frames to the batch as long as it has room; returns whether there
    /// may be more, for which the poller will not wake the loop again.
    fn receive(&mut self, batch: &mut Batch) -> bool;

    /// How many bytes of frame `n` of the batch just received are not there,
    /// but still where the guest put them. The headers are there.
    fn lent(&self, _n: usize) -> usize {
        0
    }

    /// Hands such a frame to `to`, straight from memory to memory. `None` if
    /// that cannot be; it is to be [completed](Port::complete) then.
    fn lend(&self, _n: usize, _batch: &Batch, _to: &mut dyn Port) -> Option<Outcome> {
        None
    }

    /// Takes a frame from another VM's memory.
    #[cfg(target_os = "linux")]
    fn borrow(&mut self, _frame: &Lent<'_>) -> Option<Outcome> {
        None
    }

    /// Copies the rest of such a frame to the batch, where it is an ordinary
    /// one then.
    fn complete(&mut self, _n: usize, _batch: &mut Batch) {}

    /// The batch just received is done with.
    fn done(&mut self) {}

    /// Sends frames in order, now or as soon as there is place. Frames that
    /// the VMM cannot take as they are (see [`features`](Port::features)) are
    /// finished in software.
    fn send(&mut self, frames: &[Parts<'_>], now: Instant) -> Outcome;

    /// Sends what waits, as far as it goes.
    fn flush(&mut self, now: Instant) -> Outcome;

    /// Bytes that wait for the VMM.
    fn queued(&self) -> usize;

    /// When [`flush`](Port::flush) is to be tried whatever the poller says.
    fn retry(&self) -> Option<Instant>;

    /// What the VMM takes unfinished.
    fn features(&self) -> Features;

    /// Something happened to the port's [`Vmm`](super::sources::Source::Vmm)
    /// token. What waits on either side is to be looked at after that. Returns
    /// whether the guest was cut off because its rings cannot be.
    fn control(&mut self, _sources: &mut Sources, _now: Instant) -> bool {
        false
    }

    /// What is known of the VMM.
    fn vmm(&self) -> Vmm;

    /// The VMM is there: its end is to be told by the port's
    /// [`Vmm`](super::sources::Source::Vmm) token from now on.
    fn watch(&mut self, _id: PortId, _sources: &mut Sources) {}

    /// Looks whether there is a VMM, which may have been silent so far.
    fn probe(&mut self, _now: Instant) -> bool {
        self.vmm() == Vmm::There
    }

    /// Closes sockets and removes paths.
    fn close(self: Box<Self>, sources: &mut Sources);
}

/// Opens the sockets of an endpoint.
pub(super) fn open(wanted: &Opened, sources: &mut Sources) -> io::Result<Box<dyn Port>> {
    let (id, local) = (wanted.port, &wanted.local);
    Ok(match wanted.transport {
        Transport::Datagram => Box::new(FramePort::open(id, local, &wanted.peer, sources)?),
        #[cfg(target_os = "linux")]
        Transport::VhostUser => Box::new(VhostPort::open(id, local, sources)?),
        #[cfg(not(target_os = "linux"))]
        Transport::VhostUser => return Err(io::ErrorKind::Unsupported.into()),
    })
}

/// Sends frames through `port`, finished in software as far as the VMM does not
/// take them.
pub(super) fn send(port: &mut dyn Port, frames: &[Parts<'_>], now: Instant) -> Outcome {
    let features = port.features();
    if frames.iter().all(|frame| features.take(&frame.offload)) {
        return port.send(frames, now);
    }
    let mut outcome = Outcome::default();
    let mut finished: Vec<Frame> = Vec::new();
    for frame in frames {
        let can_be = offload::finish(frame, features, |frame| {
            finished.push(frame.to_frame());
            if finished.len() >= MANY {
                outcome.add(send_all(port, &finished, now));
                finished.clear();
            }
        });
        outcome.malformed += u64::from(!can_be);
    }
    outcome.add(send_all(port, &finished, now));
    outcome
}

fn send_all(port: &mut dyn Port, frames: &[Frame], now: Instant) -> Outcome {
    let frames: Vec<Parts<'_>> = frames.iter().map(Parts::from).collect();
    port.send(&frames, now)
}

/// What became of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Outcome {
    /// Frames that the VMM has or that wait for it.
    pub(super) taken: u64,
    /// Frames lost because the queue is full.
    pub(super) full: u64,
    /// Frames lost because there is no VMM.
    pub(super) absent: u64,
    /// Frames lost because no buffer of the guest holds them.
    pub(super) unfit: u64,
    /// Frames that could not be finished: their headers do not fit.
    pub(super) malformed: u64,
}

impl Outcome {
    /// The losses by reason.
    pub(super) fn lost(&self) -> [(DropReason, u64); 4] {
        [
            (DropReason::QueueFull, self.full),
            (DropReason::NoPeer, self.absent),
            (DropReason::TooLarge, self.unfit),
            (DropReason::Malformed, self.malformed),
        ]
    }

    fn add(&mut self, other: Outcome) {
        let Outcome {
            taken,
            full,
            absent,
            unfit,
            malformed,
        } = other;
        self.taken += taken;
        self.full += full;
        self.absent += absent;
        self.unfit += unfit;
        self.malformed += malformed;
    }
}

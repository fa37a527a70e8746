//! What all kinds of connections to a VMM have in common.

use std::fmt::Debug;
use std::time::Instant;

use super::sources::Sources;
use crate::counters::DropReason;
use crate::frame::{Batch, Features, Parts};

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

    /// Closes sockets and removes paths.
    fn close(self: Box<Self>, sources: &mut Sources);
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
}

impl Outcome {
    /// The losses by reason.
    pub(super) fn lost(&self) -> [(DropReason, u64); 2] {
        [
            (DropReason::QueueFull, self.full),
            (DropReason::NoPeer, self.absent),
        ]
    }
}

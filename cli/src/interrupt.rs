//! Ctrl-C, and what ends a process politely.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::Error;

/// SIGINT and SIGTERM, counted instead of fatal, from the moment this is
/// made. Both mean the same: stop what you do.
#[derive(Debug)]
pub(crate) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    /// Takes the signals over.
    ///
    /// # Errors
    /// The system refuses, which it has no reason to.
    pub(crate) fn take() -> Result<Interrupts, Error> {
        let take = |kind| signal(kind).map_err(|error| Error::Lost(error.to_string()));
        Ok(Interrupts {
            interrupt: take(SignalKind::interrupt())?,
            terminate: take(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one. Cancel-safe.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

//! Cards of containers that are about to join networks. An address is chosen
//! some time before the container's record has it: network daemon and guest are
//! asked in between. Until then it is reserved here, so that nobody else gets
//! it.

use super::{Daemon, guard};
use crate::container::{Handle, Record};
use crate::network::Nic;

/// A reservation of what a container's record will have. Dropped when it has
/// it, or never will.
#[derive(Debug)]
#[must_use]
pub struct Joining<'a> {
    daemon: &'a Daemon,
    id: String,
}

impl Daemon {
    /// Reserves the cards of a record that is to be the container's. The caller
    /// holds [`Daemon::creation`] since before they were chosen.
    pub fn join(&self, record: &Record) -> Joining<'_> {
        let id = record.container.id.clone();
        guard(&self.joining).insert(id.clone(), record.nics.clone());
        Joining { daemon: self, id }
    }

    /// The cards that a container has, and those that it is about to have.
    pub fn cards(&self, handle: &Handle) -> Vec<Nic> {
        // These first: they are in the record when they are not here any more.
        let coming = guard(&self.joining).get(&handle.id).cloned();
        let mut nics = coming.unwrap_or_default();
        nics.extend(handle.record().nics);
        nics
    }
}

impl Drop for Joining<'_> {
    fn drop(&mut self) {
        guard(&self.daemon.joining).remove(&self.id);
    }
}

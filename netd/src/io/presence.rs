//! Whether the machines are there. A published port listens as long as its
//! machine runs, whoever else is alive: the VMM's end is seen at its
//! connection (vhost-user) or its process (datagrams), and its ports are bound
//! again when it comes back.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::event_loop::Loop;
use crate::config::Publish;
use crate::ids::{PortId, PublishId};

/// How long a VMM that was announced may take to come.
const START: Duration = Duration::from_secs(120);

/// How long one that served before may take to find this daemon, which is a
/// new one: some only look each second.
const AGAIN: Duration = Duration::from_secs(5);

/// What is known of an endpoint's VMM.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Vmm {
    /// It has not come yet.
    #[default]
    Awaited,
    /// It runs.
    There,
    /// It has ended.
    Gone,
}

/// A published port whose machine has ended.
#[derive(Debug)]
pub(super) struct Suspended {
    /// What is to be served again.
    pub(super) publish: Publish,
    /// Where it was.
    pub(super) addresses: Vec<SocketAddr>,
}

impl Loop {
    /// An endpoint's sockets are open: its VMM is to come.
    pub(super) fn await_vmm(&mut self, id: PortId, now: Instant) {
        let limit = if self.restoring { AGAIN } else { START };
        self.awaited.insert(id, now + limit);
    }

    /// An endpoint is no more.
    pub(super) fn forget_vmm(&mut self, id: PortId) {
        self.awaited.remove(&id);
        self.vmms.remove(&id);
    }

    /// Takes note of a VMM that came or went.
    pub(super) fn note_vmm(&mut self, id: PortId, now: Instant) {
        let Some(port) = self.ports.get_mut(&id) else {
            return;
        };
        let (known, vmm) = (self.vmms.get(&id).copied().unwrap_or_default(), port.vmm());
        if vmm == Vmm::There {
            // One that was only silent before is met later than it is there.
            port.watch(id, &mut self.sources);
        }
        if vmm != known {
            self.set_vmm(id, vmm, now);
        }
    }

    fn set_vmm(&mut self, id: PortId, vmm: Vmm, now: Instant) {
        self.awaited.remove(&id);
        self.vmms.insert(id, vmm);
        let Some(endpoint) = self.fabric.endpoint_id(id).map(str::to_owned) else {
            return;
        };
        match vmm {
            Vmm::Awaited => {}
            Vmm::There => self.resume(&endpoint),
            Vmm::Gone => {
                tracing::info!(endpoint, "its machine is gone");
                self.suspend(&endpoint, now);
                self.fabric.end_flows(id);
            }
        }
    }

    /// When [`expect_vmms`](Self::expect_vmms) has something to do.
    pub(super) fn vmm_deadline(&self) -> Option<Instant> {
        self.awaited.values().min().copied()
    }

    /// Those that did not come by their time are gone, unless they are only
    /// silent.
    pub(super) fn expect_vmms(&mut self, now: Instant) {
        let due = self.awaited.iter().filter(|(_, at)| **at <= now);
        for id in due.map(|(id, _)| *id).collect::<Vec<_>>() {
            let there = self.ports.get_mut(&id).is_some_and(|port| port.probe(now));
            self.set_vmm(id, if there { Vmm::There } else { Vmm::Gone }, now);
        }
    }

    /// The machine of an endpoint has ended.
    pub(super) fn is_gone(&self, endpoint: &str) -> bool {
        let mut gone = self.vmms.iter().filter(|(_, vmm)| **vmm == Vmm::Gone);
        gone.any(|(id, _)| self.fabric.endpoint_id(*id) == Some(endpoint))
    }

    fn suspend(&mut self, endpoint: &str, now: Instant) {
        let listeners = self.listeners.iter();
        let own = listeners.filter(|(_, listener)| listener.publish.endpoint == endpoint);
        for id in own.map(|(id, _)| *id).collect::<Vec<PublishId>>() {
            self.fabric.remove_publish(id, now);
            if let Some(listener) = self.listeners.remove(&id) {
                self.suspended.push(Suspended {
                    publish: listener.publish.clone(),
                    addresses: listener.addresses.clone(),
                });
                listener.close(&mut self.sources);
            }
        }
    }

    fn resume(&mut self, endpoint: &str) {
        let all = std::mem::take(&mut self.suspended);
        let (own, others) = all
            .into_iter()
            .partition(|s| s.publish.endpoint == endpoint);
        self.suspended = others;
        for suspended in own {
            self.keep_place(&suspended);
            if let Err(error) = self.listen(&suspended.publish) {
                // It is told when the configuration is applied again.
                tracing::warn!(?error, "a port does not come back");
                self.suspended.push(suspended);
            }
        }
    }

    /// Has a port that was chosen here be the same again.
    pub(super) fn keep_place(&mut self, suspended: &Suspended) {
        if let Some(address) = suspended.addresses.first() {
            let id = suspended.publish.id.clone();
            self.kept.insert(id, address.port());
        }
    }
}

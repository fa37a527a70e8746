//! The table of TCP flows.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use crate::dns::Framer;
use crate::ids::{FlowId, PortId, PublishId};
use crate::tcp::Connection;
use crate::timers::Timers;

/// Flows in all, and of one guest: each may cost a socket and two buffers.
const MAX: usize = 16_384;
const MAX_PER_PORT: usize = 4096;

/// How many make place at a time.
const AT_ONCE: usize = 64;

/// What all buffers together may take, in bytes.
const BUDGET: usize = 1 << 30;

/// Bounds of what one direction of a flow may take.
const LIMITS: (usize, usize) = (32 << 10, 512 << 10);

/// A flow as its guest sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// The guest.
    pub(super) port: PortId,
    /// Its TCP port.
    pub(super) source: u16,
    /// The other end.
    pub(super) remote: SocketAddr,
}

/// What is behind a flow.
#[derive(Debug)]
pub(super) enum Kind {
    /// A socket of the host that the guest asked for.
    Outward {
        /// The beginning of the SYN's packet, for errors that quote it.
        syn: Vec<u8>,
        /// Where else to connect if nobody listens at the first place.
        instead: Option<SocketAddr>,
    },
    /// A client of a published port, and how else the guest can be asked if
    /// it refuses.
    Published(PublishId, Option<Key>),
    /// The name server; queries that are with a resolver.
    Names(Framer, usize),
}

/// One flow.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) key: Key,
    pub(super) kind: Kind,
    pub(super) connection: Connection,
    pub(super) lingers: bool,
    /// Another one has made place for its descriptor.
    pub(super) waited: bool,
}

/// All flows.
#[derive(Debug, Default)]
pub(super) struct Flows {
    by_id: HashMap<FlowId, Flow>,
    by_key: HashMap<Key, FlowId>,
    per_port: HashMap<PortId, usize>,
    timers: Timers<FlowId>,
    // Flows that are over but for the last acknowledgement, oldest first.
    lingering: VecDeque<FlowId>,
    lingerers: usize,
    ready: VecDeque<FlowId>,
    is_ready: HashSet<FlowId>,
}

impl Flows {
    /// Which flows have to go before `port` gets another one. With too many
    /// of its own, some of those; with too many in all, some of whoever has
    /// most. Handshakes go first, then what was silent longest; several at a
    /// time, so that a flood does not make each search for itself.
    pub(super) fn surplus(&self, port: PortId) -> Vec<FlowId> {
        let own = self.per_port.get(&port).copied().unwrap_or(0);
        if own >= MAX_PER_PORT {
            self.oldest(port)
        } else if self.by_id.len() >= MAX + self.lingerers {
            self.oldest_of_most()
        } else {
            Vec::new()
        }
    }

    /// Some of whoever has most.
    fn oldest_of_most(&self) -> Vec<FlowId> {
        let most = self.per_port.iter().max_by_key(|(_, count)| **count);
        most.map(|(port, _)| self.oldest(*port)).unwrap_or_default()
    }

    /// Of whoever has most, the one that is connected and was silent longest.
    pub(super) fn oldest_open_of_most(&self) -> Option<FlowId> {
        let (victim, _) = self.per_port.iter().max_by_key(|(_, count)| **count)?;
        let own = self.by_id.iter().filter(|(_, flow)| {
            flow.key.port == *victim && !flow.lingers && flow.connection.is_open()
        });
        own.min_by_key(|(_, flow)| flow.connection.heard())
            .map(|(id, _)| *id)
    }

    fn oldest(&self, victim: PortId) -> Vec<FlowId> {
        let mut candidates: Vec<_> = self
            .by_id
            .iter()
            .filter(|(_, flow)| flow.key.port == victim && !flow.lingers)
            .map(|(id, flow)| (flow.connection.is_open(), flow.connection.heard(), *id))
            .collect();
        candidates.sort_unstable();
        candidates.truncate(AT_ONCE);
        candidates.into_iter().map(|(.., id)| id).collect()
    }

    /// What one direction of a flow may take now, in bytes.
    pub(super) fn limit(&self) -> usize {
        (BUDGET / 2 / (self.by_id.len() + 1)).clamp(LIMITS.0, LIMITS.1)
    }

    /// Adds a flow, which is ready then.
    pub(super) fn insert(&mut self, id: FlowId, flow: Flow) {
        *self.per_port.entry(flow.key.port).or_default() += 1;
        self.by_key.insert(flow.key, id);
        self.by_id.insert(id, flow);
        self.wake(id);
    }

    pub(super) fn get(&mut self, id: FlowId) -> Option<&mut Flow> {
        self.by_id.get_mut(&id)
    }

    pub(super) fn find(&self, key: &Key) -> Option<FlowId> {
        self.by_key.get(key).copied()
    }

    pub(super) fn remove(&mut self, id: FlowId) -> Option<Flow> {
        let flow = self.by_id.remove(&id)?;
        self.timers.set(id, None);
        self.by_key.remove(&flow.key);
        if flow.lingers {
            self.lingerers -= 1;
        } else {
            self.leave(flow.key.port);
        }
        Some(flow)
    }

    /// A flow is over, and only lingers: it takes nobody's place. The oldest
    /// ones end when there are many.
    pub(super) fn linger(&mut self, id: FlowId) {
        let Some(flow) = self.by_id.get_mut(&id) else {
            return;
        };
        if std::mem::replace(&mut flow.lingers, true) {
            return;
        }
        let port = flow.key.port;
        self.leave(port);
        self.lingering.push_back(id);
        self.lingerers += 1;
        // Most of the oldest are gone by themselves.
        while let Some(oldest) = self.lingering.front().copied() {
            match self.by_id.get_mut(&oldest) {
                Some(_) if self.lingerers <= MAX_PER_PORT => break,
                Some(flow) => {
                    flow.connection.abandon();
                    self.wake(oldest);
                    self.lingering.pop_front();
                    break;
                }
                None => drop(self.lingering.pop_front()),
            }
        }
    }

    fn leave(&mut self, port: PortId) {
        if let Some(count) = self.per_port.get_mut(&port) {
            *count -= 1;
            if *count == 0 {
                self.per_port.remove(&port);
            }
        }
    }

    /// Those that `matches` says.
    pub(super) fn select(&self, matches: impl Fn(&Flow) -> bool) -> Vec<FlowId> {
        self.by_id
            .iter()
            .filter_map(|(id, flow)| matches(flow).then_some(*id))
            .collect()
    }

    pub(super) fn wake(&mut self, id: FlowId) {
        if self.by_id.contains_key(&id) && self.is_ready.insert(id) {
            self.ready.push_back(id);
        }
    }

    pub(super) fn next_ready(&mut self) -> Option<FlowId> {
        let id = self.ready.pop_front()?;
        self.is_ready.remove(&id);
        Some(id)
    }

    pub(super) fn set_deadline(&mut self, id: FlowId, at: Option<Instant>) {
        self.timers.set(id, at);
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    pub(super) fn timeout(&mut self, now: Instant) {
        while let Some(id) = self.timers.pop(now) {
            if let Some(flow) = self.by_id.get_mut(&id) {
                flow.connection.timeout(now);
                self.wake(id);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }
}

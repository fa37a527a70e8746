//! What guests send out: one socket of the host for each UDP port of a guest
//! (endpoint-independent mapping, RFC 4787), open to hosts that the guest has
//! sent to.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use crate::ids::{AssociationId, PortId};
use crate::timers::Timers;

/// Associations of one guest: each costs a socket.
const MAX_PER_PORT: usize = 256;

/// Hosts that one association hears.
const MAX_PEERS: usize = 64;

/// How long one lives that never got an answer.
const ASKED: Duration = Duration::from_secs(30);

/// How long one lives after its last datagram once there was an answer.
const ANSWERED: Duration = Duration::from_secs(180);

#[derive(Debug)]
struct Association {
    port: PortId,
    source: u16,
    // As the host sees them, with the time they were last sent to.
    peers: HashMap<SocketAddrV4, Instant>,
    answered: bool,
}

/// All associations.
#[derive(Debug, Default)]
pub(crate) struct Associations {
    by_id: HashMap<AssociationId, Association>,
    by_guest: HashMap<(PortId, u16), AssociationId>,
    timers: Timers<AssociationId>,
}

/// A datagram for a guest.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Inward {
    /// The guest.
    pub(crate) port: PortId,
    /// Its UDP port.
    pub(crate) source: u16,
    /// The sender is this host itself, which guests know as the gateway.
    pub(crate) from_gateway: bool,
}

impl Associations {
    /// The guest's UDP port `source` sends to `peer`: through which
    /// association, and which one had to go for it. A new one gets the id
    /// `fresh`.
    pub(crate) fn outward(
        &mut self,
        port: PortId,
        source: u16,
        peer: SocketAddrV4,
        fresh: AssociationId,
        now: Instant,
    ) -> (AssociationId, Option<AssociationId>) {
        let known = self.by_guest.get(&(port, source)).copied();
        let evicted = if known.is_none() {
            self.make_place(port)
        } else {
            None
        };
        let id = known.unwrap_or(fresh);
        self.by_guest.insert((port, source), id);
        let association = self.by_id.entry(id).or_insert_with(|| Association {
            port,
            source,
            peers: HashMap::new(),
            answered: false,
        });
        let peers = &mut association.peers;
        if peers.len() >= MAX_PEERS
            && !peers.contains_key(&peer)
            && let Some(oldest) = peers
                .iter()
                .min_by_key(|(_, at)| **at)
                .map(|(peer, _)| *peer)
        {
            peers.remove(&oldest);
        }
        peers.insert(peer, now);
        let life = if association.answered {
            ANSWERED
        } else {
            ASKED
        };
        self.timers.set(id, Some(now + life));
        (id, evicted)
    }

    fn make_place(&mut self, port: PortId) -> Option<AssociationId> {
        let own = || self.by_id.iter().filter(|(_, a)| a.port == port);
        if own().count() < MAX_PER_PORT {
            return None;
        }
        let last_used = |a: &Association| a.peers.values().max().copied();
        let oldest = own().min_by_key(|(_, a)| last_used(a)).map(|(id, _)| *id)?;
        self.close(oldest);
        Some(oldest)
    }

    /// A datagram came from `peer`: for whom. `None` if the guest has not
    /// sent anything there.
    pub(crate) fn inward(
        &mut self,
        id: AssociationId,
        peer: SocketAddrV4,
        now: Instant,
    ) -> Option<Inward> {
        let association = self.by_id.get_mut(&id)?;
        if !association.peers.contains_key(&peer) {
            return None;
        }
        association.answered = true;
        self.timers.set(id, Some(now + ANSWERED));
        Some(Inward {
            port: association.port,
            source: association.source,
            from_gateway: *peer.ip() == Ipv4Addr::LOCALHOST,
        })
    }

    /// Forgets one.
    pub(crate) fn close(&mut self, id: AssociationId) {
        if let Some(association) = self.by_id.remove(&id) {
            self.by_guest
                .remove(&(association.port, association.source));
        }
        self.timers.set(id, None);
    }

    /// Forgets a guest's and tells which they were.
    pub(crate) fn forget(&mut self, port: PortId) -> Vec<AssociationId> {
        let own = |(id, a): (&AssociationId, &Association)| (a.port == port).then_some(*id);
        let ids: Vec<AssociationId> = self.by_id.iter().filter_map(own).collect();
        ids.iter().for_each(|id| self.close(*id));
        ids
    }

    /// When [`expired`](Self::expired) finds something.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Forgets one whose time is over.
    pub(crate) fn expired(&mut self, now: Instant) -> Option<AssociationId> {
        let id = self.timers.pop(now)?;
        self.close(id);
        Some(id)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }
}

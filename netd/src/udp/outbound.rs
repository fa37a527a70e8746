//! What guests send out: one socket of the host for each UDP port of a guest
//! (endpoint-independent mapping, RFC 4787), open to hosts that the guest has
//! sent to. Echo requests go by the same rules, their identifier in place of
//! the port.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Transport;
use crate::ids::{AssociationId, PortId};
use crate::timers::Timers;

/// Associations of one guest: each costs a socket.
const MAX_PER_PORT: usize = 256;

/// Hosts that one association hears.
const MAX_PEERS: usize = 64;

/// How long one lives after its last datagram when it is no conversation: a
/// question, and perhaps an answer.
const SHORT: Duration = Duration::from_secs(30);

/// How long a conversation lives after its last datagram.
const LONG: Duration = Duration::from_secs(180);

/// Datagrams in each direction that make a conversation.
const CONVERSATION: u8 = 2;

/// A port of a guest: the guest, and the port or identifier.
type Guest = (PortId, Transport, u16);

#[derive(Debug)]
struct Association {
    guest: Guest,
    // As the host sees them, with the time they were last sent to.
    peers: HashMap<SocketAddr, Instant>,
    sent: u8,
    received: u8,
    expires: Instant,
}

/// All associations.
#[derive(Debug, Default)]
pub(crate) struct Associations {
    by_id: HashMap<AssociationId, Association>,
    by_guest: HashMap<Guest, AssociationId>,
    // Of each guest, those first that would end first.
    by_port: HashMap<PortId, BTreeSet<(Instant, AssociationId)>>,
    timers: Timers<AssociationId>,
}

/// A datagram for a guest.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Inward {
    /// The guest.
    pub(crate) port: PortId,
    /// Its UDP port, or the identifier of its echo requests.
    pub(crate) source: u16,
    /// The sender is this host itself, which guests know as the gateway.
    pub(crate) from_gateway: bool,
}

impl Associations {
    /// A guest sends to `peer`: through which association, and which one had
    /// to go for it. A new one gets the id `fresh`.
    pub(crate) fn outward(
        &mut self,
        guest: Guest,
        peer: SocketAddr,
        fresh: AssociationId,
        now: Instant,
    ) -> (AssociationId, Option<AssociationId>) {
        let known = self.by_guest.get(&guest).copied();
        let evicted = if known.is_none() {
            self.make_place(guest.0)
        } else {
            None
        };
        let id = known.unwrap_or(fresh);
        self.by_guest.insert(guest, id);
        let association = self.by_id.entry(id).or_insert_with(|| Association {
            guest,
            peers: HashMap::new(),
            sent: 0,
            received: 0,
            expires: now,
        });
        association.sent = association.sent.saturating_add(1);
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
        self.prolong(id, now);
        (id, evicted)
    }

    fn prolong(&mut self, id: AssociationId, now: Instant) {
        let Some(association) = self.by_id.get_mut(&id) else {
            return;
        };
        let talks = association.sent.min(association.received) >= CONVERSATION;
        let expires = now + if talks { LONG } else { SHORT };
        let own = self.by_port.entry(association.guest.0).or_default();
        own.remove(&(association.expires, id));
        own.insert((expires, id));
        association.expires = expires;
        self.timers.set(id, Some(expires));
    }

    /// The one that would end first has to go if a guest has too many.
    fn make_place(&mut self, port: PortId) -> Option<AssociationId> {
        let own = self.by_port.get(&port)?;
        let (_, first) = *own.first().filter(|_| own.len() >= MAX_PER_PORT)?;
        self.close(first);
        Some(first)
    }

    /// A datagram came from `peer`: for whom. `None` if the guest has not
    /// sent anything there.
    pub(crate) fn inward(
        &mut self,
        id: AssociationId,
        peer: SocketAddr,
        now: Instant,
    ) -> Option<(Inward, Transport)> {
        let owner = self.owner(id, peer)?;
        if let Some(association) = self.by_id.get_mut(&id) {
            association.received = association.received.saturating_add(1);
        }
        self.prolong(id, now);
        Some(owner)
    }

    /// Whose association this is, if it sent something to `peer`.
    pub(crate) fn owner(&self, id: AssociationId, peer: SocketAddr) -> Option<(Inward, Transport)> {
        let association = self.by_id.get(&id)?;
        let (port, transport, source) = association.guest;
        let inward = Inward {
            port,
            source,
            from_gateway: peer.ip().is_loopback(),
        };
        association
            .peers
            .contains_key(&peer)
            .then_some((inward, transport))
    }

    /// Forgets one.
    pub(crate) fn close(&mut self, id: AssociationId) {
        if let Some(association) = self.by_id.remove(&id) {
            self.by_guest.remove(&association.guest);
            let port = association.guest.0;
            if let Some(own) = self.by_port.get_mut(&port) {
                own.remove(&(association.expires, id));
                if own.is_empty() {
                    self.by_port.remove(&port);
                }
            }
        }
        self.timers.set(id, None);
    }

    /// Forgets a guest's and tells which they were.
    pub(crate) fn forget(&mut self, port: PortId) -> Vec<AssociationId> {
        let own = self.by_port.get(&port).into_iter().flatten();
        let ids: Vec<AssociationId> = own.map(|(_, id)| *id).collect();
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

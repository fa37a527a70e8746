//! What clients send to published ports: the guest sees each client as
//! itself where that can be, and otherwise as a port of the gateway, so that
//! its answers find the way back.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::ids::{PortId, PublishId};
use crate::timers::Timers;

/// Ports of the gateway that stand for clients.
pub(crate) const PORTS: std::ops::Range<u16> = 32_768..61_000;

/// Sessions at a time; the one that was silent longest makes place.
const MAX: usize = 4096;

const IDLE: Duration = Duration::from_secs(180);

/// A session as the guest sees it: the guest, its port, and who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct GuestSide {
    port: PortId,
    service: u16,
    sender: SocketAddr,
}

/// All sessions.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    by_client: HashMap<(PublishId, SocketAddr), GuestSide>,
    by_guest: HashMap<GuestSide, (PublishId, SocketAddr)>,
    timers: Timers<GuestSide>,
    cursor: u16,
}

impl Sessions {
    /// A client sent something for the guest's port `service`: who sends it,
    /// as the guest sees it. `None` if all ports of the gateway are taken.
    /// `senders` are the client as itself, if the guest may see that, and the
    /// gateway.
    pub(crate) fn inward(
        &mut self,
        (publish, client): (PublishId, SocketAddr),
        (port, service): (PortId, u16),
        senders: (Option<SocketAddr>, IpAddr),
        now: Instant,
    ) -> Option<SocketAddr> {
        let known = self.by_client.get(&(publish, client)).copied();
        if let Some(side) = known.filter(|side| side.port == port && side.service == service) {
            self.timers.set(side, Some(now + IDLE));
            return Some(side.sender);
        }
        if let Some(stale) = known {
            self.close(stale);
        }
        if self.by_guest.len() >= MAX {
            let oldest = self.timers.pop(now + IDLE)?;
            self.close(oldest);
        }
        let side = |sender: SocketAddr| GuestSide {
            port,
            service,
            sender,
        };
        let itself = senders
            .0
            .map(side)
            .filter(|side| !self.by_guest.contains_key(side));
        let side = itself.or_else(|| {
            (0..PORTS.len()).find_map(|_| {
                self.cursor = (self.cursor + 1) % PORTS.len() as u16;
                let side = side(SocketAddr::new(senders.1, PORTS.start + self.cursor));
                (!self.by_guest.contains_key(&side)).then_some(side)
            })
        })?;
        self.by_client.insert((publish, client), side);
        self.by_guest.insert(side, (publish, client));
        self.timers.set(side, Some(now + IDLE));
        Some(side.sender)
    }

    /// The guest sends from its port `service` to `to`: which client that is,
    /// if any.
    pub(crate) fn outward(
        &mut self,
        port: PortId,
        service: u16,
        to: SocketAddr,
        now: Instant,
    ) -> Option<(PublishId, SocketAddr)> {
        let side = GuestSide {
            port,
            service,
            sender: to,
        };
        let client = *self.by_guest.get(&side)?;
        self.timers.set(side, Some(now + IDLE));
        Some(client)
    }

    /// Forgets all sessions of a guest or of a published port.
    pub(crate) fn forget(&mut self, gone: impl Fn(PortId, PublishId) -> bool) {
        let hit = |(side, client): (&GuestSide, &(PublishId, SocketAddr))| {
            gone(side.port, client.0).then_some(*side)
        };
        let sides: Vec<GuestSide> = self.by_guest.iter().filter_map(hit).collect();
        sides.into_iter().for_each(|side| self.close(side));
    }

    fn close(&mut self, side: GuestSide) {
        if let Some(client) = self.by_guest.remove(&side) {
            self.by_client.remove(&client);
        }
        self.timers.set(side, None);
    }

    /// When [`expire`](Self::expire) has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Forgets those whose time is over.
    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some(side) = self.timers.pop(now) {
            self.close(side);
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.by_guest.len()
    }
}

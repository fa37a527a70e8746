//! Queries that go to a resolver: outside, or to a guest that is one.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;

use super::{Event, Fabric};
use crate::dns::Ask;
use crate::ids::{PortId, QueryId};
use crate::udp::GATEWAY_PORTS;
use crate::wire::MAX_DATAGRAM;

/// Queries that are with guests: a guest, and the gateway's port that its
/// answer comes to.
#[derive(Debug, Default)]
pub(super) struct Asked {
    by_way: HashMap<(PortId, u16), QueryId>,
    by_query: HashMap<QueryId, (PortId, u16)>,
}

impl Asked {
    fn insert(&mut self, query: QueryId, way: (PortId, u16)) {
        self.remove(query);
        if let Some(other) = self.by_way.insert(way, query) {
            self.by_query.remove(&other);
        }
        self.by_query.insert(query, way);
    }

    fn remove(&mut self, query: QueryId) {
        if let Some(way) = self.by_query.remove(&query) {
            self.by_way.remove(&way);
        }
    }
}

impl Fabric {
    /// Sends a query to its resolver. One that is a guest of this stack is
    /// asked by UDP, from the gateway, for the host has no way to it.
    pub(super) fn ask(&mut self, ask: Ask) {
        let resolver = ask.resolver.ip();
        let guest = self.ports.iter().find(|(_, port)| {
            let mut addresses = port.endpoint.addresses();
            addresses.any(|address| address == resolver)
        });
        let Some((port, gateway)) = guest
            .map(|(id, _)| *id)
            .and_then(|id| Some((id, self.gateway(id, resolver.is_ipv4())?)))
        else {
            self.asked.remove(ask.query);
            return self.events.push_back(Event::Ask(ask));
        };
        let offset = self.noise.next() as usize % GATEWAY_PORTS.len();
        let from = SocketAddr::new(gateway, GATEWAY_PORTS.start + offset as u16);
        // An older attempt may have been with a resolver outside.
        self.events.push_back(Event::CloseQuery(ask.query));
        self.asked.insert(ask.query, (port, from.port()));
        if ask.message.len() <= MAX_DATAGRAM {
            self.send_datagram(port, from, ask.resolver.port(), &ask.message);
        }
    }

    /// A query is over.
    pub(super) fn close_query(&mut self, query: QueryId) {
        self.asked.remove(query);
        self.events.push_back(Event::CloseQuery(query));
    }

    /// A guest sent `payload` to the gateway's port `to`: whether that was an
    /// answer that it was asked for.
    pub(super) fn answered_by_guest(
        &mut self,
        from: PortId,
        to: u16,
        payload: &[u8],
        now: Instant,
    ) -> bool {
        let Some(query) = self.asked.by_way.get(&(from, to)).copied() else {
            return false;
        };
        self.handle_answer(query, payload, now);
        true
    }
}

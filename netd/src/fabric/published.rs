//! Clients of published TCP ports: how the guest is asked.

use std::net::SocketAddr;
use std::time::Instant;

use super::Fabric;
use super::flows::{Flow, Key, Kind};
use super::udp::plain;
use crate::ids::{FlowId, PortId, PublishId};
use crate::tcp::Connection;
use crate::udp::GATEWAY_PORTS;

impl Fabric {
    /// A client of a published port came: asks the guest. The client's socket
    /// is to be read only when the flow's connection has room.
    pub(crate) fn open_published(
        &mut self,
        publish: PublishId,
        client: SocketAddr,
        now: Instant,
    ) -> Option<FlowId> {
        let config = self.publishes.get(&publish)?;
        let service = config.container_port;
        let port = self.port_of(&config.endpoint)?;
        let client = plain(client);
        self.make_place(port, now);
        let key = |remote: SocketAddr| Key {
            port,
            source: service,
            remote,
        };
        // Services that listen on one family only are found all the same.
        let itself = self.shown(port, client).map(key);
        let itself = itself.filter(|key| self.flows.find(key).is_none());
        let four = client.is_ipv4();
        let mut ways = [
            itself,
            self.way(port, service, four),
            self.way(port, service, !four),
        ]
        .into_iter()
        .flatten();
        let first = ways.next()?;
        let second = ways.find(|way| way.remote.is_ipv4() != first.remote.is_ipv4());
        let connection = Connection::asking(self.initial(), self.flows.limit(), now);
        let flow = FlowId(self.fresh());
        self.flows.insert(
            flow,
            Flow {
                key: first,
                kind: Kind::Published(publish, second),
                connection,
                lingers: false,
                waited: false,
            },
        );
        Some(flow)
    }

    /// From a free port of the gateway, if the guest has the address family.
    fn way(&mut self, port: PortId, service: u16, v4: bool) -> Option<Key> {
        let gateway = self.gateway(port, v4)?;
        self.route(port, gateway)?;
        let offset = self.noise.next() as usize;
        let count = GATEWAY_PORTS.len();
        let key = |n: usize| {
            let gateway_port = GATEWAY_PORTS.start + (offset.wrapping_add(n) % count) as u16;
            Key {
                port,
                source: service,
                remote: SocketAddr::new(gateway, gateway_port),
            }
        };
        (0..count)
            .map(key)
            .find(|key| self.flows.find(key).is_none())
    }

    /// The guest refused a client: asks it the other way, if there is one.
    pub(super) fn ask_again(&mut self, id: FlowId, now: Instant) -> bool {
        let Some(flow) = self.flows.get(id) else {
            return false;
        };
        let Kind::Published(publish, instead) = &mut flow.kind else {
            return false;
        };
        let (publish, Some(key)) = (*publish, instead.take()) else {
            return false;
        };
        if !flow.connection.was_refused() || self.flows.find(&key).is_some() {
            return false;
        }
        self.flows.remove(id);
        let connection = Connection::asking(self.initial(), self.flows.limit(), now);
        self.flows.insert(
            id,
            Flow {
                key,
                kind: Kind::Published(publish, None),
                connection,
                lingers: false,
                waited: false,
            },
        );
        true
    }
}

//! UDP at the gateway.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Instant;

use super::gateway::Destination;
use super::{Event, Fabric};
use crate::counters::DropReason;
use crate::ids::{AssociationId, PortId, PublishId};
use crate::wire::{self, Ip, MAX_DATAGRAM, Unreachable};

impl Fabric {
    pub(super) fn handle_udp(
        &mut self,
        from: PortId,
        ip: &Ip<'_>,
        destination: Destination,
        now: Instant,
    ) {
        let Some(datagram) = wire::datagram(ip) else {
            return self.drop(DropReason::Malformed);
        };
        let payload = datagram.payload;
        if destination == Destination::Host {
            if datagram.dst == super::names::PORT {
                return self.handle_query(from, datagram.src, payload, now);
            }
            let session = self.sessions.outward(from, datagram.src, datagram.dst, now);
            if let Some((publish, client)) = session {
                let payload = payload.to_vec();
                self.events.push_back(Event::ReplyDatagram {
                    publish,
                    client,
                    payload,
                });
                return;
            }
        }
        if self.is_internal(from) {
            self.drop(DropReason::Internal);
            return self.send_unreachable(from, ip.dst, Unreachable::Network, ip.packet);
        }
        let host = match destination {
            Destination::Host => Ipv4Addr::LOCALHOST,
            Destination::Outside => ip.dst,
        };
        let to = SocketAddrV4::new(host, datagram.dst);
        let fresh = AssociationId(self.fresh());
        let (association, evicted) = self
            .associations
            .outward(from, datagram.src, to, fresh, now);
        if let Some(evicted) = evicted {
            self.events.push_back(Event::CloseAssociation(evicted));
        }
        let (to, payload) = (SocketAddr::V4(to), payload.to_vec());
        self.events.push_back(Event::SendDatagram {
            association,
            to,
            payload,
        });
    }

    /// An association's socket received something.
    pub(crate) fn handle_datagram(
        &mut self,
        association: AssociationId,
        from: SocketAddr,
        payload: &[u8],
        now: Instant,
    ) {
        let SocketAddr::V4(from) = from else { return };
        let Some(inward) = self.associations.inward(association, from, now) else {
            return self.drop(DropReason::Unsolicited);
        };
        let gateway = self.gateway(inward.port);
        let src = if inward.from_gateway {
            gateway
        } else {
            Some(*from.ip())
        };
        if let Some(src) = src {
            self.send_datagram(inward.port, (src, from.port()), inward.source, payload);
        }
    }

    /// An association's socket cannot be used.
    pub(crate) fn association_failed(&mut self, association: AssociationId) {
        self.associations.close(association);
        self.events.push_back(Event::CloseAssociation(association));
    }

    /// A published port's socket received something.
    pub(crate) fn handle_published_datagram(
        &mut self,
        publish: PublishId,
        client: SocketAddr,
        payload: &[u8],
        now: Instant,
    ) {
        let Some(config) = self.publishes.get(&publish) else {
            return;
        };
        let service = config.container_port;
        let Some(port) = self.port_of(&config.endpoint) else {
            return;
        };
        let Some(gateway) = self.gateway(port) else {
            return;
        };
        match self.sessions.inward(publish, client, port, service, now) {
            Some(source) => self.send_datagram(port, (gateway, source), service, payload),
            None => self.drop(DropReason::TooMany),
        }
    }

    /// Sends a datagram to a guest.
    pub(super) fn send_datagram(
        &mut self,
        port: PortId,
        from: (Ipv4Addr, u16),
        to: u16,
        payload: &[u8],
    ) {
        if payload.len() > MAX_DATAGRAM {
            return self.drop(DropReason::TooLarge);
        }
        if let Some(route) = self.route(port, from.0) {
            self.send(port, wire::udp(&route, (from.1, to), payload));
        }
    }
}

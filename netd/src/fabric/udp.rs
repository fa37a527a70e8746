//! UDP at the gateway.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use super::gateway::Destination;
use super::{Event, Fabric};
use crate::counters::DropReason;
use crate::frame::Frame;
use crate::ids::{AssociationId, PortId, PublishId};
use crate::udp::{Outgoing, Transport};
use crate::wire::{self, IcmpError, Ip, MAX_DATAGRAM};

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
        let (source, payload) = (datagram.src, datagram.payload);
        let to = SocketAddr::new(ip.dst, datagram.dst);
        if destination == Destination::Host && to.port() == super::names::PORT {
            return self.handle_query(from, (ip.dst, source), payload, now);
        }
        if destination == Destination::Host
            && source == super::names::PORT
            && self.answered_by_guest(from, to.port(), payload, now)
        {
            return;
        }
        if let Some((publish, client)) = self.sessions.outward(from, source, to, now) {
            let payload = payload.to_vec();
            self.events.push_back(Event::ReplyDatagram {
                publish,
                client,
                payload,
            });
            return;
        }
        if self.is_internal(from) {
            self.drop(DropReason::Internal);
            let error = IcmpError::no_route(ip.dst.is_ipv4());
            return self.send_error(from, None, error, ip.packet);
        }
        let host = match destination {
            Destination::Host => loopback(ip.dst),
            Destination::Outside => ip.dst,
        };
        let outgoing = Outgoing {
            transport: if ip.dst.is_ipv4() {
                Transport::Udp4
            } else {
                Transport::Udp6
            },
            to: SocketAddr::new(host, datagram.dst),
            payload: payload.to_vec(),
            hops: ip.hops.saturating_sub(1),
            whole: ip.whole,
        };
        self.send_outward(from, source, outgoing, now);
    }

    /// An association's socket received something.
    pub(crate) fn handle_datagram(
        &mut self,
        association: AssociationId,
        from: SocketAddr,
        payload: &[u8],
        now: Instant,
    ) {
        let from = plain(from);
        let Some((inward, transport)) = self.associations.inward(association, from, now) else {
            return self.drop(DropReason::Unsolicited);
        };
        match transport {
            Transport::Udp4 | Transport::Udp6 => {}
            Transport::Echo4 | Transport::Echo6 => {
                return self.handle_echo_reply(inward.port, inward.source, from.ip(), payload);
            }
        }
        let gateway = self.gateway(inward.port, from.is_ipv4());
        let src = if inward.from_gateway {
            gateway
        } else {
            Some(from.ip())
        };
        if let Some(src) = src {
            let from = SocketAddr::new(src, from.port());
            self.send_datagram(inward.port, from, inward.source, payload);
        }
    }

    /// An association's socket cannot be used.
    pub(crate) fn association_failed(&mut self, association: AssociationId) {
        self.associations.close(association);
        self.events.push_back(Event::CloseAssociation(association));
    }

    /// The host does not let us send echo requests.
    pub(crate) fn echo_refused(&mut self, association: AssociationId) {
        self.drop(DropReason::EchoRefused);
        self.association_failed(association);
    }

    /// A published port's socket received something from `client`.
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
        let itself = self.shown(port, plain(client));
        let Some(gateway) = self.gateway_for(port, plain(client)) else {
            return;
        };
        let ends = ((publish, client), (port, service));
        match self.sessions.inward(ends.0, ends.1, (itself, gateway), now) {
            Some(sender) => self.send_datagram(port, sender, service, payload),
            None => self.drop(DropReason::TooMany),
        }
    }

    /// The client as the guest may see it: as itself, if its answers will
    /// come back to us.
    pub(super) fn shown(&self, port: PortId, client: SocketAddr) -> Option<SocketAddr> {
        let endpoint = &self.ports.get(&port)?.endpoint;
        let shown = endpoint.default_route
            && endpoint.address_like(client.ip()).is_some()
            && self.is_foreign(client.ip())
            && !self.own_addresses.contains(&client.ip());
        shown.then_some(client)
    }

    /// The gateway's address for what is sent to the guest on behalf of
    /// `client`: of the same family if the guest has that, else of the other.
    pub(super) fn gateway_for(&self, port: PortId, client: SocketAddr) -> Option<IpAddr> {
        let endpoint = &self.ports.get(&port)?.endpoint;
        let same = endpoint.address_like(client.ip()).is_some();
        self.gateway(port, client.is_ipv4() == same)
    }

    /// Sends a datagram to a guest, in parts if it has to be.
    pub(super) fn send_datagram(
        &mut self,
        port: PortId,
        from: SocketAddr,
        to: u16,
        payload: &[u8],
    ) {
        if payload.len() > MAX_DATAGRAM {
            return self.drop(DropReason::TooLarge);
        }
        if let Some(route) = self.route(port, from.ip()) {
            self.send_cut(port, wire::udp(&route, (from.port(), to), payload));
        }
    }

    /// Sends a packet to a guest, in parts if it is longer than its network's
    /// MTU.
    pub(super) fn send_cut(&mut self, port: PortId, frame: Frame) {
        let mtu = self.network_of(port).map_or(0, |net| net.config.mtu);
        if frame.len() <= wire::ETHERNET + usize::from(mtu) {
            return self.send(port, frame);
        }
        let id = self.noise.next() as u32;
        for part in wire::cut(frame, usize::from(mtu), id) {
            self.send(port, part);
        }
    }
}

/// The host's own address that guests know as `gateway`.
pub(super) fn loopback(gateway: IpAddr) -> IpAddr {
    match gateway {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

/// Without flow label and zone.
pub(super) fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

//! What is for the gateway: ARP, ping, and whatever shall leave the network.

use std::net::Ipv4Addr;
use std::time::Instant;

use super::Fabric;
use crate::counters::DropReason;
use crate::frame::FrameRef;
use crate::ids::PortId;
use crate::wire::{
    self, ArpOperation, ArpPacket, ArpRepr, EthernetProtocol, Ip, IpProtocol, Unreachable,
};

/// Where a packet for the gateway's hardware address goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Destination {
    /// The gateway itself, which stands for the host.
    Host,
    /// Somewhere outside.
    Outside,
}

impl Fabric {
    /// A frame for the gateway alone; its sender is checked.
    pub(super) fn handle_gateway(&mut self, from: PortId, frame: FrameRef<'_>, now: Instant) {
        let Some(view) = wire::ethernet(frame.bytes) else {
            return;
        };
        match view.ethertype() {
            EthernetProtocol::Arp => self.handle_arp(from, view.payload()),
            EthernetProtocol::Ipv4 => match wire::ip(view.payload()) {
                Some(mut ip) => {
                    ip.unsummed = frame.offload.checksum.is_some();
                    self.handle_ip(from, &ip, now);
                }
                None => self.drop(DropReason::Malformed),
            },
            EthernetProtocol::Ipv6 | EthernetProtocol::Unknown(_) => {
                self.drop(DropReason::UnknownProtocol);
            }
        }
    }

    /// A frame for everybody: only questions for our own address matter.
    pub(super) fn handle_flooded(&mut self, from: PortId, frame: &[u8]) {
        if let Some(view) = wire::ethernet(frame)
            && view.ethertype() == EthernetProtocol::Arp
        {
            self.handle_arp(from, view.payload());
        }
    }

    fn handle_arp(&mut self, from: PortId, bytes: &[u8]) {
        let arp = ArpPacket::new_checked(bytes)
            .ok()
            .and_then(|arp| ArpRepr::parse(&arp).ok());
        let Some(ArpRepr::EthernetIpv4 {
            operation,
            target_protocol_addr,
            ..
        }) = arp
        else {
            return self.drop(DropReason::Malformed);
        };
        if operation != ArpOperation::Request || Some(target_protocol_addr) != self.gateway(from) {
            return self.drop(DropReason::ArpNotForUs);
        }
        if let Some(route) = self.route(from, target_protocol_addr) {
            self.send(from, wire::arp_reply(&route));
        }
    }

    fn handle_ip(&mut self, from: PortId, ip: &Ip<'_>, now: Instant) {
        if ip.fragment {
            return self.drop(DropReason::Fragment);
        }
        let destination = match self.destination(from, ip.dst) {
            Ok(destination) => destination,
            Err(reason) => return self.drop(reason),
        };
        match (ip.protocol, destination) {
            (IpProtocol::Tcp, _) => self.handle_tcp(from, ip, destination, now),
            (IpProtocol::Udp, _) => self.handle_udp(from, ip, destination, now),
            (IpProtocol::Icmp, Destination::Host) => self.handle_ping(from, ip),
            _ => self.drop(DropReason::UnknownProtocol),
        }
    }

    fn destination(&self, from: PortId, dst: Ipv4Addr) -> Result<Destination, DropReason> {
        let Some(port) = self.ports.get(&from) else {
            return Err(DropReason::NotRoutable);
        };
        for (id, network) in &self.networks {
            if network.config.contains(dst.into()) {
                return match (*id == port.network, network.config.gateway == Some(dst)) {
                    (true, true) => Ok(Destination::Host),
                    (true, false) => Err(DropReason::NotRoutable),
                    (false, _) => Err(DropReason::OtherNetwork),
                };
            }
        }
        let [first, ..] = dst.octets();
        // Loopback would be the host's, link-local its neighbours' (and a
        // cloud's metadata service).
        if first == 0 || first >= 224 || dst.is_loopback() || dst.is_link_local() {
            return Err(DropReason::NotRoutable);
        }
        Ok(Destination::Outside)
    }

    /// The guest's network has no way out.
    pub(super) fn is_internal(&self, port: PortId) -> bool {
        let network = self
            .ports
            .get(&port)
            .and_then(|port| self.networks.get(&port.network));
        network.is_none_or(|network| network.config.internal)
    }

    fn handle_ping(&mut self, from: PortId, ip: &Ip<'_>) {
        // Echo request, code 0 (RFC 792); errors about our own packets need
        // no answer.
        if ip.payload.len() < 8 || !wire::icmp_is_valid(ip.payload) {
            return self.drop(DropReason::Malformed);
        }
        if ip.payload.starts_with(&[8, 0])
            && let Some(route) = self.route(from, ip.dst)
        {
            self.send(from, wire::echo_reply(&route, ip.payload));
        }
    }

    /// Tells a guest that its packet `original` to `dst` went nowhere.
    pub(super) fn send_unreachable(
        &mut self,
        port: PortId,
        src: Ipv4Addr,
        why: Unreachable,
        original: &[u8],
    ) {
        if let Some(route) = self.route(port, src) {
            self.send(port, wire::unreachable(&route, why, original));
        }
    }
}

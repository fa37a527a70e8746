//! What is for the gateway: ARP, and whatever shall leave the network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use super::Fabric;
use crate::counters::DropReason;
use crate::frame::FrameRef;
use crate::ids::PortId;
use crate::wire::{
    self, ArpOperation, ArpPacket, ArpRepr, EthernetProtocol, IcmpError, Ip, IpProtocol,
};

/// Metadata services of clouds' machines that have no link-local address:
/// Amazon's, Google's, Oracle's and Alibaba's.
const METADATA6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
];
const METADATA4: Ipv4Addr = Ipv4Addr::new(100, 100, 100, 200);

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
            EthernetProtocol::Ipv4 | EthernetProtocol::Ipv6 => {
                match wire::ip(view.payload(), &frame.offload) {
                    Some(ip) => {
                        self.handle_ip(from, &ip, now);
                        if ip.packet.len() < view.payload().len() {
                            self.keep_passed(ip.packet);
                        }
                    }
                    None => self.drop(DropReason::Malformed),
                }
            }
            EthernetProtocol::Unknown(_) => self.drop(DropReason::UnknownProtocol),
        }
    }

    /// A frame for everybody: only questions for our own addresses matter.
    pub(super) fn handle_flooded(&mut self, from: PortId, frame: FrameRef<'_>) {
        let Some(view) = wire::ethernet(frame.bytes) else {
            return;
        };
        match view.ethertype() {
            EthernetProtocol::Arp => self.handle_arp(from, view.payload()),
            EthernetProtocol::Ipv6 => {
                if let Some(ip) = wire::ip(view.payload(), &frame.offload)
                    && ip.protocol == IpProtocol::Icmpv6
                    && ip.fragment.is_none()
                {
                    self.handle_neighbour(from, &ip);
                }
            }
            EthernetProtocol::Ipv4 | EthernetProtocol::Unknown(_) => {}
        }
    }

    fn handle_arp(&mut self, from: PortId, bytes: &[u8]) {
        let arp = ArpPacket::new_checked(bytes)
            .ok()
            .and_then(|arp| ArpRepr::parse(&arp).ok());
        let Some(ArpRepr::EthernetIpv4 {
            operation,
            source_protocol_addr: asker,
            target_protocol_addr: target,
            ..
        }) = arp
        else {
            return self.drop(DropReason::Malformed);
        };
        let own = self.network_of(from).and_then(|net| net.config.gateway);
        if operation != ArpOperation::Request || Some(target) != own {
            return self.drop(DropReason::ArpNotForUs);
        }
        if let Some(route) = self.route(from, target.into()) {
            let macs = (route.src_mac, route.dst_mac);
            self.send(from, wire::arp_reply(macs, target, asker));
        }
    }

    fn handle_ip(&mut self, from: PortId, ip: &Ip<'_>, now: Instant) {
        if ip.fragment.is_some() {
            match self.reassembly.accept(from, ip, now) {
                Ok(None) => {}
                Ok(Some(packet)) => {
                    if let Some(whole) = packet.view() {
                        self.handle_ip(from, &whole, now);
                        self.keep_passed(whole.packet);
                    }
                }
                Err(reason) => self.drop(reason),
            }
            return;
        }
        if self.handle_dhcp(from, ip) {
            return;
        }
        if ip.protocol == IpProtocol::Icmpv6 && self.handle_neighbour(from, ip) {
            return;
        }
        if !self.may_leave(from, ip) {
            return self.drop(DropReason::NotRoutable);
        }
        let destination = match self.destination(from, ip.dst) {
            Ok(destination) => destination,
            Err(reason) => {
                self.drop(reason);
                if !ip.dst.is_multicast() && !ip.dst.is_unspecified() {
                    self.send_error(from, None, IcmpError::no_route(ip.dst.is_ipv4()), ip.packet);
                }
                return;
            }
        };
        if destination == Destination::Outside && ip.hops <= 1 {
            self.drop(DropReason::HopsUsed);
            let error = IcmpError::hops_used(ip.dst.is_ipv4());
            return self.send_error(from, None, error, ip.packet);
        }
        match ip.protocol {
            IpProtocol::Tcp => self.handle_tcp(from, ip, destination, now),
            IpProtocol::Udp => self.handle_udp(from, ip, destination, now),
            IpProtocol::Icmp | IpProtocol::Icmpv6 => {
                self.handle_icmp(from, ip, destination, now);
            }
            _ => self.drop(DropReason::UnknownProtocol),
        }
    }

    /// Answers would find their way: a guest has addresses of a family from
    /// its configuration or not at all, and flows are with these.
    fn may_leave(&self, from: PortId, ip: &Ip<'_>) -> bool {
        let own = self
            .ports
            .get(&from)
            .and_then(|port| port.endpoint.address_like(ip.dst));
        match ip.protocol {
            IpProtocol::Tcp | IpProtocol::Udp => own == Some(ip.src),
            _ => own.is_some(),
        }
    }

    /// What is to be passed on is the end of `packet`, but not of the frame:
    /// it was cut, or padding follows.
    fn keep_passed(&mut self, packet: &[u8]) {
        if let Some((flow, length)) = self.passed.take()
            && let Some(at) = packet.len().checked_sub(length)
            && let Some(connection) = self.connection(flow)
        {
            connection.keep(&packet[at..]);
        }
    }

    fn destination(&self, from: PortId, dst: IpAddr) -> Result<Destination, DropReason> {
        let Some(port) = self.ports.get(&from) else {
            return Err(DropReason::NotRoutable);
        };
        let own = self.networks.get(&port.network);
        if own.is_some_and(|net| net.config.is_gateway(dst)) {
            return Ok(Destination::Host);
        }
        for (id, network) in &self.networks {
            if network.config.contains(dst) {
                return Err(if *id == port.network {
                    DropReason::NotRoutable
                } else {
                    DropReason::OtherNetwork
                });
            }
        }
        if is_outside(dst) {
            Ok(Destination::Outside)
        } else {
            Err(DropReason::NotRoutable)
        }
    }

    /// The address belongs to none of the stack's networks.
    pub(super) fn is_foreign(&self, address: IpAddr) -> bool {
        let mut networks = self.networks.values();
        is_outside(address) && !networks.any(|network| network.config.contains(address))
    }

    /// The guest's network has no way out.
    pub(super) fn is_internal(&self, port: PortId) -> bool {
        self.network_of(port)
            .is_none_or(|network| network.config.internal)
    }

    /// Tells a guest that its packet `original` did not arrive. Who says so
    /// is `src`, or the gateway.
    pub(super) fn send_error(
        &mut self,
        port: PortId,
        src: Option<IpAddr>,
        error: IcmpError,
        original: &[u8],
    ) {
        let four = original.first().is_some_and(|first| first >> 4 == 4);
        let src = src.filter(|src| src.is_ipv4() == four);
        let Some(src) = src.or_else(|| self.gateway(port, four)) else {
            return;
        };
        if let Some(route) = self.route(port, src) {
            self.send(port, wire::icmp_error(&route, error, original));
        }
    }
}

/// Packets to `address` may leave: it is not the host's own inside, nor its
/// neighbours' (a cloud's metadata service is there), nor everybody's.
fn is_outside(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [first, ..] = address.octets();
            first != 0
                && first < 224
                && !address.is_loopback()
                && !address.is_link_local()
                && address != METADATA4
        }
        IpAddr::V6(address) => {
            let embeds_v4 = address.to_ipv4().is_some();
            !embeds_v4
                && !address.is_multicast()
                && !address.is_unicast_link_local()
                && !METADATA6.contains(&address)
        }
    }
}

//! Neighbour discovery (RFC 4861) at the gateway: who has its addresses, and
//! what a router tells hosts. Routers' options for name servers: RFC 8106.

use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use super::{Fabric, Net};
use crate::counters::DropReason;
use crate::ids::{NetworkId, PortId};
use crate::wire::{self, Ip, Mac, Route};

/// Between advertisements that nobody asked for: the longest that section
/// 6.2.1 allows, for guests ask when they start.
const INTERVAL: Duration = Duration::from_secs(1800);

/// How long an advertisement is good for, in seconds: as long as it may be.
const LIFETIME: u16 = 9000;

/// All nodes of the link.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: Mac = Mac([0x33, 0x33, 0, 0, 0, 1]);

const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;

impl Fabric {
    /// An ICMPv6 message came. Whether it was about neighbours, whatever
    /// became of it.
    pub(super) fn handle_neighbour(&mut self, from: PortId, ip: &Ip<'_>) -> bool {
        let kind = ip.payload.first().copied().unwrap_or(0);
        if !(ROUTER_SOLICITATION..=137).contains(&kind) {
            return false;
        }
        let Some(message) = wire::icmp_message(ip) else {
            self.drop(DropReason::Malformed);
            return true;
        };
        // Nobody further away than this link can set 255.
        if ip.hops != 255 || message[1] != 0 {
            self.drop(DropReason::Malformed);
            return true;
        }
        match kind {
            ROUTER_SOLICITATION => {
                if let Some(network) = self.ports.get(&from).map(|port| port.network) {
                    self.advertise(network, Some(from));
                }
            }
            NEIGHBOUR_SOLICITATION => self.handle_solicitation(from, ip, message),
            // What neighbours say about themselves is known beforehand.
            _ => {}
        }
        true
    }

    fn handle_solicitation(&mut self, from: PortId, ip: &Ip<'_>, message: &[u8]) {
        let Some(target) = message
            .get(8..24)
            .and_then(|t| <[u8; 16]>::try_from(t).ok())
        else {
            return self.drop(DropReason::Malformed);
        };
        let target = Ipv6Addr::from(target);
        let Some(port) = self.ports.get(&from) else {
            return;
        };
        let Some(net) = self.networks.get(&port.network) else {
            return;
        };
        if !net.config.is_gateway(target.into()) {
            return;
        }
        let IpAddr::V6(asker) = ip.src else {
            return;
        };
        // Somebody checks whether the address is free: it is not, and all
        // nodes are told (section 7.2.4).
        let (dst, solicited) = if asker.is_unspecified() {
            (ALL_NODES, 0)
        } else {
            (asker, 0x40)
        };
        let route = Route {
            src_mac: net.mac,
            dst_mac: port.mac,
            src: target.into(),
            dst: dst.into(),
        };
        let mut reply = vec![NEIGHBOUR_ADVERTISEMENT, 0, 0, 0, 0x80 | solicited | 0x20];
        reply.extend_from_slice(&[0; 3]);
        reply.extend_from_slice(&target.octets());
        reply.extend_from_slice(&[2, 1]);
        reply.extend_from_slice(net.mac.as_bytes());
        let frame = wire::icmp(&route, 255, [&reply, &[]]);
        self.send(from, frame);
    }

    /// Tells the guests of a network that another one has an address now: they
    /// would send to the last one for a while.
    pub(super) fn announce(&mut self, network: NetworkId, address: IpAddr, mac: Mac) {
        let Some(net) = self.networks.get(&network) else {
            return;
        };
        let mut frames = Vec::new();
        for id in net.table.values() {
            let Some(port) = self.ports.get(id).filter(|port| port.mac != mac) else {
                continue;
            };
            let frame = match (address, port.endpoint.ipv4) {
                (IpAddr::V4(address), Some(own)) => {
                    let macs = (mac, port.mac);
                    frames.push((*id, wire::arp_announcement(macs, address)));
                    wire::arp_reply(macs, address, own)
                }
                (IpAddr::V4(_), None) => continue,
                // Section 7.2.6, with the override flag.
                (IpAddr::V6(target), _) => {
                    let route = Route {
                        src_mac: mac,
                        dst_mac: port.mac,
                        src: address,
                        dst: ALL_NODES.into(),
                    };
                    let mut message = vec![NEIGHBOUR_ADVERTISEMENT, 0, 0, 0, 0x20, 0, 0, 0];
                    message.extend_from_slice(&target.octets());
                    message.extend_from_slice(&[2, 1]);
                    message.extend_from_slice(mac.as_bytes());
                    wire::icmp(&route, 255, [&message, &[]])
                }
            };
            frames.push((*id, frame));
        }
        for (port, frame) in frames {
            self.send(port, frame);
        }
    }

    /// Tells one guest of a network, or all, about the router.
    pub(super) fn advertise(&mut self, network: NetworkId, to: Option<PortId>) {
        let Some(net) = self.networks.get(&network) else {
            return;
        };
        let route = Route {
            src_mac: net.mac,
            dst_mac: ALL_NODES_MAC,
            src: net.link_local.into(),
            dst: ALL_NODES.into(),
        };
        let ports: Vec<PortId> = match to {
            Some(port) => vec![port],
            None => net.table.values().copied().collect(),
        };
        let routes = self.host_has_ipv6 && !net.config.internal;
        let mut frames = Vec::new();
        for id in ports {
            // A VM on several networks has its default route on one.
            let port = self.ports.get(&id);
            let routes = routes && port.is_some_and(|port| port.endpoint.default_route);
            let Some(message) = advertisement(net, routes) else {
                return;
            };
            frames.push((id, wire::icmp(&route, 255, [&message, &[]])));
        }
        for (port, frame) in frames {
            self.send(port, frame);
        }
    }

    /// Advertises again when it is time.
    pub(super) fn advertise_on_time(&mut self, now: Instant) {
        while let Some(network) = self.advertisements.pop(now) {
            self.advertise(network, None);
            self.advertisements.set(network, Some(now + INTERVAL));
        }
    }

    /// A network with IPv6 is there since `now`.
    pub(super) fn schedule_advertisements(&mut self, now: Instant) {
        let networks = self.networks.iter();
        for (id, _) in networks.filter(|(_, net)| net.config.gateway6.is_some()) {
            if self.advertisements.get(id).is_none() {
                self.advertisements.set(*id, Some(now + INTERVAL));
            }
        }
    }

    /// Whether the host has a way to the IPv6 Internet. Guests hear of it
    /// when that changes.
    pub(crate) fn set_host_ipv6(&mut self, has: bool) {
        if std::mem::replace(&mut self.host_has_ipv6, has) == has {
            return;
        }
        for network in self.networks.keys().copied().collect::<Vec<_>>() {
            self.advertise(network, None);
        }
    }
}

/// What the router of a network says (section 4.2), and whether it is one
/// for the rest of the world. It gives no addresses:
/// guests have theirs already, and others would be refused.
fn advertisement(net: &Net, routes: bool) -> Option<Vec<u8>> {
    let gateway = net.config.gateway6?;
    let (prefix, length) = net.config.subnet6?;
    let lifetime = if routes { LIFETIME } else { 0 };
    let mut message = vec![ROUTER_ADVERTISEMENT, 0, 0, 0, 64, 0];
    message.extend_from_slice(&lifetime.to_be_bytes());
    message.extend_from_slice(&[0; 8]);
    // Source link-layer address.
    message.extend_from_slice(&[1, 1]);
    message.extend_from_slice(net.mac.as_bytes());
    // MTU.
    message.extend_from_slice(&[5, 1, 0, 0]);
    message.extend_from_slice(&u32::from(net.config.mtu).to_be_bytes());
    // Prefix: on the link, not for autoconfiguration, for ever.
    message.extend_from_slice(&[3, 4, length, 0x80]);
    message.extend_from_slice(&[0xff; 8]);
    message.extend_from_slice(&[0; 4]);
    message.extend_from_slice(&prefix.octets());
    // Name server.
    message.extend_from_slice(&[25, 3, 0, 0]);
    message.extend_from_slice(&u32::from(LIFETIME).to_be_bytes());
    message.extend_from_slice(&gateway.octets());
    Some(message)
}

//! Where a frame goes, and whether its sender is who it says.

use std::net::{IpAddr, Ipv6Addr};

use super::{Net, Port};
use crate::config::link_local;
use crate::counters::DropReason;
use crate::frame::Offload;
use crate::ids::PortId;
use crate::wire::{ArpPacket, EthernetProtocol, Ip, IpProtocol, Mac, ethernet, ip};

/// A frame's destination.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Another guest.
    Forward(PortId),
    /// All others, and the gateway.
    Flood,
    /// The gateway.
    Gateway,
}

/// Judges a frame from `port` on `network`.
pub(super) fn judge(frame: &[u8], port: &Port, network: &Net) -> Result<Verdict, DropReason> {
    let view = ethernet(frame).ok_or(DropReason::Malformed)?;
    if view.src_addr() != port.mac {
        return Err(DropReason::SpoofedMac);
    }
    match view.ethertype() {
        EthernetProtocol::Ipv4 => {
            if asks_for_an_address(view.payload(), port)? {
                return Ok(Verdict::Gateway);
            }
        }
        EthernetProtocol::Arp => check_arp(view.payload(), port)?,
        EthernetProtocol::Ipv6 => check_ipv6(view.payload(), port, network)?,
        EthernetProtocol::Unknown(_) => return Err(DropReason::UnknownProtocol),
    }
    let to = view.dst_addr();
    if to == network.mac {
        Ok(Verdict::Gateway)
    } else if !to.is_unicast() {
        Ok(Verdict::Flood)
    } else {
        let to = network
            .table
            .get(&to)
            .ok_or(DropReason::UnknownDestination)?;
        Ok(Verdict::Forward(*to))
    }
}

/// The source address must be the endpoint's. Only DHCP may go without, and
/// DHCP is for the gateway alone.
fn asks_for_an_address(packet: &[u8], port: &Port) -> Result<bool, DropReason> {
    let (src, dst) = match (packet.get(12..16), packet.get(16..20)) {
        (Some(src), Some(dst)) => (src, dst),
        _ => return Err(DropReason::Malformed),
    };
    let dhcp = dst == [0xff; 4] && is_to_dhcp_server(packet);
    if is_own(src, port) || src == [0; 4] && dhcp {
        Ok(dhcp)
    } else {
        Err(DropReason::SpoofedAddress)
    }
}

fn is_to_dhcp_server(packet: &[u8]) -> bool {
    let header = 4 * usize::from(packet[0] & 0xf);
    packet[9] == 17 && packet.get(header + 2..header + 4) == Some(&[0, 67])
}

/// Sender addresses in ARP must be the endpoint's; 0.0.0.0 is a probe
/// (RFC 5227).
fn check_arp(bytes: &[u8], port: &Port) -> Result<(), DropReason> {
    let arp = ArpPacket::new_checked(bytes).map_err(|_| DropReason::Malformed)?;
    if (arp.hardware_len(), arp.protocol_len()) != (6, 4) {
        return Err(DropReason::Malformed);
    }
    if arp.source_hardware_addr() != port.mac.as_bytes() {
        return Err(DropReason::SpoofedMac);
    }
    let src = arp.source_protocol_addr();
    if !is_own(src, port) && src != [0; 4] {
        return Err(DropReason::SpoofedAddress);
    }
    Ok(())
}

fn is_own(address: &[u8], port: &Port) -> bool {
    port.endpoint
        .ipv4
        .is_some_and(|own| address == own.octets())
}

/// The source address must be the endpoint's, or a link-local one that is
/// nobody else's.
fn check_ipv6(packet: &[u8], port: &Port, network: &Net) -> Result<(), DropReason> {
    let src: Option<[u8; 16]> = packet.get(8..24).and_then(|src| src.try_into().ok());
    let src = Ipv6Addr::from(src.ok_or(DropReason::Malformed)?);
    let multicast = packet.get(24) == Some(&0xff);
    let plain = matches!(packet[6], 6 | 17);
    // Who has no address yet speaks to groups, and about neighbours only.
    let none_yet = src.is_unspecified() && multicast && !plain;
    if !none_yet && !is_own6(src, port, network) {
        return Err(DropReason::SpoofedAddress);
    }
    if plain {
        return Ok(());
    }
    let parsed = ip(packet, &Offload::NONE).ok_or(DropReason::Malformed)?;
    match parsed.protocol {
        IpProtocol::Icmpv6 => check_icmp6(&parsed, port, network),
        // Nothing else has a use for the unspecified address.
        _ if src.is_unspecified() => Err(DropReason::SpoofedAddress),
        _ => Ok(()),
    }
}

fn is_own6(address: Ipv6Addr, port: &Port, network: &Net) -> bool {
    if port.endpoint.ipv6 == Some(address) {
        return true;
    }
    if !address.is_unicast_link_local() {
        return false;
    }
    // Guests choose link-local addresses themselves; those that come from
    // another's hardware address are taken.
    match hardware_of(address) {
        Some(mac) if mac == network.mac || network.table.contains_key(&mac) => mac == port.mac,
        _ => true,
    }
}

/// The hardware address that a link-local one was made from.
fn hardware_of(address: Ipv6Addr) -> Option<Mac> {
    let [.., a, b, c, 0xff, 0xfe, d, e, f] = address.octets() else {
        return None;
    };
    let mac = Mac([a ^ 2, b, c, d, e, f]);
    (link_local(mac) == address).then_some(mac)
}

/// Neighbours speak for themselves only, and only the gateway is a router
/// (RFC 4861; compare RFC 6105).
fn check_icmp6(ip: &Ip<'_>, port: &Port, network: &Net) -> Result<(), DropReason> {
    let message = ip.payload;
    // Parts of messages about neighbours are ignored by all (RFC 6980).
    if ip.fragment.is_some() {
        return if ip.src.is_unspecified() {
            Err(DropReason::SpoofedAddress)
        } else {
            Ok(())
        };
    }
    let (kind, options) = match message.first() {
        Some(134 | 137) => return Err(DropReason::RogueRouter),
        Some(133) => (133, 8),
        Some(kind @ (135 | 136)) => (*kind, 24),
        // Listeners of multicast may have no address yet (RFC 3810, 5.2.13).
        Some(131..=132 | 143) => return Ok(()),
        _ if ip.src.is_unspecified() => return Err(DropReason::SpoofedAddress),
        _ => return Ok(()),
    };
    let mut options = message.get(options..).ok_or(DropReason::Malformed)?;
    while let [option, length, ..] = *options {
        let length = 8 * usize::from(length);
        let body = options.get(2..length).ok_or(DropReason::Malformed)?;
        if matches!(option, 1 | 2) && body.get(..6) != Some(port.mac.as_bytes()) {
            return Err(DropReason::SpoofedMac);
        }
        options = options.get(length..).ok_or(DropReason::Malformed)?;
    }
    if kind == 136 {
        let target = message
            .get(8..24)
            .and_then(|t| <[u8; 16]>::try_from(t).ok());
        let target = Ipv6Addr::from(target.ok_or(DropReason::Malformed)?);
        if !is_own6(target, port, network) {
            return Err(DropReason::SpoofedAddress);
        }
    }
    if let IpAddr::V6(src) = ip.src
        && src.is_unspecified()
        && kind != 135
        && kind != 133
    {
        return Err(DropReason::SpoofedAddress);
    }
    Ok(())
}

//! Where a frame goes, and whether its sender is who it says.

use crate::counters::DropReason;
use crate::ids::PortId;
use crate::wire::{ArpPacket, ETHERNET, EthernetProtocol, ethernet};

use super::{Net, Port};

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
            let src = frame
                .get(ETHERNET + 12..ETHERNET + 16)
                .ok_or(DropReason::Malformed)?;
            if !is_own(src, port) {
                return Err(DropReason::SpoofedAddress);
            }
        }
        EthernetProtocol::Arp => check_arp(view.payload(), port)?,
        // Guests may use link-local addresses among themselves.
        EthernetProtocol::Ipv6 => {}
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

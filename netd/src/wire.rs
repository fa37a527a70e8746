//! Frames as bytes: checked views for what guests send, builders for what
//! they get. Nothing here keeps state.

mod build;
mod checksum;
mod view;

pub(crate) use build::{
    Finish, Route, Unreachable, arp_reply, echo_reply, tcp, tcp_headers, udp, unreachable,
};
pub(crate) use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress as Mac, EthernetFrame, EthernetProtocol,
    IpProtocol,
};
pub(crate) use view::{Ip, datagram, ethernet, icmp_is_valid, ip, segment};

/// Largest IPv4 packet.
pub(crate) const MTU: usize = 65_520;

/// Bytes of an Ethernet header.
pub(crate) const ETHERNET: usize = 14;

/// Largest UDP payload that one frame carries.
pub(crate) const MAX_DATAGRAM: usize = MTU - 20 - 8;

/// Reads `02:57:0a:59:00:02`; unicast addresses only.
pub(crate) fn parse_mac(text: &str) -> Option<Mac> {
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        let part = parts.next().filter(|part| part.len() == 2)?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    let mac = Mac(mac);
    (parts.next().is_none() && mac.is_unicast()).then_some(mac)
}

#[cfg(test)]
mod tests;

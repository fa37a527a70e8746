//! Frames as bytes: checked views for what guests send, builders for what
//! they get. Nothing here keeps state.

mod build;
mod checksum;
mod fragment;
mod icmp;
mod view;

pub(crate) use build::{Finish, Route, arp_announcement, arp_reply, icmp, tcp, tcp_headers, udp};
pub(crate) use fragment::{Assembled, Header, PacketId, cut};
pub(crate) use icmp::{IcmpError, echo_reply, icmp_error};
pub(crate) use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress as Mac, EthernetFrame, EthernetProtocol,
    IpProtocol,
};
pub(crate) use view::{Fragment, Ip, datagram, ethernet, icmp_message, ip, segment};

/// Largest IPv4 packet.
pub(crate) const MTU: usize = 65_520;

/// Bytes of an Ethernet header.
pub(crate) const ETHERNET: usize = 14;

/// Largest UDP payload.
pub(crate) const MAX_DATAGRAM: usize = 65_507;

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

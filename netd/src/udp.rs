//! UDP and echo requests between guests and the host, sans-IO: who stands
//! for whom, and for how long.

mod outbound;
mod session;

use std::net::SocketAddr;

pub(crate) use outbound::Associations;
pub(crate) use session::{PORTS as GATEWAY_PORTS, Sessions};

/// What a socket of the host speaks for a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Transport {
    /// UDP over IPv4.
    Udp4,
    /// UDP over IPv6.
    Udp6,
    /// Echo requests of ICMP.
    Echo4,
    /// Echo requests of ICMPv6.
    Echo6,
}

/// A datagram, or an echo request, that a guest sent out.
#[derive(Debug, PartialEq)]
pub(crate) struct Outgoing {
    /// What it is.
    pub(crate) transport: Transport,
    /// Where to; the port of an echo request is 0.
    pub(crate) to: SocketAddr,
    /// What: for an echo request, the ICMP message.
    pub(crate) payload: Vec<u8>,
    /// Hops it may still take.
    pub(crate) hops: u8,
    /// It must not be cut on the way.
    pub(crate) whole: bool,
}

#[cfg(test)]
mod tests;

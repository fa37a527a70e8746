//! Counters: what was dropped has a name.

use std::collections::BTreeMap;

/// Why a frame went no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum DropReason {
    /// A header is cut off, contradicts itself, or its checksum is wrong.
    Malformed,
    /// The source hardware address is not the endpoint's.
    SpoofedMac,
    /// The source address, or what ARP or neighbour discovery say, is not the
    /// endpoint's.
    SpoofedAddress,
    /// Nobody on this network has the destination hardware address.
    UnknownDestination,
    /// A guest says that it is an IPv6 router.
    RogueRouter,
    /// Neither IPv4 nor IPv6 nor ARP, or a protocol that is not passed on.
    UnknownProtocol,
    /// A part of a packet for the gateway that does not fit the others, or
    /// the parts of a packet that never was complete.
    Fragment,
    /// The packet has taken all the hops that it could.
    HopsUsed,
    /// The host does not let this user send echo requests.
    EchoRefused,
    /// For another network of the stack.
    OtherNetwork,
    /// Not an address that a gateway passes on: loopback, link-local,
    /// multicast, the subnet itself.
    NotRoutable,
    /// The network has no way out.
    Internal,
    /// An ARP request for somebody else than the gateway.
    ArpNotForUs,
    /// A TCP segment that belongs to no flow.
    NoFlow,
    /// A limit on flows, associations or queries is reached.
    TooMany,
    /// The VMM does not take frames, and the queue is full.
    QueueFull,
    /// The VMM's socket is not there.
    NoPeer,
    /// More than a frame can carry.
    TooLarge,
    /// Not a frame: a guest whose rings cannot be was cut off.
    BrokenRing,
    /// A datagram from a host that the guest never talked to.
    Unsolicited,
}

/// All counters.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Frames from guests.
    pub(crate) frames_in: u64,
    /// Frames to guests.
    pub(crate) frames_out: u64,
    /// Questions for names: all, and those that went to other servers.
    pub(crate) queries: (u64, u64),
    drops: BTreeMap<DropReason, u64>,
}

impl Counters {
    /// Counts one dropped frame.
    pub(crate) fn drop(&mut self, reason: DropReason) {
        self.drop_many(reason, 1);
    }

    /// Counts `count` dropped frames.
    pub(crate) fn drop_many(&mut self, reason: DropReason, count: u64) {
        if count > 0 {
            *self.drops.entry(reason).or_default() += count;
            tracing::trace!(?reason, count, "dropped");
        }
    }

    /// Drops by name.
    pub(crate) fn drops(&self) -> BTreeMap<String, u64> {
        self.drops
            .iter()
            .map(|(reason, count)| (format!("{reason:?}"), *count))
            .collect()
    }

    /// How many were dropped for `reason`.
    #[cfg(test)]
    pub(crate) fn dropped(&self, reason: DropReason) -> u64 {
        self.drops.get(&reason).copied().unwrap_or(0)
    }
}

//! Which features are offered, by their bits (VIRTIO 1.2, 5.1.3 and 6).

use crate::frame::Features;

/// The guest may leave checksums to us.
const CSUM: u64 = 1 << 0;
/// We may leave checksums to the guest.
const GUEST_CSUM: u64 = 1 << 1;
/// The VMM may tell the guest an MTU.
const MTU: u64 = 1 << 3;
/// We may hand TCP of up to 64 KiB to the guest.
const GUEST_TSO4: u64 = 1 << 7;
const GUEST_TSO6: u64 = 1 << 8;
/// The guest may hand TCP of up to 64 KiB to us.
const HOST_TSO4: u64 = 1 << 11;
const HOST_TSO6: u64 = 1 << 12;
/// A frame may take several of the guest's buffers.
const MRG_RXBUF: u64 = 1 << 15;
/// Chains may lie in tables of their own.
const INDIRECT: u64 = 1 << 28;
/// Kicks and signals say from which chain on they are wanted.
pub(super) const EVENT_IDX: u64 = 1 << 29;
/// There are protocol features (vhost-user).
pub(super) const PROTOCOL: u64 = 1 << 30;
/// VIRTIO 1.0 or later.
const VERSION_1: u64 = 1 << 32;

/// All that we can do.
pub(super) const OFFERED: u64 = CSUM
    | GUEST_CSUM
    | MTU
    | GUEST_TSO4
    | GUEST_TSO6
    | HOST_TSO4
    | HOST_TSO6
    | MRG_RXBUF
    | INDIRECT
    | EVENT_IDX
    | PROTOCOL
    | VERSION_1;

/// What the guest takes unfinished.
pub(super) fn to_guest(chosen: u64) -> Features {
    of(chosen, [GUEST_CSUM, GUEST_TSO4, GUEST_TSO6])
}

/// What the guest may send unfinished.
pub(super) fn from_guest(chosen: u64) -> Features {
    of(chosen, [CSUM, HOST_TSO4, HOST_TSO6])
}

fn of(chosen: u64, [checksum, tcp4, tcp6]: [u64; 3]) -> Features {
    let has = |bit: u64| chosen & bit != 0;
    Features {
        checksum: has(checksum),
        tcp4: has(checksum) && has(tcp4),
        tcp6: has(checksum) && has(tcp6),
    }
}

/// A frame may take several of the guest's buffers.
pub(super) fn mergeable(chosen: u64) -> bool {
    chosen & MRG_RXBUF != 0
}

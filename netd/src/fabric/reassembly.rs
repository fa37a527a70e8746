//! Packets that guests send in parts, until all parts are there.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::counters::DropReason;
use crate::ids::PortId;
use crate::timers::Timers;
use crate::wire::{Assembled, Header, Ip, PacketId};

/// Packets of one guest that wait for parts, and parts of one packet.
const MAX_PACKETS: usize = 16;
const MAX_PARTS: usize = 128;

/// Longest payload.
const MAX_LENGTH: usize = 65_515;

/// How long parts are waited for.
const PATIENCE: Duration = Duration::from_secs(15);

type Key = (PortId, PacketId);

#[derive(Debug, Default)]
struct Pending {
    header: Option<Header>,
    // By offset; they do not overlap.
    parts: Vec<(usize, Vec<u8>)>,
    length: Option<usize>,
}

/// All packets that are not complete.
#[derive(Debug, Default)]
pub(super) struct Reassembly {
    pending: HashMap<Key, Pending>,
    timers: Timers<Key>,
}

impl Reassembly {
    /// Takes a part; gives the packet when it is the last one that lacked.
    ///
    /// # Errors
    /// The part is dropped, and why. Parts that overlap others take their
    /// whole packet with them (RFC 5722).
    pub(super) fn accept(
        &mut self,
        port: PortId,
        ip: &Ip<'_>,
        now: Instant,
    ) -> Result<Option<Assembled>, DropReason> {
        let Some(fragment) = ip.fragment else {
            return Err(DropReason::Fragment);
        };
        let end = fragment.offset + ip.payload.len();
        let odd = fragment.more && !ip.payload.len().is_multiple_of(8);
        if ip.payload.is_empty() || end > MAX_LENGTH || odd {
            return Err(DropReason::Malformed);
        }
        let key = (port, PacketId::of(ip, fragment));
        if !self.pending.contains_key(&key) {
            self.make_place(port);
            self.timers.set(key, Some(now + PATIENCE));
        }
        let pending = self.pending.entry(key).or_default();
        if pending.clashes(fragment.offset, end, fragment.more) || pending.parts.len() >= MAX_PARTS
        {
            self.forget(key);
            return Err(DropReason::Fragment);
        }
        if fragment.offset == 0 {
            pending.header = Some(Header::of(ip));
        }
        if !fragment.more {
            pending.length = Some(end);
        }
        pending.parts.push((fragment.offset, ip.payload.to_vec()));
        let whole = pending.whole();
        if whole.is_some() {
            self.forget(key);
        }
        Ok(whole)
    }

    /// The oldest packet of a guest with too many has to go.
    fn make_place(&mut self, port: PortId) {
        let own = self.pending.keys().filter(|(owner, _)| *owner == port);
        if own.clone().count() >= MAX_PACKETS
            && let Some(oldest) = own.min_by_key(|key| self.timers.get(key)).copied()
        {
            self.forget(oldest);
        }
    }

    /// Forgets all of a guest.
    pub(super) fn forget_port(&mut self, port: PortId) {
        let own = self.pending.keys().filter(|(owner, _)| *owner == port);
        for key in own.copied().collect::<Vec<_>>() {
            self.forget(key);
        }
    }

    fn forget(&mut self, key: Key) {
        self.pending.remove(&key);
        self.timers.set(key, None);
    }

    /// When [`expire`](Self::expire) has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Gives up packets whose parts do not come; how many.
    pub(super) fn expire(&mut self, now: Instant) -> u64 {
        let mut count = 0;
        while let Some(key) = self.timers.pop(now) {
            self.pending.remove(&key);
            count += 1;
        }
        count
    }
}

impl Pending {
    /// A part from `start` to `end` cannot belong here.
    fn clashes(&self, start: usize, end: usize, more: bool) -> bool {
        let overlaps = |(at, bytes): &(usize, Vec<u8>)| start < at + bytes.len() && *at < end;
        let beyond = |length: usize| end > length || !more && end != length;
        let cut_off = !more && self.parts.iter().any(|(at, bytes)| at + bytes.len() > end);
        self.parts.iter().any(overlaps) || self.length.is_some_and(beyond) || cut_off
    }

    fn whole(&mut self) -> Option<Assembled> {
        let length = self.length?;
        let header = self.header.as_ref()?;
        let known: usize = self.parts.iter().map(|(_, bytes)| bytes.len()).sum();
        if known != length {
            return None;
        }
        self.parts.sort_unstable_by_key(|(at, _)| *at);
        let payload: Vec<u8> = self.parts.drain(..).flat_map(|(_, bytes)| bytes).collect();
        Assembled::new(header, &payload)
    }
}

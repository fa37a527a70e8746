//! One split virtqueue (VIRTIO 1.2, 2.7), from the device's side.
//!
//! Everything in it is the guest's doing, and may change at any moment. What
//! cannot be is [`Broken`]; the port is closed then.
//!
//! Chains are taken and given back in order, and a chain is given back before
//! anybody else runs. So when this process is killed, the used index in the
//! guest's memory says exactly what is done, and whoever comes next goes on
//! from there.

use std::fs::File;
use std::io::Write;
use std::num::Wrapping;
use std::sync::atomic::{Ordering, fence};

use virtio_queue::{Queue, QueueOwnedT, QueueT};
use vm_memory::{Address, Bytes, GuestAddress, GuestMemoryMmap};

/// Entries, at most: what QEMU allows for network devices.
pub(super) const MAX_SIZE: u16 = 1024;

/// Descriptors of one chain, at most. Linux needs 19 for 64 KiB.
const MAX_PIECES: usize = 256;

/// Flag in the available ring: no signal wanted (VIRTIO 1.2, 2.7.7).
const NO_INTERRUPT: u16 = 1;

/// The guest's ring cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// The size is no power of two, or too large.
    Size,
    /// A part of the ring is not in the guest's memory, or not aligned.
    Address,
    /// More is available than the ring has place for.
    Index,
    /// A chain is endless, too long, or leads out of memory.
    Chain,
    /// A buffer may not be read, or not be written, as it should be.
    Direction,
    /// A buffer is not in the guest's memory.
    Buffer,
}

/// Which way the bytes of a chain go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// The guest wrote them.
    FromGuest,
    /// The guest is to read them.
    ToGuest,
}

/// A part of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) address: GuestAddress,
    pub(super) length: usize,
}

/// Where the parts of a ring lie in the guest's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) descriptors: GuestAddress,
    pub(super) available: GuestAddress,
    pub(super) used: GuestAddress,
}

/// The ring.
#[derive(Debug)]
pub(super) struct Ring {
    queue: Queue,
    event_idx: bool,
    // The used index up to which the guest has been told.
    told: Wrapping<u16>,
    // Whoever was here before may have owed a signal.
    owes_signal: bool,
}

impl Ring {
    /// Goes on with the chain number `next`.
    pub(super) fn new(
        memory: &GuestMemoryMmap,
        place: Place,
        size: u16,
        next: u16,
        event_idx: bool,
    ) -> Result<Ring, Broken> {
        let mut queue = Queue::new(MAX_SIZE).map_err(|_| Broken::Size)?;
        queue.try_set_size(size).map_err(|_| Broken::Size)?;
        queue
            .try_set_desc_table_address(place.descriptors)
            .and_then(|()| queue.try_set_avail_ring_address(place.available))
            .and_then(|()| queue.try_set_used_ring_address(place.used))
            .map_err(|_| Broken::Address)?;
        queue.set_event_idx(event_idx);
        queue.set_ready(true);
        // Address 0 is what the crate takes for "not set".
        if !queue.is_valid(memory) || place.available == GuestAddress(0) {
            return Err(Broken::Address);
        }
        let used = queue.used_idx(memory, Ordering::Acquire);
        let used = used.map_err(|_| Broken::Address)?;
        queue.set_next_avail(next);
        queue.set_next_used(used.0);
        Ok(Ring {
            queue,
            event_idx,
            told: used,
            owes_signal: true,
        })
    }

    /// The number of the next chain.
    pub(super) fn next(&self) -> u16 {
        self.queue.next_avail()
    }

    /// Takes a chain, and appends its buffers to `pieces`: its head.
    pub(super) fn take(
        &mut self,
        memory: &GuestMemoryMmap,
        direction: Direction,
        pieces: &mut Vec<Piece>,
    ) -> Result<Option<u16>, Broken> {
        let mut available = self.queue.iter(memory).map_err(|_| Broken::Index)?;
        let Some(chain) = available.next() else {
            return Ok(None);
        };
        let head = chain.head_index();
        let begin = pieces.len();
        let mut more = true;
        for descriptor in chain {
            if pieces.len() - begin == MAX_PIECES {
                return Err(Broken::Chain);
            }
            if descriptor.is_write_only() != (direction == Direction::ToGuest) {
                return Err(Broken::Direction);
            }
            pieces.push(Piece {
                address: descriptor.addr(),
                length: descriptor.len() as usize,
            });
            more = descriptor.has_next();
        }
        // It has ended although there should be more.
        if more {
            return Err(Broken::Chain);
        }
        Ok(Some(head))
    }

    /// Puts the last `count` taken chains back: they are taken again.
    pub(super) fn untake(&mut self, count: usize) {
        let next = Wrapping(self.queue.next_avail()) - Wrapping(count as u16);
        self.queue.set_next_avail(next.0);
    }

    /// Gives chains back, each with how many bytes were written. The guest
    /// sees all of them at once: it relies on that for a frame that has
    /// several.
    pub(super) fn give(
        &mut self,
        memory: &GuestMemoryMmap,
        chains: &[(u16, u32)],
    ) -> Result<(), Broken> {
        let base = GuestAddress(self.queue.used_ring());
        let at = |offset: u64| base.checked_add(offset).ok_or(Broken::Address);
        let mut next = Wrapping(self.queue.next_used());
        for (head, length) in chains {
            let slot = u64::from(next.0 % self.queue.size());
            let element = u64::from(*head) | u64::from(*length) << 32;
            memory
                .write_obj(element.to_le(), at(4 + 8 * slot)?)
                .map_err(|_| Broken::Address)?;
            next += 1;
        }
        self.queue.set_next_used(next.0);
        memory
            .store(next.0.to_le(), at(2)?, Ordering::Release)
            .map_err(|_| Broken::Address)
    }

    /// Tells the guest of what was given back, if it wants to know.
    pub(super) fn signal(
        &mut self,
        memory: &GuestMemoryMmap,
        call: Option<&File>,
    ) -> Result<(), Broken> {
        let used = Wrapping(self.queue.next_used());
        let told = std::mem::replace(&mut self.told, used);
        let owes = std::mem::take(&mut self.owes_signal);
        if !owes && (told == used || !self.wanted(memory, told, used)?) {
            return Ok(());
        }
        if let Some(mut call) = call
            && let Err(error) = call.write(&1u64.to_ne_bytes())
        {
            // Full means that there are signals enough.
            tracing::trace!(%error, "a VM was not signalled");
        }
        Ok(())
    }

    fn wanted(
        &self,
        memory: &GuestMemoryMmap,
        told: Wrapping<u16>,
        used: Wrapping<u16>,
    ) -> Result<bool, Broken> {
        // What was given back must be visible before the wish is read.
        fence(Ordering::SeqCst);
        let base = GuestAddress(self.queue.avail_ring());
        let read = |offset: u64| -> Result<u16, Broken> {
            let at = base.checked_add(offset).ok_or(Broken::Address)?;
            let value = memory.load::<u16>(at, Ordering::Relaxed);
            value.map(u16::from_le).map_err(|_| Broken::Address)
        };
        if self.event_idx {
            let event = Wrapping(read(4 + 2 * u64::from(self.queue.size()))?);
            Ok(used - event - Wrapping(1) < used - told)
        } else {
            Ok(read(0)? & NO_INTERRUPT == 0)
        }
    }

    /// Asks for a kick when chains come behind the next `known` ones; whether
    /// there are some already.
    pub(super) fn listen(
        &mut self,
        memory: &GuestMemoryMmap,
        known: usize,
    ) -> Result<bool, Broken> {
        let known = Wrapping(self.queue.next_avail()) + Wrapping(known as u16);
        let used = GuestAddress(self.queue.used_ring());
        let (offset, value) = match self.event_idx {
            true => (4 + 8 * u64::from(self.queue.size()), known.0),
            false => (0, 0),
        };
        let at = used.checked_add(offset).ok_or(Broken::Address)?;
        memory
            .store(value.to_le(), at, Ordering::Relaxed)
            .map_err(|_| Broken::Address)?;
        // The wish must be visible before the index is read again.
        fence(Ordering::SeqCst);
        let available = self.queue.avail_idx(memory, Ordering::Relaxed);
        Ok(available.map_err(|_| Broken::Address)? != known)
    }

    /// Asks for none.
    pub(super) fn ignore(&mut self, memory: &GuestMemoryMmap) -> Result<(), Broken> {
        self.queue
            .disable_notification(memory)
            .map_err(|_| Broken::Address)
    }
}

//! A split virtqueue (VIRTIO 1.2, 2.7), seen from the device.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use super::inflight::Table;
use super::memory::{Memory, Piece};
use crate::link;

/// Descriptor flags.
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;
/// Bytes of a descriptor.
const DESCRIPTOR: u64 = 16;

/// A request of the driver's.
#[derive(Debug)]
pub(crate) struct Chain {
    /// Its name in the queue.
    pub(crate) head: u16,
    /// What the driver says.
    pub(crate) readable: Vec<Piece>,
    /// Room for the answer.
    pub(crate) writable: Vec<Piece>,
    /// A server before this one took it and may have carried it out.
    pub(crate) again: bool,
}

/// A running queue.
#[derive(Debug)]
pub(crate) struct Ring {
    memory: Arc<Memory>,
    place: link::Ring,
    table: Arc<Table>,
    call: File,
    /// Taken by an earlier server.
    again: Vec<u16>,
    next: u16,
    used: u16,
    /// Something was published that nobody waits for: the driver hears of it
    /// with the next answer, or before the queue is listened to.
    owed: bool,
    stopped: bool,
}

impl Ring {
    /// Takes the queue over, from the guest or from an earlier server.
    pub(crate) fn new(
        memory: Arc<Memory>,
        place: link::Ring,
        table: Arc<Table>,
        call: File,
    ) -> io::Result<Ring> {
        let queue = place.index as usize;
        let used = memory.load(place.used + 2)?;
        let mut ring = Ring {
            memory,
            place,
            table,
            call,
            again: Vec::new(),
            next: 0,
            used,
            owed: false,
            stopped: false,
        };
        ring.next = ring.table.next(queue);
        let following = if ring.memory.load(ring.place.available + 2)? == ring.next {
            None
        } else {
            Some(ring.head_at(ring.next)?)
        };
        ring.again = ring.table.recover(queue, used, following);
        ring.next = ring.table.next(queue);
        Ok(ring)
    }

    /// It is the one for what nobody waits for.
    pub(crate) fn is_forgets(&self) -> bool {
        self.place.index == 0
    }

    fn queue(&self) -> usize {
        self.place.index as usize
    }

    fn head_at(&self, number: u16) -> io::Result<u16> {
        let slot = u64::from(number % self.place.size);
        self.memory.load(self.place.available + 4 + 2 * slot)
    }

    /// The next request.
    ///
    /// # Errors
    /// The driver broke the rules: the queue is of no use any more.
    pub(crate) fn pop(&mut self) -> io::Result<Option<Chain>> {
        if self.stopped {
            return Ok(None);
        }
        if let Some(head) = self.again.pop() {
            let mut chain = self.chain(head)?;
            chain.again = true;
            return Ok(Some(chain));
        }
        let available = self.memory.load(self.place.available + 2)?;
        if available == self.next {
            return Ok(None);
        }
        if available.wrapping_sub(self.next) > self.place.size {
            return Err(broken("more requests than the queue has room for"));
        }
        let head = self.head_at(self.next)?;
        let chain = self.chain(head)?;
        // So no more requests are on their way than the queue has places.
        if self.table.is_taken(self.queue(), head) {
            return Err(broken("a request that is not answered is there again"));
        }
        self.table.take(self.queue(), head);
        self.next = self.next.wrapping_add(1);
        Ok(Some(chain))
    }

    fn chain(&self, head: u16) -> io::Result<Chain> {
        let mut chain = Chain {
            head,
            readable: Vec::new(),
            writable: Vec::new(),
            again: false,
        };
        let mut table = (self.place.descriptors, u32::from(self.place.size));
        let (mut index, mut left, mut inside) =
            (u32::from(head), u32::from(self.place.size), false);
        loop {
            if index >= table.1 {
                return Err(broken("a descriptor is outside the table"));
            }
            let mut bytes = [0; DESCRIPTOR as usize];
            self.memory
                .read(table.0 + DESCRIPTOR * u64::from(index), &mut bytes)?;
            let [a, b, c, d, e, f, g, h, l0, l1, l2, l3, f0, f1, n0, n1] = bytes;
            let address = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
            let length = u32::from_le_bytes([l0, l1, l2, l3]);
            let flags = u16::from_le_bytes([f0, f1]);
            let next = u16::from_le_bytes([n0, n1]);
            if flags & INDIRECT != 0 {
                if inside || flags & NEXT != 0 {
                    return Err(broken("an indirect table in the wrong place"));
                }
                let size = length / DESCRIPTOR as u32;
                (table, index, inside) = ((address, size), 0, true);
                left = size.min(1 << 16);
                continue;
            }
            left = left
                .checked_sub(1)
                .ok_or_else(|| broken("descriptors run in a circle"))?;
            if length == 0 {
                // Neither says anything nor has room.
            } else if flags & WRITE != 0 {
                chain.writable.push((address, length));
            } else if chain.writable.is_empty() {
                chain.readable.push((address, length));
            } else {
                return Err(broken("something to read after room to write"));
            }
            if flags & NEXT == 0 {
                return Ok(chain);
            }
            index = next.into();
        }
    }

    /// Publishes an answer of this length. `awaited`: somebody waits for it.
    pub(crate) fn complete(&mut self, head: u16, length: u32, awaited: bool) -> io::Result<()> {
        if self.stopped {
            return Ok(());
        }
        let slot = u64::from(self.used % self.place.size);
        let mut element = [0; 8];
        element[..4].copy_from_slice(&u32::from(head).to_le_bytes());
        element[4..].copy_from_slice(&length.to_le_bytes());
        self.memory
            .write(self.place.used + 4 + 8 * slot, &element)?;
        let used = self.used.wrapping_add(1);
        self.table.publish(self.queue(), head, used);
        self.memory.store(self.place.used + 2, used)?;
        self.table.done(self.queue(), head);
        self.used = used;
        self.owed = true;
        match awaited {
            true => self.settle(),
            false => Ok(()),
        }
    }

    /// Wakes the driver if there is something to tell and it wants to be told.
    pub(crate) fn settle(&mut self) -> io::Result<()> {
        if !std::mem::take(&mut self.owed) {
            return Ok(());
        }
        fence(Ordering::SeqCst);
        // VRING_AVAIL_F_NO_INTERRUPT: it looks by itself, and once more when
        // it has ceased to.
        if self.memory.load(self.place.available)? & 1 == 0 {
            self.interrupt();
        }
        Ok(())
    }

    /// Wakes the driver.
    pub(crate) fn interrupt(&self) {
        let _ = (&self.call).write_all(&1u64.to_ne_bytes());
    }

    /// Asks the driver to say when there are requests, or not to.
    /// `true`: there are some already.
    pub(crate) fn listen(&mut self, on: bool) -> io::Result<bool> {
        if self.stopped {
            return Ok(false);
        }
        if on {
            self.settle()?;
        }
        // VRING_USED_F_NO_NOTIFY
        self.memory.store(self.place.used, u16::from(!on))?;
        fence(Ordering::SeqCst);
        Ok(self.memory.load(self.place.available + 2)? != self.next)
    }

    /// There is a request.
    pub(crate) fn is_waiting(&self) -> bool {
        let available = self.memory.load(self.place.available + 2);
        !self.stopped && available.is_ok_and(|available| available != self.next)
    }

    /// Nothing is taken or published any more.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// From now on nothing is taken or published. Gives the position.
    pub(crate) fn stop(&mut self) -> u16 {
        self.stopped = true;
        self.next
    }
}

fn broken(why: &str) -> io::Error {
    io::Error::other(format!("the guest's queue is broken: {why}"))
}

#[cfg(test)]
pub(super) mod tests {
    use std::os::fd::{AsFd, OwnedFd};

    use rustix::event::{EventfdFlags, eventfd};

    use super::super::inflight;
    use super::*;

    const AVAILABLE: u64 = 0x1000;
    const USED: u64 = 0x2000;

    /// A queue in a page each, and what its driver hears.
    pub(in crate::server) fn ring() -> (Ring, Arc<Memory>, OwnedFd) {
        let file = tempfile::tempfile().unwrap();
        file.set_len(0x3000).unwrap();
        let region = link::Region {
            guest: 0,
            size: 0x3000,
            offset: 0,
        };
        let memory = Arc::new(Memory::map(&[region], vec![file.into()]).unwrap());
        let marks = tempfile::tempfile().unwrap();
        marks.set_len(inflight::SIZE as u64).unwrap();
        let table = Arc::new(Table::map(&marks).unwrap());
        let call = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
        let place = link::Ring {
            index: 1,
            size: 8,
            descriptors: 0,
            available: AVAILABLE,
            used: USED,
        };
        let heard = call.as_fd().try_clone_to_owned().unwrap();
        let ring = Ring::new(Arc::clone(&memory), place, table, call.into()).unwrap();
        (ring, memory, heard)
    }

    fn hears(call: &OwnedFd) -> bool {
        rustix::io::read(call, &mut [0; 8]).is_ok()
    }

    #[test]
    fn a_request_that_waits_is_not_taken_again() {
        let (mut ring, memory, _) = ring();
        // A descriptor with room for an answer, offered time and again.
        let mut descriptor = [0; 16];
        descriptor[8..12].copy_from_slice(&80u32.to_le_bytes());
        descriptor[12..14].copy_from_slice(&WRITE.to_le_bytes());
        memory.write(0, &descriptor).unwrap();
        memory.store(AVAILABLE + 2, 2).unwrap();
        assert!(ring.pop().unwrap().is_some());
        assert!(ring.pop().is_err());
        // Once it is answered it may come again.
        ring.complete(0, 0, true).unwrap();
        assert!(ring.pop().unwrap().is_some());
    }

    #[test]
    fn what_nobody_waits_for_is_told_later_and_never_forgotten() {
        let (mut ring, memory, call) = ring();
        ring.complete(0, 0, false).unwrap();
        assert_eq!(memory.load(USED + 2).unwrap(), 1);
        assert!(!hears(&call));
        // With the next answer,
        ring.complete(1, 0, true).unwrap();
        assert!(hears(&call));
        ring.complete(2, 0, false).unwrap();
        // or before the server falls asleep, once.
        assert!(!ring.listen(false).unwrap() && !hears(&call));
        assert!(!ring.listen(true).unwrap() && hears(&call));
        assert!(!ring.listen(true).unwrap() && !hears(&call));
        // Not to a driver that looks by itself.
        memory.store(AVAILABLE, 1).unwrap();
        ring.complete(3, 0, true).unwrap();
        ring.complete(4, 0, false).unwrap();
        ring.listen(true).unwrap();
        assert!(!hears(&call));
        assert_eq!(memory.load(USED + 2).unwrap(), 5);
    }
}

//! Which requests have been taken and not answered, in memory that survives
//! the server: what vhost-user calls inflight I/O tracking.
//!
//! A request is marked before the queue's position moves on, and unmarked
//! after its answer was published; [`Table::recover`] repairs the two steps
//! that a death can fall between.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::keeper::device::{QUEUE_SIZE, QUEUES};

/// Bytes of one queue's part: position (2), unused (2), publishing (4), marks.
const PART: usize = 8 + QUEUE_SIZE as usize;
/// Bytes of a VM's table.
pub(crate) const SIZE: usize = PART * QUEUES;
/// No answer is being published.
const NONE: u32 = u32::MAX;

/// A VM's table, mapped.
#[derive(Debug)]
pub(crate) struct Table {
    start: *mut std::ffi::c_void,
}

// SAFETY: the mapping is only accessed through atomics.
#[expect(unsafe_code, reason = "the mapping may go to another thread")]
unsafe impl Send for Table {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "the mapping may be used by two threads")]
unsafe impl Sync for Table {}

impl Drop for Table {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "what was mapped is unmapped")]
        // SAFETY: mapped by `map` with this length; no reference outlives self.
        unsafe {
            let _ = munmap(self.start, SIZE);
        }
    }
}

#[expect(
    unsafe_code,
    reason = "shared memory is accessed by atomics at fixed places"
)]
impl Table {
    /// Maps it.
    pub(crate) fn map(file: impl AsFd) -> io::Result<Table> {
        // The kernel would kill us for touching what is not there.
        if rustix::fs::fstat(file.as_fd())?.st_size < SIZE as i64 {
            return Err(io::Error::other("the ring table is too short"));
        }
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses.
        let start = unsafe {
            mmap(
                std::ptr::null_mut(),
                SIZE,
                protection,
                MapFlags::SHARED,
                file,
                0,
            )?
        };
        Ok(Table { start })
    }

    fn at(&self, queue: usize, offset: usize) -> *mut u8 {
        assert!(queue < QUEUES && offset < PART);
        // SAFETY: inside the mapping, by the line above.
        unsafe { self.start.cast::<u8>().add(queue * PART + offset) }
    }

    fn position(&self, queue: usize) -> &AtomicU16 {
        // SAFETY: aligned (PART is a multiple of 8), mapped as long as self.
        unsafe { AtomicU16::from_ptr(self.at(queue, 0).cast()) }
    }

    fn publishing(&self, queue: usize) -> &AtomicU32 {
        // SAFETY: as above.
        unsafe { AtomicU32::from_ptr(self.at(queue, 4).cast()) }
    }

    fn mark(&self, queue: usize, head: u16) -> &AtomicU8 {
        // SAFETY: as above; `at` checks the head.
        unsafe { AtomicU8::from_ptr(self.at(queue, 8 + usize::from(head))) }
    }
}

impl Table {
    /// Number of the next request that the queue takes.
    pub(crate) fn next(&self, queue: usize) -> u16 {
        self.position(queue).load(Ordering::SeqCst)
    }

    /// The request with this head has been taken and not answered.
    pub(crate) fn is_taken(&self, queue: usize, head: u16) -> bool {
        self.mark(queue, head).load(Ordering::SeqCst) == 1
    }

    /// The request with this head has been taken.
    pub(crate) fn take(&self, queue: usize, head: u16) {
        self.mark(queue, head).store(1, Ordering::SeqCst);
        self.position(queue).fetch_add(1, Ordering::SeqCst);
    }

    /// Its answer is about to be published: the used index will be this.
    pub(crate) fn publish(&self, queue: usize, head: u16, used: u16) {
        let both = u32::from(head) << 16 | u32::from(used);
        self.publishing(queue).store(both, Ordering::SeqCst);
    }

    /// It has been published.
    pub(crate) fn done(&self, queue: usize, head: u16) {
        self.mark(queue, head).store(0, Ordering::SeqCst);
        self.publishing(queue).store(NONE, Ordering::SeqCst);
    }

    /// The requests that were taken and not answered. `used` is the queue's
    /// used index, `following` the head of the request at [`Table::next`].
    pub(crate) fn recover(&self, queue: usize, used: u16, following: Option<u16>) -> Vec<u16> {
        if used == 0 && self.next(queue) == 0 {
            // Of a queue that starts anew nothing waits. What is marked is of
            // an earlier one, which had come round to this position.
            for head in 0..QUEUE_SIZE {
                self.done(queue, head);
            }
            return Vec::new();
        }
        let publishing = self.publishing(queue).load(Ordering::SeqCst);
        if publishing != NONE && publishing as u16 == used {
            self.done(queue, (publishing >> 16) as u16 % QUEUE_SIZE);
        }
        let taken = |head: &u16| self.is_taken(queue, *head);
        if following
            .filter(|head| *head < QUEUE_SIZE)
            .is_some_and(|head| taken(&head))
        {
            self.position(queue).fetch_add(1, Ordering::SeqCst);
        }
        (0..QUEUE_SIZE).filter(taken).collect()
    }
}

/// A queue starts at this position. If it is where the queue has come to, it
/// goes on after it was stopped: what was taken and not answered still waits.
/// At 0 it may be a new one, too: [`Table::recover`] tells.
pub(crate) fn prepare(file: impl AsFd, queue: u32, position: u16) -> io::Result<()> {
    if base(file.as_fd(), queue)? == position {
        return Ok(());
    }
    let mut part = vec![0; PART];
    part[..2].copy_from_slice(&position.to_ne_bytes());
    part[4..8].copy_from_slice(&NONE.to_ne_bytes());
    let at = PART as u64 * u64::from(queue);
    rustix::io::pwrite(file, &part, at)?;
    Ok(())
}

/// How far it has come.
pub(crate) fn base(file: impl AsFd, queue: u32) -> io::Result<u16> {
    let mut position = [0; 2];
    rustix::io::pread(file, &mut position, PART as u64 * u64::from(queue))?;
    Ok(u16::from_ne_bytes(position))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> (std::fs::File, Table) {
        let file = tempfile::tempfile().unwrap();
        file.set_len(SIZE as u64).unwrap();
        prepare(&file, 1, 65_535).unwrap();
        let table = Table::map(&file).unwrap();
        (file, table)
    }

    #[test]
    fn what_was_taken_is_found_by_the_next_server() {
        let (file, table) = table();
        table.take(1, 3);
        table.take(1, 7);
        table.publish(1, 3, 10);
        table.done(1, 3);
        drop(table);
        let table = Table::map(&file).unwrap();
        assert_eq!(table.recover(1, 10, None), [7]);
        assert_eq!(base(&file, 1).unwrap(), 1);
        assert_eq!(table.next(1), 1);
    }

    #[test]
    fn an_answer_that_was_published_is_not_given_twice() {
        let (_file, table) = table();
        table.take(1, 3);
        table.publish(1, 3, 10);
        assert_eq!(table.recover(1, 9, None), [3]);
        assert_eq!(table.recover(1, 10, None), [0u16; 0]);
    }

    #[test]
    fn a_queue_that_goes_on_keeps_what_waits_and_a_new_one_does_not() {
        let (file, table) = table();
        table.take(1, 3);
        table.take(1, 4);
        table.done(1, 4);
        prepare(&file, 1, table.next(1)).unwrap();
        assert_eq!(table.recover(1, 10, None), [3]);
        prepare(&file, 1, 0).unwrap();
        assert_eq!(table.recover(1, 10, None), [0u16; 0]);
    }

    #[test]
    fn a_queue_that_has_come_round_to_0_keeps_what_waits() {
        let (file, table) = table();
        table.take(1, 3);
        prepare(&file, 1, 0).unwrap();
        assert_eq!(table.recover(1, 65_535, None), [3]);
        // The driver has set it up anew.
        assert_eq!(table.recover(1, 0, None), [0u16; 0]);
        assert_eq!(table.recover(1, 65_535, None), [0u16; 0]);
    }

    #[test]
    fn a_request_that_was_only_marked_is_not_taken_twice() {
        let (_file, table) = table();
        table.mark(1, 5).store(1, Ordering::SeqCst);
        assert_eq!(table.recover(1, 65_535, Some(5)), [5]);
        assert_eq!(table.next(1), 0);
        assert_eq!(table.recover(1, 65_535, Some(6)), [5]);
        assert_eq!(table.next(1), 0);
    }
}

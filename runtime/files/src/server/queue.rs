//! A queue's thread, and the way back of an answer.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::left::Left;
use super::memory::{Memory, Piece};
use super::ring::Ring;
use crate::fs::Fs;
use crate::fuse::{self, HEADER};

/// Longest part of a request that is copied: all but file data. An extended
/// attribute's value has up to 64 KiB, a list of forgotten nodes a page.
const COPIED: usize = 128 << 10;
/// How long the next request is waited for after one that came alone, and while
/// they come one after the other.
const LINGER: Duration = Duration::from_micros(100);
const BUSY: Duration = Duration::from_micros(400);
/// What the guest forgets is taken together.
const GATHER: Duration = Duration::from_millis(4);

/// A request, as bytes.
#[derive(Debug)]
pub(crate) struct Request {
    /// Header and arguments.
    pub(crate) bytes: Vec<u8>,
    /// File data that follows the arguments (`FUSE_WRITE`).
    pub(crate) data: Vec<Piece>,
    /// A server before this one may have carried it out.
    pub(crate) again: bool,
}

/// Where the answer to a request goes.
#[derive(Debug)]
pub(crate) struct Answer {
    shared: Arc<Shared>,
    head: u16,
    unique: u64,
    awaited: bool,
    pub(crate) room: Vec<Piece>,
}

#[derive(Debug)]
struct Shared {
    ring: Mutex<Ring>,
    memory: Arc<Memory>,
    /// What cannot be answered any more.
    left: Arc<Left>,
    /// The log has a word about the guest.
    told: AtomicBool,
}

impl Shared {
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn complete(&self, ring: &mut Ring, head: u16, length: u32, awaited: bool) {
        if let Err(error) = ring.complete(head, length, awaited) {
            self.complain(&error);
        }
    }

    /// Says once what the guest does wrong: it may do so as often as it likes.
    fn complain(&self, error: &io::Error) {
        if self.told.swap(true, Ordering::Relaxed) {
            tracing::debug!(%error, "an answer cannot be given");
        } else {
            tracing::warn!(%error, "an answer cannot be given; others are not told");
        }
    }
}

impl Answer {
    /// To a guest that does not look.
    #[cfg(test)]
    pub(crate) fn unread() -> Answer {
        Answer::to(1, &Arc::default(), false).0
    }

    /// To the request of this number; its queue may have stopped.
    #[cfg(test)]
    pub(crate) fn to(unique: u64, left: &Arc<Left>, stopped: bool) -> (Answer, Arc<Memory>) {
        let (mut ring, memory, _) = super::ring::tests::ring();
        if stopped {
            ring.stop();
        }
        let ring = Mutex::new(ring);
        let answer = Answer {
            shared: Arc::new(Shared {
                ring,
                memory: Arc::clone(&memory),
                left: Arc::clone(left),
                told: AtomicBool::new(false),
            }),
            head: 0,
            unique,
            awaited: false,
            room: vec![(0, 256)],
        };
        (answer, memory)
    }

    /// To the same request.
    pub(crate) fn is_same(&self, other: &Answer) -> bool {
        self.unique == other.unique
    }

    /// The guest's memory.
    pub(crate) fn memory(&self) -> &Memory {
        &self.shared.memory
    }

    /// Room for file data: behind the answer's header.
    pub(crate) fn data_room(&self) -> Vec<Piece> {
        skip(&self.room, fuse::OUT_HEADER)
    }

    /// How many bytes there is room for.
    pub(crate) fn data_bytes(&self) -> usize {
        let all: u64 = self.room.iter().map(|(_, length)| u64::from(*length)).sum();
        (all as usize).saturating_sub(fuse::OUT_HEADER)
    }

    /// Answers with these bytes or an error number.
    pub(crate) fn give(self, result: Result<Vec<u8>, i32>) {
        match result {
            Ok(bytes) => self.publish(0, &bytes, bytes.len()),
            Err(error) => self.publish(error, &[], 0),
        }
    }

    /// Answers that so many bytes of file data are in their place.
    pub(crate) fn given(self, length: usize) {
        self.publish(0, &[], length);
    }

    /// It is to wait: what it takes to answer with a number alone is kept. A guest has
    /// room for much more than that.
    pub(crate) fn short(mut self) -> Answer {
        let mut left = fuse::OUT_HEADER;
        let mut room = Vec::new();
        for (at, length) in &self.room {
            let taken = left.min(*length as usize);
            if taken == 0 {
                break;
            }
            room.push((*at, taken as u32));
            left -= taken;
        }
        self.room = room;
        self
    }

    /// There is no answer to this kind of request.
    pub(crate) fn none(self) {
        let mut ring = self.shared.ring();
        self.shared.complete(&mut ring, self.head, 0, false);
    }

    /// There is an answer, and nobody waits for it.
    pub(crate) fn whenever(mut self) -> Answer {
        self.awaited = false;
        self
    }

    fn publish(self, error: i32, bytes: &[u8], length: usize) {
        let length = fuse::OUT_HEADER + length;
        let mut all = Vec::with_capacity(fuse::OUT_HEADER + bytes.len());
        all.extend((length as u32).to_le_bytes());
        all.extend((-error).to_le_bytes());
        all.extend(self.unique.to_le_bytes());
        all.extend(bytes);
        let mut ring = self.shared.ring();
        if ring.is_stopped() {
            // The request goes on elsewhere, and its memory with it; or the guest asks
            // again here when its machine goes on.
            if length == fuse::OUT_HEADER + bytes.len() {
                let result = match error {
                    0 => Ok(bytes.to_vec()),
                    error => Err(error),
                };
                self.shared.left.put(self.unique, result);
            }
            return;
        }
        let length = match self.shared.memory.scatter(&self.room, &all) {
            Ok(_) => length as u32,
            Err(error) => {
                self.shared.complain(&error);
                0
            }
        };
        self.shared
            .complete(&mut ring, self.head, length, self.awaited);
    }
}

/// A queue with its thread.
pub(crate) struct Running {
    shared: Arc<Shared>,
    end: Arc<OwnedFd>,
    thread: std::thread::JoinHandle<()>,
}

impl Running {
    /// Starts it.
    pub(crate) fn start(
        ring: Ring,
        memory: Arc<Memory>,
        kick: OwnedFd,
        fs: Arc<Fs>,
    ) -> io::Result<Running> {
        let shared = Arc::new(Shared {
            ring: Mutex::new(ring),
            memory,
            left: fs.left(),
            told: AtomicBool::new(false),
        });
        let end = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let (own, stop) = (Arc::clone(&shared), Arc::clone(&end));
        let thread = std::thread::Builder::new()
            .name("queue".to_owned())
            .spawn(move || {
                if let Err(error) = work(&own, &kick, &stop, &fs) {
                    tracing::error!(%error, "a VM's file system stops");
                }
            })?;
        Ok(Running {
            shared,
            end,
            thread,
        })
    }

    /// Takes and answers no request any more; gives the queue's position.
    pub(crate) fn halt(&self) -> u16 {
        let base = self.shared.ring().stop();
        let _ = rustix::io::write(&*self.end, &1u64.to_ne_bytes());
        base
    }

    /// Waits for the requests that it has taken.
    pub(crate) fn join(self) {
        let _ = self.thread.join();
    }
}

fn work(shared: &Arc<Shared>, kick: &OwnedFd, end: &OwnedFd, fs: &Arc<Fs>) -> io::Result<()> {
    // Whatever an earlier server published may not have been noticed.
    shared.ring().interrupt();
    let forgets = shared.ring().is_forgets();
    // When the last answer was given, and how long the next request after it
    // is waited for.
    let (mut last, mut patience) = (Instant::now(), LINGER);
    loop {
        shared.ring().listen(false)?;
        let mut any = false;
        loop {
            let Some(chain) = shared.ring().pop()? else {
                break;
            };
            if !any {
                patience = if last.elapsed() < BUSY { BUSY } else { LINGER };
            }
            let answer = Answer {
                shared: Arc::clone(shared),
                head: chain.head,
                unique: 0,
                awaited: true,
                room: chain.writable,
            };
            one(fs, answer, &chain.readable, chain.again);
            any = true;
        }
        if any && !forgets {
            last = Instant::now();
            if linger(shared, patience) {
                continue;
            }
        }
        // The driver says nothing of what comes meanwhile.
        let nap = any && forgets;
        if nap {
            shared.ring().settle()?;
        } else if shared.ring().listen(true)? {
            continue;
        }
        let mut fds = [
            PollFd::new(end, PollFlags::IN),
            PollFd::new(kick, PollFlags::IN),
        ];
        let (fds, most) = match nap {
            true => (&mut fds[..1], Some(&GATHER)),
            false => (&mut fds[..], None),
        };
        let most = most.and_then(|most| Timespec::try_from(*most).ok());
        match poll(fds, most.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if !fds[0].revents().is_empty() {
            return Ok(());
        }
        if fds.get(1).is_some_and(|kick| !kick.revents().is_empty()) {
            let _ = rustix::io::read(kick, &mut [0; 8]);
        }
    }
}

/// Who has had an answer often asks again at once: it is waited for a moment,
/// for to fall asleep and be woken takes longer. `true`: there is a request.
fn linger(shared: &Shared, most: Duration) -> bool {
    let end = Instant::now() + most;
    while Instant::now() < end {
        if shared.ring().is_waiting() {
            return true;
        }
        // Whoever asks may need this processor.
        std::thread::yield_now();
    }
    false
}

/// Carries out one request.
fn one(fs: &Arc<Fs>, mut answer: Answer, readable: &[Piece], again: bool) {
    let memory = Arc::clone(&answer.shared.memory);
    let Ok(mut bytes) = memory.gather(readable, HEADER) else {
        return answer.none();
    };
    let Some(header) = fuse::Header::parse(&bytes) else {
        return answer.none();
    };
    answer.unique = header.unique;
    let fixed = if header.opcode == fuse::op::WRITE {
        HEADER + fuse::WRITE_IN
    } else {
        COPIED
    };
    bytes = match memory.gather(readable, fixed) {
        Ok(bytes) => bytes,
        Err(_) => return answer.give(Err(libc::EIO)),
    };
    let request = Request {
        data: skip(readable, bytes.len()),
        bytes,
        again,
    };
    fs.handle(&header, request, answer);
}

/// The pieces without their first bytes.
pub(crate) fn skip(pieces: &[Piece], mut bytes: usize) -> Vec<Piece> {
    let mut rest = Vec::new();
    for (at, length) in pieces {
        let cut = bytes.min(*length as usize);
        bytes -= cut;
        if cut < *length as usize {
            rest.push((at.saturating_add(cut as u64), length - cut as u32));
        }
    }
    rest
}

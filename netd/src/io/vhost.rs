//! One endpoint's vhost-user device: this process is the back-end of the
//! VM's network card, and moves frames straight from and to the VM's memory.
//!
//! ```text
//!   VMM ──requests──► Session: features, memory, rings
//!   guest ──kick──► Ring ──transfer──► Batch          (what it sends)
//!   Parts ──transfer──► Ring ──call──► guest          (what it receives)
//! ```
//!
//! The VMM connects, again and again if it must, so that either side may
//! start anew under traffic: all that is needed to go on is in the guest's
//! memory.

mod connection;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod exercise;
mod features;
mod header;
mod memory;
mod ring;
mod session;
mod transfer;

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Token};

use super::frame_port::remove_socket;
use super::port::{Outcome, Port};
use super::presence::Vmm;
use super::sources::{Source, Sources};
use crate::frame::{Batch, Features, Frame, Parts};
use crate::ids::PortId;
use connection::Connection;
use ring::Broken;
use session::{RECEIVE, Session, TRANSMIT};
pub(super) use transfer::Lent;
use transfer::{Put, Received, Scratch};

/// Frames and bytes that wait for one guest.
const QUEUE: (usize, usize) = (4096, 4 << 20);

/// A guest whose rings were broken gets no new connection for that long.
const PENALTY: Duration = Duration::from_millis(200);

/// The device.
#[derive(Debug)]
pub(super) struct VhostPort {
    id: PortId,
    path: PathBuf,
    listener: UnixListener,
    token: Token,
    connection: Option<Connection>,
    broken: bool,
    vmm: Vmm,
    shunned_until: Option<Instant>,
    queue: VecDeque<Frame>,
    queued: usize,
    scratch: Scratch,
    // The batch that is being handed on.
    received: Received,
}

impl VhostPort {
    /// Listens at `path`, in place of a stale socket there.
    pub(super) fn open(id: PortId, path: &Path, sources: &mut Sources) -> io::Result<VhostPort> {
        remove_socket(path)?;
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        let fd = listener.as_raw_fd();
        let token = sources.add(&mut SourceFd(&fd), Interest::READABLE, Source::Vmm(id))?;
        Ok(VhostPort {
            id,
            path: path.to_path_buf(),
            listener,
            token,
            connection: None,
            broken: false,
            vmm: Vmm::Awaited,
            shunned_until: None,
            queue: VecDeque::new(),
            queued: 0,
            scratch: Scratch::default(),
            received: Received::default(),
        })
    }

    /// The newest VMM is the one that counts.
    fn accept(&mut self, sources: &mut Sources, now: Instant) {
        while let Ok((socket, _)) = self.listener.accept() {
            if self.shunned_until.is_some_and(|until| now < until) {
                continue;
            }
            self.hang_up(sources);
            match Connection::new(self.id, socket, sources) {
                Ok(connection) => {
                    self.connection = Some(connection);
                    self.vmm = Vmm::There;
                }
                Err(error) => tracing::warn!(%error, "a VMM cannot be served"),
            }
        }
    }

    fn hang_up(&mut self, sources: &mut Sources) {
        if let Some(connection) = self.connection.take() {
            connection.close(sources);
        }
        self.broken = false;
    }

    /// Does something with the session, unless a ring is broken: then the
    /// connection is cut, and nothing else suffers.
    fn with<T>(
        &mut self,
        act: impl FnOnce(&mut Session, &mut Scratch) -> Result<T, Broken>,
    ) -> Option<T> {
        if self.broken {
            return None;
        }
        let connection = self.connection.as_ref()?;
        let outcome = act(&mut connection.session(), &mut self.scratch);
        outcome
            .inspect_err(|broken| {
                tracing::warn!(?broken, path = %self.path.display(), "a guest is cut off");
                connection.cut();
                self.broken = true;
            })
            .ok()
    }

    /// Keeps a frame until there is place.
    fn keep(&mut self, frame: &Parts<'_>) -> bool {
        if self.queue.len() >= QUEUE.0 || self.queued + frame.len() > QUEUE.1 {
            return false;
        }
        self.queued += frame.len();
        self.queue.push_back(frame.to_frame());
        true
    }

    fn is_up(&self) -> bool {
        let running = |connection: &Connection| connection.session().rings[RECEIVE].ring.is_some();
        !self.broken && self.connection.as_ref().is_some_and(running)
    }
}

impl Port for VhostPort {
    fn control(&mut self, sources: &mut Sources, now: Instant) -> bool {
        let broken = self.broken;
        self.accept(sources, now);
        if let Some(connection) = &mut self.connection
            && let Err(why) = connection.answer(sources)
        {
            tracing::debug!(why, path = %self.path.display(), "a VMM's connection ends");
            // One that is cut off by us comes again.
            if !broken {
                self.vmm = Vmm::Gone;
            }
            self.hang_up(sources);
        }
        if broken {
            self.shunned_until = Some(now + PENALTY);
        }
        broken
    }

    fn receive(&mut self, batch: &mut Batch) -> bool {
        let mut received = std::mem::take(&mut self.received);
        let more = self.with(|session, scratch| {
            let may = features::from_guest(session.features);
            let memory = session.memory.guest();
            let setup = &mut session.rings[TRANSMIT];
            let Some(ring) = &mut setup.ring else {
                return Ok(false);
            };
            transfer::receive(ring, memory, may, batch, scratch, &mut received)
        });
        self.received = received;
        more.unwrap_or(false)
    }

    fn lent(&self, n: usize) -> usize {
        let mut left = self.received.left.iter();
        left.find(|left| left.number == n)
            .map_or(0, |left| left.length)
    }

    fn lend(&self, n: usize, batch: &Batch, to: &mut dyn Port) -> Option<Outcome> {
        let left = self.received.left.iter().find(|left| left.number == n)?;
        let session = self.connection.as_ref()?.session();
        to.borrow(&Lent {
            head: batch.get(n),
            memory: session.memory.guest(),
            left,
        })
    }

    fn borrow(&mut self, frame: &Lent<'_>) -> Option<Outcome> {
        if !self.is_up() || !self.queue.is_empty() || !self.features().take(&frame.head.offload) {
            return None;
        }
        let put = self.with(|session, scratch| {
            let mergeable = features::mergeable(session.features);
            let memory = session.memory.guest();
            let setup = &mut session.rings[RECEIVE];
            let Some(ring) = &mut setup.ring else {
                return Ok(Put::Never);
            };
            let put = transfer::send_lent(ring, memory, mergeable, frame, scratch)?;
            ring.signal(memory, setup.call.as_ref())?;
            Ok(put)
        });
        (put == Some(Put::Done)).then_some(Outcome {
            taken: 1,
            ..Outcome::default()
        })
    }

    fn complete(&mut self, n: usize, batch: &mut Batch) {
        let left = &mut self.received.left;
        if let Some(at) = left.iter().position(|left| left.number == n)
            && let Some(connection) = &self.connection
        {
            let left = left.remove(at);
            transfer::complete(connection.session().memory.guest(), &left, batch);
        }
    }

    fn done(&mut self) {
        let mut received = std::mem::take(&mut self.received);
        self.with(|session, _| {
            let memory = session.memory.guest();
            let setup = &mut session.rings[TRANSMIT];
            let Some(ring) = &mut setup.ring else {
                return Ok(());
            };
            received.done(ring, memory)?;
            ring.signal(memory, setup.call.as_ref())
        });
        received.clear();
        self.received = received;
    }

    fn send(&mut self, frames: &[Parts<'_>], _now: Instant) -> Outcome {
        let mut outcome = Outcome::default();
        if !self.is_up() {
            outcome.absent = frames.len() as u64;
            return outcome;
        }
        let mut rest = frames;
        if self.queue.is_empty() {
            let sent = self.with(|session, scratch| deliver(session, scratch, frames));
            let (sent, never) = sent.unwrap_or_default();
            rest = &frames[sent..];
            outcome.unfit = never;
            outcome.taken = sent as u64 - never;
        }
        for frame in rest {
            match self.keep(frame) {
                true => outcome.taken += 1,
                false => outcome.full += 1,
            }
        }
        outcome
    }

    fn flush(&mut self, _now: Instant) -> Outcome {
        let mut outcome = Outcome::default();
        if !self.is_up() {
            outcome.absent = self.queue.len() as u64;
            self.queue = VecDeque::new();
            self.queued = 0;
        }
        let waiting = std::mem::take(&mut self.queue);
        let sent = self.with(|session, scratch| {
            let frames: Vec<Parts<'_>> = waiting.iter().map(Parts::from).collect();
            deliver(session, scratch, &frames)
        });
        self.queue = waiting;
        let (sent, never) = sent.unwrap_or_default();
        let gone = self.queue.drain(..sent).map(|frame| frame.len());
        self.queued -= gone.sum::<usize>();
        outcome.unfit = never;
        outcome
    }

    fn queued(&self) -> usize {
        self.queued
    }

    fn retry(&self) -> Option<Instant> {
        None
    }

    fn features(&self) -> Features {
        let session = self.connection.as_ref().map(Connection::session);
        session.map_or(Features::default(), |session| {
            features::to_guest(session.features)
        })
    }

    fn vmm(&self) -> Vmm {
        self.vmm
    }

    fn close(mut self: Box<Self>, sources: &mut Sources) {
        self.hang_up(sources);
        let fd = self.listener.as_raw_fd();
        sources.remove(&mut SourceFd(&fd), self.token);
        if let Err(error) = remove_socket(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "a socket stays");
        }
    }
}

/// Hands frames to the guest as long as it has buffers: how many are done
/// with, and how many of those do not fit its buffers. If there are too few,
/// the guest will kick when it has more.
fn deliver(
    session: &mut Session,
    scratch: &mut Scratch,
    frames: &[Parts<'_>],
) -> Result<(usize, u64), Broken> {
    let mergeable = features::mergeable(session.features);
    let memory = session.memory.guest();
    let setup = &mut session.rings[RECEIVE];
    let Some(ring) = &mut setup.ring else {
        return Ok((0, 0));
    };
    let (mut done, mut never) = (0, 0);
    while let Some(frame) = frames.get(done) {
        match transfer::send(ring, memory, mergeable, frame, scratch)? {
            Put::Done => done += 1,
            Put::Never => {
                done += 1;
                never += 1;
            }
            Put::Later(known) => {
                ring.signal(memory, setup.call.as_ref())?;
                // Some may have come since.
                if !ring.listen(memory, known)? {
                    return Ok((done, never));
                }
            }
        }
    }
    ring.ignore(memory)?;
    ring.signal(memory, setup.call.as_ref())?;
    Ok((done, never))
}

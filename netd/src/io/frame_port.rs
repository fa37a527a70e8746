//! One endpoint's pair of datagram sockets: one Ethernet frame per datagram.
//!
//! Two sockets, because either side may start again at any time: one is bound
//! and takes frames from whoever has the path now, the other is connected to
//! the VMM's path, so that the kernel tells when its queue has place, and is
//! connected again when the VMM is a new one.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mio::net::UnixDatagram;
use mio::{Interest, Token};
use socket2::SockRef;

use super::life::{self, Life};
use super::mmsg;
use super::port::{Outcome, Port};
use super::presence::Vmm;
use super::sources::{Source, Sources};
use crate::frame::{Batch, Features, Frame, Parts};
use crate::ids::PortId;

/// Frames and bytes that wait for one VMM.
const QUEUE: (usize, usize) = (4096, 4 << 20);

/// Asked for; the system may give less.
const SOCKET_BUFFER: usize = 4 << 20;

/// First and longest time after which a full or absent peer is tried again
/// without having said anything.
const RETRY: (Duration, Duration) = (Duration::from_millis(2), Duration::from_secs(1));

/// How long a peer that is not there is taken to stay away.
const ABSENCE: Duration = Duration::from_millis(10);

/// The sockets of one endpoint.
#[derive(Debug)]
pub(super) struct FramePort {
    local: PathBuf,
    peer: PathBuf,
    socket: UnixDatagram,
    token: Token,
    // Kept when the VMM goes: a new one might find no descriptor left.
    out: UnixDatagram,
    out_token: Token,
    connected: bool,
    queue: VecDeque<Frame>,
    queued: usize,
    retry: Option<Instant>,
    pause: Duration,
    absent_until: Option<Instant>,
    vmm: Vmm,
    life: Life,
}

impl FramePort {
    /// Binds `local`, in place of a stale socket there.
    pub(super) fn open(
        id: PortId,
        local: &Path,
        peer: &Path,
        sources: &mut Sources,
    ) -> io::Result<FramePort> {
        remove_socket(local)?;
        let mut socket = UnixDatagram::bind(local)?;
        std::fs::set_permissions(local, std::fs::Permissions::from_mode(0o600))?;
        let _ = SockRef::from(&socket).set_recv_buffer_size(SOCKET_BUFFER);
        life::ask_for_sender(&socket, true);
        let token = sources.add(&mut socket, Interest::READABLE, Source::Frames(id))?;
        let mut out = UnixDatagram::unbound()?;
        let _ = SockRef::from(&out).set_send_buffer_size(SOCKET_BUFFER);
        let out_token = sources.add(&mut out, Interest::WRITABLE, Source::FramesOut(id))?;
        Ok(FramePort {
            local: local.to_path_buf(),
            peer: peer.to_path_buf(),
            socket,
            token,
            out,
            out_token,
            connected: false,
            queue: VecDeque::new(),
            queued: 0,
            retry: None,
            pause: RETRY.0,
            absent_until: None,
            vmm: Vmm::Awaited,
            life: Life::default(),
        })
    }

    /// Sends the first of `frames`; how many there is place for.
    fn try_send(&mut self, frames: &[Parts<'_>], now: Instant) -> Sent {
        // A second try if the VMM that we were connected to is gone.
        for _ in 0..2 {
            if !self.connected && !self.connect(now) {
                return Sent::Absent;
            }
            match mmsg::send(&self.out, frames) {
                Ok(sent) => return Sent::Some(sent),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error)
                    if error.kind() == ErrorKind::WouldBlock
                        || error.raw_os_error() == Some(libc::ENOBUFS) =>
                {
                    return Sent::Full;
                }
                Err(error) => {
                    tracing::debug!(%error, peer = %self.peer.display(), "the VMM is gone");
                    self.connected = false;
                }
            }
        }
        Sent::Absent
    }

    /// Keeps frames until there is place; returns how many.
    fn keep(&mut self, frames: &[Parts<'_>]) -> u64 {
        let mut kept = 0;
        for frame in frames {
            if self.queue.len() >= QUEUE.0 || self.queued + frame.len() > QUEUE.1 {
                break;
            }
            self.queued += frame.len();
            self.queue.push_back(frame.to_frame());
            kept += 1;
        }
        kept
    }

    fn clear(&mut self) -> u64 {
        let lost = self.queue.len() as u64;
        self.queue = VecDeque::new();
        self.queued = 0;
        lost
    }

    fn connect(&mut self, now: Instant) -> bool {
        if self.absent_until.is_some_and(|until| now < until) {
            return false;
        }
        self.connected = self.out.connect(&self.peer).is_ok();
        if !self.connected && self.vmm == Vmm::There {
            self.lose();
        }
        self.absent_until = (!self.connected).then(|| now + ABSENCE);
        self.connected
    }

    fn lose(&mut self) {
        self.vmm = Vmm::Gone;
        life::ask_for_sender(&self.socket, true);
    }
}

impl Port for FramePort {
    fn receive(&mut self, batch: &mut Batch) -> bool {
        // One that is there may have been silent until now.
        let wanted = self.vmm != Vmm::There || !self.life.is_known();
        if wanted && self.life.meet(&self.socket) {
            self.vmm = Vmm::There;
        }
        match mmsg::receive(&self.socket, batch) {
            Ok(more) => more,
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(error) => {
                tracing::debug!(%error, "receiving frames failed");
                false
            }
        }
    }

    fn send(&mut self, frames: &[Parts<'_>], now: Instant) -> Outcome {
        debug_assert!(frames.iter().all(|f| self.features().take(&f.offload)));
        let mut rest = frames;
        while self.queue.is_empty() && !rest.is_empty() {
            match self.try_send(rest, now) {
                Sent::Some(sent) => rest = &rest[sent..],
                Sent::Full => {
                    self.retry = Some(now + self.pause);
                    break;
                }
                Sent::Absent => {
                    return Outcome {
                        taken: (frames.len() - rest.len()) as u64,
                        absent: rest.len() as u64,
                        ..Outcome::default()
                    };
                }
            }
        }
        let kept = self.keep(rest);
        let full = rest.len() as u64 - kept;
        Outcome {
            taken: frames.len() as u64 - full,
            full,
            ..Outcome::default()
        }
    }

    fn flush(&mut self, now: Instant) -> Outcome {
        self.retry = None;
        while !self.queue.is_empty() {
            let waiting = std::mem::take(&mut self.queue);
            let frames: Vec<Parts<'_>> = waiting.iter().take(mmsg::MANY).map(Parts::from).collect();
            let sent = self.try_send(&frames, now);
            drop(frames);
            self.queue = waiting;
            match sent {
                Sent::Some(sent) => {
                    let gone = self.queue.drain(..sent).map(|frame| frame.len());
                    self.queued -= gone.sum::<usize>();
                    self.pause = RETRY.0;
                }
                Sent::Full => {
                    self.retry = Some(now + self.pause);
                    self.pause = (self.pause * 2).min(RETRY.1);
                    break;
                }
                Sent::Absent => {
                    return Outcome {
                        absent: self.clear(),
                        ..Outcome::default()
                    };
                }
            }
        }
        Outcome::default()
    }

    fn queued(&self) -> usize {
        self.queued
    }

    fn retry(&self) -> Option<Instant> {
        self.retry
    }

    fn features(&self) -> Features {
        Features::default()
    }

    fn control(&mut self, sources: &mut Sources, _now: Instant) -> bool {
        if self.life.has_ended(sources) {
            self.lose();
        }
        false
    }

    fn vmm(&self) -> Vmm {
        self.vmm
    }

    fn watch(&mut self, id: PortId, sources: &mut Sources) {
        self.life.watch(id, sources);
    }

    fn probe(&mut self, now: Instant) -> bool {
        let there = self.connected || self.connect(now);
        if there {
            self.vmm = Vmm::There;
        }
        there
    }

    fn close(mut self: Box<Self>, sources: &mut Sources) {
        self.life.forget(sources);
        sources.remove(&mut self.socket, self.token);
        sources.remove(&mut self.out, self.out_token);
        if let Err(error) = remove_socket(&self.local) {
            tracing::warn!(%error, path = %self.local.display(), "a socket stays");
        }
    }
}

enum Sent {
    Some(usize),
    Full,
    Absent,
}

/// Removes a socket file; anything else stays and is an error.
pub(super) fn remove_socket(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path),
        Ok(_) => Err(io::Error::new(
            ErrorKind::AlreadyExists,
            "there is a file that is no socket",
        )),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

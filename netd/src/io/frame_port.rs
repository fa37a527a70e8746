//! One endpoint's pair of datagram sockets: one Ethernet frame per datagram.
//!
//! Two sockets, because either side may start again at any time: one is bound
//! and takes frames from whoever has the path now, the other is connected to
//! the VMM's path, so that the kernel tells when its queue has place, and is
//! connected again when the VMM is a new one.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mio::net::UnixDatagram;
use mio::{Interest, Token};
use socket2::SockRef;

use super::sources::{Source, Sources};
use crate::counters::DropReason;
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
    queue: VecDeque<Vec<u8>>,
    queued: usize,
    retry: Option<Instant>,
    pause: Duration,
    absent_until: Option<Instant>,
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
        })
    }

    /// Closes both sockets and removes the path.
    pub(super) fn close(mut self, sources: &mut Sources) {
        sources.remove(&mut self.socket, self.token);
        sources.remove(&mut self.out, self.out_token);
        if let Err(error) = remove_socket(&self.local) {
            tracing::warn!(%error, path = %self.local.display(), "a socket stays");
        }
    }

    /// The next frame; `None` when there is none now.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> Option<usize> {
        loop {
            match self.socket.recv(buffer) {
                Ok(length) => return Some(length),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) => {
                    tracing::debug!(%error, "receiving a frame failed");
                    return None;
                }
            }
        }
    }

    /// Bytes that wait for the VMM.
    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    /// When [`flush`](Self::flush) is to be tried whatever the poller says.
    pub(super) fn retry(&self) -> Option<Instant> {
        self.retry
    }

    /// Sends a frame now or as soon as there is place.
    pub(super) fn send(&mut self, frame: Cow<'_, [u8]>, now: Instant) -> Result<(), DropReason> {
        if self.queue.is_empty() {
            match self.try_send(&frame, now) {
                Sent::Yes => return Ok(()),
                Sent::Full => self.retry = Some(now + self.pause),
                Sent::Absent => return Err(DropReason::NoPeer),
            }
        }
        if self.queue.len() >= QUEUE.0 || self.queued + frame.len() > QUEUE.1 {
            return Err(DropReason::QueueFull);
        }
        self.queued += frame.len();
        self.queue.push_back(frame.into_owned());
        Ok(())
    }

    /// Sends what waits, as far as it goes; how many were sent, and how many
    /// are lost because the VMM is gone.
    pub(super) fn flush(&mut self, now: Instant) -> (u64, u64) {
        let mut sent = 0;
        self.retry = None;
        while let Some(frame) = self.queue.pop_front() {
            match self.try_send(&frame, now) {
                Sent::Yes => {
                    self.queued -= frame.len();
                    self.pause = RETRY.0;
                    sent += 1;
                }
                Sent::Full => {
                    self.queue.push_front(frame);
                    self.retry = Some(now + self.pause);
                    self.pause = (self.pause * 2).min(RETRY.1);
                    break;
                }
                Sent::Absent => {
                    let lost = 1 + self.queue.len() as u64;
                    self.queue.clear();
                    self.queued = 0;
                    return (sent, lost);
                }
            }
        }
        (sent, 0)
    }

    fn try_send(&mut self, frame: &[u8], now: Instant) -> Sent {
        // A second try if the VMM that we were connected to is gone.
        for _ in 0..2 {
            if !self.connected && !self.connect(now) {
                return Sent::Absent;
            }
            match self.out.send(frame) {
                Ok(_) => return Sent::Yes,
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

    fn connect(&mut self, now: Instant) -> bool {
        if self.absent_until.is_some_and(|until| now < until) {
            return false;
        }
        self.connected = self.out.connect(&self.peer).is_ok();
        self.absent_until = (!self.connected).then(|| now + ABSENCE);
        self.connected
    }
}

enum Sent {
    Yes,
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

//! The agent's port: a virtio-serial port, found by its name.
//!
//! ```text
//!          HUP gone                 preamble
//! Closed ───────────► Searching ─────────────► Talking ◄─┐ preamble
//!    ▲                    │                       │  └────┘
//!    └────── read = 0 ────┴───────────────────────┘
//! ```
//!
//! poll(2) reports POLLHUP on the port for as long as no host has opened it,
//! wanted or not. So a closed port is watched through an edge-triggered
//! epoll(7) instance, which fires once when the state changes.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use stack_protocol::PORT_NAME;
use stack_protocol::frame::{Decoder, Frame, MAX_CONFIGURE, Preamble};

/// Beyond this many bytes on their way, nothing is added that can wait.
const ROOM: usize = 256 << 10;
/// Reads in one turn: a talkative host must not keep the agent from the rest.
const TURN: usize = 64;

#[derive(Debug, PartialEq, Eq)]
enum State {
    Closed,
    Searching,
    Talking,
}

/// What came from the host.
pub(crate) enum Received {
    /// A conversation begins; whatever was under way in the one before is
    /// void.
    Conversation,
    /// A frame.
    Frame(Frame),
    /// The host has closed the port.
    Closed,
}

/// The port.
pub(crate) struct Port {
    file: File,
    changes: Epoll,
    state: State,
    decoder: Decoder,
    outgoing: Vec<u8>,
    written: usize,
}

impl Port {
    /// Opens the port; waits for the device for some seconds.
    pub(crate) fn open() -> io::Result<Port> {
        let mut path = find();
        for _ in 0..500 {
            if path.is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
            path = find();
        }
        let path = path.ok_or_else(|| io::Error::other(format!("no port named {PORT_NAME}")))?;
        let file = File::options()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)?;
        let changes = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        changes.add(
            &file,
            EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, 0),
        )?;
        Ok(Port {
            file,
            changes,
            state: State::Closed,
            decoder: Decoder::with_limit(MAX_CONFIGURE),
            outgoing: Vec::new(),
            written: 0,
        })
    }

    /// What to poll, and for what.
    pub(crate) fn interest(&self) -> (BorrowedFd<'_>, PollFlags) {
        if self.state == State::Closed {
            return (self.changes.0.as_fd(), PollFlags::POLLIN);
        }
        let pending = self.written < self.outgoing.len();
        let writing = if pending {
            PollFlags::POLLOUT
        } else {
            PollFlags::empty()
        };
        (self.file.as_fd(), PollFlags::POLLIN | writing)
    }

    /// A host listens.
    pub(crate) fn is_talking(&self) -> bool {
        self.state == State::Talking
    }

    /// More may be sent without piling up.
    pub(crate) fn has_room(&self) -> bool {
        self.is_talking() && self.outgoing.len() - self.written < ROOM
    }

    /// Puts a frame on its way; it is dropped when nobody listens.
    pub(crate) fn send(&mut self, frame: &Frame) {
        if self.is_talking() {
            frame.encode(&mut self.outgoing);
        }
    }

    /// Reads what is there. Call it when [`interest`](Self::interest) is met.
    pub(crate) fn receive(&mut self) -> io::Result<Vec<Received>> {
        let mut received = Vec::new();
        if self.state == State::Closed {
            let mut events = [EpollEvent::empty()];
            self.changes.wait(&mut events, EpollTimeout::ZERO)?;
            let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::ZERO)?;
            if fds[0]
                .revents()
                .is_some_and(|found| found.contains(PollFlags::POLLHUP))
            {
                return Ok(received);
            }
            self.state = State::Searching;
        }
        // The driver gives one page at most, and never bytes of two host
        // connections in one piece.
        let mut buffer = [0; 4096];
        for _ in 0..TURN {
            match self.file.read(&mut buffer) {
                Ok(0) => {
                    self.state = State::Closed;
                    self.decoder.clear();
                    self.outgoing.clear();
                    self.written = 0;
                    received.push(Received::Closed);
                    break;
                }
                Ok(read) => self.take(&buffer[..read], &mut received),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(received)
    }

    fn take(&mut self, piece: &[u8], received: &mut Vec<Received>) {
        // A host that died in the middle of a frame, with another one in its
        // place before this side saw the port closed.
        if self.is_talking()
            && self.decoder.is_inside_frame()
            && piece.starts_with(&Preamble::MAGIC)
        {
            self.state = State::Searching;
            self.decoder.clear();
        }
        self.decoder.push(piece);
        loop {
            if self.state == State::Searching {
                let Some(nonce) = self.decoder.find_preamble() else {
                    return;
                };
                self.outgoing.clear();
                self.written = 0;
                self.outgoing.extend_from_slice(&Preamble::bytes(nonce));
                self.state = State::Talking;
                received.push(Received::Conversation);
            }
            match self.decoder.next_frame() {
                Ok(Some(frame)) => received.push(Received::Frame(frame)),
                Ok(None) => return,
                Err(_) => self.state = State::Searching,
            }
        }
    }

    /// Writes what the port takes now.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while self.state != State::Closed && self.written < self.outgoing.len() {
            match self.file.write(&self.outgoing[self.written..]) {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.written == self.outgoing.len() {
            self.outgoing.clear();
            self.written = 0;
        } else if self.written > ROOM {
            self.outgoing.drain(..self.written);
            self.written = 0;
        }
        Ok(())
    }

    /// Writes everything and waits until the host's end has it, for `limit` at most.
    pub(crate) fn finish(&mut self, limit: Duration) {
        let deadline = std::time::Instant::now() + limit;
        while self.flush().is_ok() && self.state != State::Closed {
            let all = self.outgoing.is_empty();
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
            // Nothing more is taken before the last piece has been
            // (`will_write_block`, drivers/char/virtio_console.c).
            let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
            let polled = poll(&mut fds, timeout);
            // Without a host's end it is ready to hang up, and takes nothing.
            let takes = fds[0]
                .revents()
                .is_some_and(|r| r.contains(PollFlags::POLLOUT));
            if all || left.is_zero() || polled.is_err() || !takes {
                return;
            }
        }
    }
}

fn find() -> Option<PathBuf> {
    let entries = fs::read_dir("/sys/class/virtio-ports").ok()?;
    entries.flatten().find_map(|entry| {
        let name = fs::read_to_string(entry.path().join("name")).ok()?;
        (name.trim() == PORT_NAME).then(|| PathBuf::from("/dev").join(entry.file_name()))
    })
}

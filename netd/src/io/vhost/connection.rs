//! One VMM's connection: its requests, and which descriptors are polled.

use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mio::unix::SourceFd;
use mio::{Interest, Token};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, recv};
use vhost::vhost_user::BackendReqHandler;

use super::super::sources::{Source, Sources};
use super::session::{RECEIVE, Session, TRANSMIT};
use crate::ids::PortId;

/// Bytes before each request: kind, flags, length.
const HEADER: usize = 12;

/// The connection.
pub(super) struct Connection {
    id: PortId,
    socket: UnixStream,
    requests: BackendReqHandler<Mutex<Session>>,
    session: Arc<Mutex<Session>>,
    token: Token,
    kicks: [Option<(RawFd, Token)>; 2],
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Serves a VMM that has just connected.
    pub(super) fn new(
        id: PortId,
        socket: UnixStream,
        sources: &mut Sources,
    ) -> io::Result<Connection> {
        let token = sources.add(
            &mut SourceFd(&socket.as_raw_fd()),
            Interest::READABLE,
            Source::Vmm(id),
        )?;
        let session = Arc::new(Mutex::new(Session::default()));
        let own = socket.try_clone()?;
        Ok(Connection {
            id,
            socket,
            requests: BackendReqHandler::from_stream(own, Arc::clone(&session)),
            session,
            token,
            kicks: [None, None],
        })
    }

    /// What has been set up.
    pub(super) fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers the requests that are there. An error is the end of the
    /// connection.
    pub(super) fn answer(&mut self, sources: &mut Sources) -> Result<(), String> {
        while is_whole(&self.socket).map_err(|error| error.to_string())? {
            self.requests
                .handle_request()
                .map_err(|error| error.to_string())?;
            self.rewire(sources).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Polls the kicks that there are now.
    fn rewire(&mut self, sources: &mut Sources) -> io::Result<()> {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::take(&mut session.rewired) {
            return Ok(());
        }
        for (fd, token) in self.kicks.iter_mut().filter_map(Option::take) {
            sources.remove(&mut SourceFd(&fd), token);
        }
        session.retired.clear();
        for (ring, source) in [
            (TRANSMIT, Source::Frames(self.id)),
            (RECEIVE, Source::FramesOut(self.id)),
        ] {
            if let Some(kick) = &session.rings[ring].kick {
                let fd = kick.as_raw_fd();
                let token = sources.add(&mut SourceFd(&fd), Interest::READABLE, source)?;
                self.kicks[ring] = Some((fd, token));
            }
        }
        Ok(())
    }

    /// Cuts it off: the poller will tell, and [`close`](Self::close) follows.
    pub(super) fn cut(&self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    /// Ends it; the VM's memory is unmapped.
    pub(super) fn close(mut self, sources: &mut Sources) {
        for (fd, token) in self.kicks.iter_mut().filter_map(Option::take) {
            sources.remove(&mut SourceFd(&fd), token);
        }
        let fd = self.socket.as_raw_fd();
        sources.remove(&mut SourceFd(&fd), self.token);
    }
}

/// A whole request has come, and there is place for its answer: then handling
/// it does not block, as the library would. A VMM that does not read the
/// answers is as good as gone.
fn is_whole(socket: &UnixStream) -> io::Result<bool> {
    let mut header = [0; HEADER];
    let peeked = match recv(socket, &mut header, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok((peeked, _)) => peeked,
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
        Err(error) if error.kind() == ErrorKind::Interrupted => return is_whole(socket),
        Err(error) => return Err(error.into()),
    };
    if peeked == 0 {
        return Err(io::Error::new(ErrorKind::UnexpectedEof, "it hung up"));
    }
    let size = u32::from_ne_bytes([header[8], header[9], header[10], header[11]]);
    let size = u64::from(size) + HEADER as u64;
    let waiting = rustix::io::ioctl_fionread(socket)?;
    // A wrong size is for the library to refuse: the header is enough.
    let needed = if size > vhost::vhost_user::message::MAX_MSG_SIZE as u64 {
        HEADER as u64
    } else {
        size
    };
    if peeked < HEADER || waiting < needed {
        return Ok(false);
    }
    let mut writable = [PollFd::new(socket, PollFlags::OUT)];
    poll(&mut writable, Some(&Timespec::default()))?;
    match writable[0].revents().contains(PollFlags::OUT) {
        true => Ok(true),
        false => Err(io::Error::other("it does not read what it is answered")),
    }
}

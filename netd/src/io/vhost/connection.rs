//! One VMM's connection: its requests, and which descriptors are polled.

use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mio::unix::SourceFd;
use mio::{Interest, Token};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use vhost::vhost_user::message::{FrontendReq, MAX_MSG_SIZE};
use vhost::vhost_user::{BackendReqHandler, Error, VhostUserBackendReqHandlerMut};

use super::super::sources::{Source, Sources};
use super::session::{RECEIVE, Session, TRANSMIT};
use crate::ids::PortId;

/// Bytes before each request: kind, flags, length.
const HEADER: usize = 12;
/// Flags of a message: the version, that it is an answer, that it wants one.
const VERSION: u32 = 1;
const REPLY: u32 = 1 << 2;
const NEED_REPLY: u32 = 1 << 3;

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
        while let Some(request) = next(&self.socket).map_err(|error| error.to_string())? {
            let early = request.is(FrontendReq::SET_VRING_ENABLE) && !self.session().chosen;
            let handled = match early {
                true => self.enable_early(request),
                false => self.requests.handle_request(),
            };
            handled.map_err(|error| error.to_string())?;
            self.rewire(sources).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// QEMU enables rings before it says which features were chosen when it
    /// connects again, and the library refuses that.
    fn enable_early(&self, request: Request) -> vhost::vhost_user::Result<()> {
        let mut message = [0; HEADER + 8];
        let (read, _) = recv(&self.socket, &mut message, RecvFlags::DONTWAIT)
            .map_err(|error| Error::SocketError(error.into()))?;
        if read != message.len() || request.size != 8 {
            return Err(Error::InvalidMessage);
        }
        let word = |at: usize| u32::from_ne_bytes([0, 1, 2, 3].map(|n| message[at + n]));
        let (index, enable) = (word(HEADER), word(HEADER + 4));
        let outcome = self.session().set_vring_enable(index, enable == 1);
        if request.flags & NEED_REPLY != 0 {
            let words = [request.kind, VERSION | REPLY, 8, outcome.is_err().into(), 0];
            let answer = words.map(u32::to_ne_bytes).concat();
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            send(&self.socket, &answer, flags).map_err(|error| Error::SocketError(error.into()))?;
        }
        outcome
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

/// A request's header.
#[derive(Debug, Clone, Copy)]
struct Request {
    kind: u32,
    flags: u32,
    size: u32,
}

impl Request {
    fn is(self, kind: FrontendReq) -> bool {
        self.kind == u32::from(kind)
    }
}

/// The next request, if it has come as a whole, and there is place for its
/// answer: then handling it does not block, as the library would. A VMM that
/// does not read the answers is as good as gone.
fn next(socket: &UnixStream) -> io::Result<Option<Request>> {
    let mut header = [0; HEADER];
    let peeked = match recv(socket, &mut header, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok((peeked, _)) => peeked,
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
        Err(error) if error.kind() == ErrorKind::Interrupted => return next(socket),
        Err(error) => return Err(error.into()),
    };
    if peeked == 0 {
        return Err(io::Error::new(ErrorKind::UnexpectedEof, "it hung up"));
    }
    let word = |at: usize| u32::from_ne_bytes([0, 1, 2, 3].map(|n| header[at + n]));
    let request = Request {
        kind: word(0),
        flags: word(4),
        size: word(8),
    };
    // A wrong size is for the library to refuse, and the header enough.
    let body = Some(request.size as usize).filter(|size| *size <= MAX_MSG_SIZE);
    let needed = (HEADER + body.unwrap_or(0)) as u64;
    if peeked < HEADER || rustix::io::ioctl_fionread(socket)? < needed {
        return Ok(None);
    }
    let mut writable = [PollFd::new(socket, PollFlags::OUT)];
    poll(&mut writable, Some(&Timespec::default()))?;
    match writable[0].revents().contains(PollFlags::OUT) {
        true => Ok(Some(request)),
        false => Err(io::Error::other("it does not read what it is answered")),
    }
}

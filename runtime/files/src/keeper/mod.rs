//! The keeper: everything that a VM's file system needs to go on when the
//! server dies, and nothing else. It touches neither requests nor files.

pub(crate) mod device;
mod process;
mod session;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Child;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::control::{self, Request, Response};
use crate::link::{self, ToKeeper, ToServer};
use session::Session;

/// Without a VM it ends after this.
const IDLE: Duration = Duration::from_secs(2);
/// A server that ends sooner than this after its start waits before the next.
const RESPITE: Duration = Duration::from_secs(1);
/// Before a connection is taken again that could not be.
const BREATH: Duration = Duration::from_millis(100);

/// All that is kept.
pub(crate) struct Keeper {
    state: Mutex<State>,
}

struct State {
    sessions: BTreeMap<u64, Session>,
    next: u64,
    server: Option<Running>,
    idle_since: Instant,
}

struct Running {
    child: Child,
    link: Arc<OwnedFd>,
}

impl Keeper {
    fn new() -> Arc<Keeper> {
        Arc::new(Keeper {
            state: Mutex::new(State {
                sessions: BTreeMap::new(),
                next: 1,
                server: None,
                idle_since: Instant::now(),
            }),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Tells the server, if there is one: the next one is told everything.
    fn tell(&self, message: &ToServer, fds: &[std::os::fd::BorrowedFd<'_>]) -> io::Result<()> {
        if let Some(server) = &self.server
            && let Err(error) = link::send(&*server.link, message, fds)
        {
            match error.kind() {
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {}
                _ => return Err(error),
            }
        }
        Ok(())
    }
}

/// Serves until there has been no VM for a while.
///
/// # Errors
/// The control socket or the server's process cannot be made.
pub fn run(socket: &Path) -> io::Result<()> {
    raise_limit();
    // Whoever took its socket away would end its VMs.
    if UnixStream::connect(socket).is_ok() {
        return Err(io::Error::from(io::ErrorKind::AddrInUse));
    }
    let _ = std::fs::remove_file(socket);
    let listener = UnixListener::bind(socket)?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    let keeper = Keeper::new();
    let own = Arc::clone(&keeper);
    let thread = std::thread::Builder::new().name("supervise".to_owned());
    thread.spawn(move || supervise(&own))?;
    loop {
        let mut poll = [rustix::event::PollFd::new(
            &listener,
            rustix::event::PollFlags::IN,
        )];
        let second = rustix::event::Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        };
        let _ = rustix::event::poll(&mut poll, Some(&second));
        match listener.accept() {
            Ok((mut stream, _)) => {
                stream.set_nonblocking(false)?;
                stream.set_read_timeout(Some(Duration::from_secs(5)))?;
                let answer = match control::read(&stream) {
                    Ok(request) => answer(&keeper, request),
                    Err(error) => Response::Error {
                        message: error.to_string(),
                    },
                };
                let _ = control::write(&mut stream, &answer);
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // Too many open files: whoever waits goes on waiting.
            Err(_) => std::thread::sleep(BREATH),
        }
        let mut state = keeper.state();
        if !state.sessions.is_empty() {
            state.idle_since = Instant::now();
        } else if state.idle_since.elapsed() > IDLE {
            let _ = std::fs::remove_file(socket);
            return Ok(());
        }
    }
}

fn answer(keeper: &Arc<Keeper>, request: Request) -> Response {
    let done = match request {
        Request::Open(spec) => session::open(keeper, spec),
        Request::Close { id } => {
            session::close_named(keeper, &id);
            Ok(())
        }
        Request::Status => {
            let state = keeper.state();
            return Response::Status {
                keeper: std::process::id(),
                server: state.server.as_ref().map_or(0, |server| server.child.id()),
                sessions: state.sessions.values().map(|s| s.spec.id.clone()).collect(),
            };
        }
    };
    match done {
        Ok(()) => Response::Done,
        Err(error) => Response::Error {
            message: error.to_string(),
        },
    }
}

/// Has a server at all times. Its thread never ends: a server ends with the
/// thread that started it (`PR_SET_PDEATHSIG` of prctl(2)).
fn supervise(keeper: &Arc<Keeper>) {
    loop {
        let began = Instant::now();
        match start(keeper) {
            Ok(link) => {
                listen(keeper, &link);
                tracing::warn!("the server is gone: starting it again");
            }
            Err(error) => tracing::error!(%error, "the server cannot be started"),
        }
        let server = keeper.state().server.take();
        if let Some(mut server) = server {
            let _ = server.child.kill();
            let _ = server.child.wait();
        }
        if began.elapsed() < RESPITE {
            std::thread::sleep(RESPITE);
        }
    }
}

/// Starts a server and tells it all; gives the link to it.
fn start(keeper: &Arc<Keeper>) -> io::Result<Arc<OwnedFd>> {
    let mut state = keeper.state();
    let (child, link) = process::start()?;
    let link = Arc::new(link);
    state.server = Some(Running {
        child,
        link: Arc::clone(&link),
    });
    for (id, session) in &state.sessions {
        session.tell_open(&state, *id)?;
    }
    for (id, session) in &state.sessions {
        session.tell_rings(&state, *id)?;
    }
    Ok(link)
}

/// Takes the server's messages until it ends.
fn listen(keeper: &Arc<Keeper>, link: &OwnedFd) {
    loop {
        match link::receive::<ToKeeper>(link.as_fd()) {
            Ok(Some((message, fds))) => session::note(keeper, message, fds),
            Ok(None) => return,
            Err(error) => {
                tracing::error!(%error, "the server says what makes no sense");
                return;
            }
        }
    }
}

fn raise_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}

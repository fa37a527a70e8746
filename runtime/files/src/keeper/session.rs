//! One VM: its connection, and what the server needs to serve it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, Mode, OFlags, ResolveFlags};
use vhost::vhost_user::BackendReqHandler;

use super::device::{Device, Rings};
use super::{Keeper, State};
use crate::link::{self, Region, Ring, ToKeeper, ToServer};
use crate::server::inflight;
use crate::spec::{self, Kind};

/// A queue that has not stopped by then is given up.
const STOP: Duration = Duration::from_secs(10);
/// A VMM that has not come by then was never started. What was kept for it would
/// stay for ever.
const COMES: Duration = Duration::from_secs(120);

/// One VM.
pub(super) struct Session {
    pub(super) spec: spec::Session,
    roots: Vec<OwnedFd>,
    journal: OwnedFd,
    table: OwnedFd,
    held: BTreeMap<u64, OwnedFd>,
    memory: Option<(Vec<Region>, Vec<File>)>,
    rings: BTreeMap<u32, (Ring, File, File)>,
    /// The VMM's connection, to end it.
    stream: Option<UnixStream>,
    stopped: Sender<(u32, u16)>,
}

impl Session {
    /// Tells a server about the VM, without its queues.
    pub(super) fn tell_open(&self, state: &State, id: u64) -> io::Result<()> {
        let mut fds = vec![self.journal.as_fd(), self.table.as_fd()];
        fds.extend(self.roots.iter().map(AsFd::as_fd));
        let shares = self.spec.shares.clone();
        state.tell(
            &ToServer::Open {
                session: id,
                shares,
            },
            &fds,
        )?;
        for (node, file) in &self.held {
            let held = ToServer::Held {
                session: id,
                node: *node,
            };
            state.tell(&held, &[file.as_fd()])?;
        }
        Ok(())
    }

    /// Tells a server about memory and queues.
    pub(super) fn tell_rings(&self, state: &State, id: u64) -> io::Result<()> {
        let Some((regions, files)) = &self.memory else {
            return Ok(());
        };
        let fds: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
        let regions = regions.clone();
        state.tell(
            &ToServer::Memory {
                session: id,
                regions,
            },
            &fds,
        )?;
        for (ring, kick, call) in self.rings.values() {
            let start = ToServer::Start {
                session: id,
                ring: *ring,
            };
            state.tell(&start, &[kick.as_fd(), call.as_fd()])?;
        }
        Ok(())
    }
}

/// Makes a VM's socket and waits for its VMM on a thread.
pub(super) fn open(keeper: &Arc<Keeper>, spec: spec::Session) -> io::Result<()> {
    close_named(keeper, &spec.id);
    if spec.shares.len() > link::SHARES {
        let most = link::SHARES;
        return Err(io::Error::other(format!(
            "a VM has at most {most} mounts of files"
        )));
    }
    let roots = spec.shares.iter().map(root).collect::<io::Result<_>>()?;
    let memfd = |name: &str| rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC);
    let table = memfd("rings")?;
    rustix::fs::ftruncate(&table, inflight::SIZE as u64)?;
    let _ = std::fs::remove_file(&spec.socket);
    let listener = UnixListener::bind(&spec.socket)
        .map_err(|error| io::Error::other(format!("{}: {error}", spec.socket.display())))?;
    listener.set_nonblocking(true)?;
    let (stopped, stops) = channel();
    let session = Session {
        spec,
        roots,
        journal: memfd("journal")?,
        table,
        held: BTreeMap::new(),
        memory: None,
        rings: BTreeMap::new(),
        stream: None,
        stopped,
    };
    let mut state = keeper.state();
    let id = state.next;
    state.next += 1;
    session.tell_open(&state, id)?;
    state.sessions.insert(id, session);
    drop(state);
    let own = Arc::clone(keeper);
    let work = move || {
        serve(&own, id, &listener, stops);
        close(&own, id);
    };
    let thread = std::thread::Builder::new().name("session".to_owned());
    if let Err(error) = thread.spawn(work) {
        close(keeper, id);
        return Err(io::Error::other(format!(
            "there is no room for a thread: {error}"
        )));
    }
    Ok(())
}

fn root(share: &spec::Share) -> io::Result<OwnedFd> {
    let path = match share.kind {
        Kind::Volume | Kind::Bind => Some(share.path.as_path()),
        Kind::File => share.path.parent(),
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // Where the user's links lead has been decided. One that is there now may be
    // a guest's that has the directory above.
    let how = match share.kind {
        Kind::Volume => ResolveFlags::empty(),
        Kind::Bind | Kind::File => ResolveFlags::NO_SYMLINKS,
    };
    let path = path.unwrap_or(&share.path);
    rustix::fs::openat2(rustix::fs::CWD, path, flags, Mode::empty(), how).map_err(|error| {
        let path = share.path.display();
        io::Error::other(match error {
            rustix::io::Errno::LOOP => format!(
                "{path}: there is a symbolic link in it now: `stack up --force-recreate` follows it"
            ),
            error => format!("{path}: {error}"),
        })
    })
}

fn serve(keeper: &Arc<Keeper>, id: u64, listener: &UnixListener, stops: Receiver<(u32, u16)>) {
    let Some(stream) = connection(keeper, id, listener, COMES) else {
        return;
    };
    let _ = stream.set_nonblocking(false);
    if let Some(session) = keeper.state().sessions.get_mut(&id) {
        session.stream = stream.try_clone().ok();
    }
    let rings = ToTheServer {
        keeper: Arc::clone(keeper),
        id,
        stops,
    };
    let device = Arc::new(Mutex::new(Device::new(rings)));
    let mut handler = BackendReqHandler::from_stream(stream, device);
    loop {
        match handler.handle_request() {
            Ok(()) => {}
            Err(vhost::vhost_user::Error::Disconnected) => return,
            Err(error) => {
                tracing::warn!(%error, session = id, "the VMM's connection ends");
                return;
            }
        }
    }
}

/// The VMM's connection, if it comes in time.
fn connection(
    keeper: &Keeper,
    id: u64,
    listener: &UnixListener,
    within: Duration,
) -> Option<UnixStream> {
    let began = Instant::now();
    loop {
        match listener.accept() {
            Ok((stream, _)) => return Some(stream),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
        // Another one of this name has come, or the VM did not.
        if !keeper.state().sessions.contains_key(&id) {
            return None;
        }
        if began.elapsed() > within {
            tracing::warn!(session = id, "nobody has come for a VM's files");
            return None;
        }
        let mut poll = [rustix::event::PollFd::new(
            listener,
            rustix::event::PollFlags::IN,
        )];
        let while_waiting = rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: 200_000_000,
        };
        let _ = rustix::event::poll(&mut poll, Some(&while_waiting));
    }
}

/// Ends the VM of this name, if there is one.
pub(super) fn close_named(keeper: &Arc<Keeper>, name: &str) {
    let state = keeper.state();
    let found = state
        .sessions
        .iter()
        .find(|(_, session)| session.spec.id == name);
    let Some(id) = found.map(|(id, _)| *id) else {
        return;
    };
    drop(state);
    close(keeper, id);
}

fn close(keeper: &Arc<Keeper>, id: u64) {
    let mut state = keeper.state();
    let Some(session) = state.sessions.remove(&id) else {
        return;
    };
    if let Some(stream) = session.stream {
        let _ = stream.shutdown(std::net::Shutdown::Both);
    }
    let _ = std::fs::remove_file(&session.spec.socket);
    if let Err(error) = state.tell(&ToServer::Close { session: id }, &[]) {
        tracing::error!(%error, "a VM cannot be closed");
    }
}

/// Ends a VM that cannot be served: without its files it would hang for ever, and
/// no other server would have more room.
fn fail(keeper: &Arc<Keeper>, id: u64) {
    let state = keeper.state();
    let stream = state.sessions.get(&id).and_then(|s| s.stream.as_ref());
    let vmm = stream.and_then(|stream| rustix::net::sockopt::socket_peercred(stream).ok());
    drop(state);
    if let Some(vmm) = vmm {
        tracing::error!(session = id, vmm = ?vmm.pid, "its machine ends");
        let _ = rustix::process::kill_process(vmm.pid, rustix::process::Signal::KILL);
    }
    close(keeper, id);
}

/// Takes a message of the server.
pub(super) fn note(keeper: &Arc<Keeper>, message: ToKeeper, mut fds: Vec<OwnedFd>) {
    if let ToKeeper::Failed { session } = message {
        return fail(keeper, session);
    }
    let mut state = keeper.state();
    let (ToKeeper::Stopped { session, .. }
    | ToKeeper::Hold { session, .. }
    | ToKeeper::Release { session, .. }
    | ToKeeper::Journal { session }
    | ToKeeper::Failed { session }) = message;
    let Some(known) = state.sessions.get_mut(&session) else {
        return;
    };
    match (message, fds.pop()) {
        (ToKeeper::Stopped { index, base, .. }, _) => {
            let _ = known.stopped.send((index, base));
        }
        (ToKeeper::Hold { node, .. }, Some(file)) => {
            known.held.insert(node, file);
        }
        (ToKeeper::Release { node, .. }, _) => {
            known.held.remove(&node);
        }
        (ToKeeper::Journal { .. }, Some(file)) => known.journal = file,
        (ToKeeper::Failed { .. }, _) => {}
        (ToKeeper::Hold { .. } | ToKeeper::Journal { .. }, None) => {
            tracing::error!("the server sent no descriptor");
        }
    }
}

/// The queues are the server's.
struct ToTheServer {
    keeper: Arc<Keeper>,
    id: u64,
    stops: Receiver<(u32, u16)>,
}

impl ToTheServer {
    fn with<T>(
        &self,
        act: impl FnOnce(&mut Session) -> io::Result<T>,
        tell: impl FnOnce(&State, &Session) -> io::Result<()>,
    ) -> io::Result<T> {
        let mut state = self.keeper.state();
        let gone = || io::Error::other("the VM was closed");
        let result = act(state.sessions.get_mut(&self.id).ok_or_else(gone)?)?;
        tell(&state, state.sessions.get(&self.id).ok_or_else(gone)?)?;
        Ok(result)
    }
}

impl Rings for ToTheServer {
    fn memory(&mut self, regions: &[Region], files: &[File]) -> io::Result<()> {
        let files = files
            .iter()
            .map(File::try_clone)
            .collect::<io::Result<_>>()?;
        let id = self.id;
        self.with(
            |session| {
                session.memory = Some((regions.to_vec(), files));
                Ok(())
            },
            |state, session| session.tell_rings(state, id),
        )
    }

    fn start(&mut self, ring: Ring, base: u16, kick: &File, call: &File) -> io::Result<()> {
        let files = (kick.try_clone()?, call.try_clone()?);
        let id = self.id;
        self.with(
            |session| {
                inflight::prepare(&session.table, ring.index, base)?;
                session.rings.insert(ring.index, (ring, files.0, files.1));
                Ok(())
            },
            |state, _| {
                let start = ToServer::Start { session: id, ring };
                state.tell(&start, &[kick.as_fd(), call.as_fd()])
            },
        )
    }

    fn stop(&mut self, index: u32) -> io::Result<u16> {
        let id = self.id;
        while self.stops.try_recv().is_ok() {}
        self.with(
            |session| {
                session.rings.remove(&index);
                Ok(())
            },
            |state, _| state.tell(&ToServer::Stop { session: id, index }, &[]),
        )?;
        loop {
            match self.stops.recv_timeout(STOP) {
                Ok((stopped, base)) if stopped == index => return Ok(base),
                Ok(_) => {}
                // The server died meanwhile, and the next one never ran the
                // queue: how far it had come is in the table.
                Err(_) => {
                    return self.with(
                        |session| inflight::base(&session.table, index),
                        |_, _| Ok(()),
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_in_place_of_a_directory_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(top.join("secret/data")).unwrap();
        std::os::unix::fs::symlink("secret", top.join("app")).unwrap();
        let open = |path: &str, kind| {
            root(&spec::Share {
                path: top.join(path),
                kind,
                read_only: false,
                cache_ms: 0,
            })
        };
        for path in ["app", "app/data"] {
            let error = open(path, Kind::Bind).unwrap_err().to_string();
            assert!(error.contains("symbolic link"), "{error}");
        }
        assert!(open("app/file", Kind::File).is_err());
        assert!(open("secret/data", Kind::Bind).is_ok());
        // Ours may be reached by a link of the user's.
        assert!(open("app/data", Kind::Volume).is_ok());
    }

    /// A keeper with one VM, whose socket is this.
    fn with_one(dir: &std::path::Path) -> (Arc<Keeper>, std::path::PathBuf) {
        let keeper = Keeper::new();
        let socket = dir.join("files");
        let spec = spec::Session {
            id: "one".to_owned(),
            socket: socket.clone(),
            shares: vec![spec::Share {
                path: dir.canonicalize().unwrap(),
                kind: Kind::Bind,
                read_only: false,
                cache_ms: 0,
            }],
        };
        open(&keeper, spec).unwrap();
        assert!(socket.exists());
        (keeper, socket)
    }

    #[test]
    fn what_is_kept_for_a_vm_that_never_comes_goes() {
        let dir = tempfile::tempdir().unwrap();
        let (keeper, _) = with_one(dir.path());
        let id = *keeper.state().sessions.keys().next().unwrap();
        let listener = UnixListener::bind(dir.path().join("nobody")).unwrap();
        listener.set_nonblocking(true).unwrap();
        let within = Duration::from_millis(1);
        assert!(connection(&keeper, id, &listener, within).is_none());
        assert!(keeper.state().sessions.contains_key(&id));
        close(&keeper, id);
        // No patience is needed for one that was closed.
        assert!(connection(&keeper, id, &listener, COMES).is_none());
    }

    #[test]
    fn a_vm_that_cannot_be_served_is_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (keeper, socket) = with_one(dir.path());
        let id = *keeper.state().sessions.keys().next().unwrap();
        note(&keeper, ToKeeper::Failed { session: id }, Vec::new());
        assert!(keeper.state().sessions.is_empty());
        assert!(!socket.exists());
    }
}

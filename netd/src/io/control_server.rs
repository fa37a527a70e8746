//! The control socket: lines in, lines out, nobody waits for anybody.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mio::net::{UnixListener, UnixStream};
use mio::{Interest, Token};

use super::frame_port::remove_socket;
use super::sources::{Source, Sources};
use crate::control::{MAX_LINE, Request, Response, line};

/// Clients at a time.
const MAX_CLIENTS: usize = 64;

/// Bytes that wait for a client at most, when it does not read.
const MAX_UNSENT: usize = 16 << 20;

/// A client that is neither done nor gone by then is cut off.
const PATIENCE: Duration = Duration::from_secs(10);

/// The socket and its clients.
#[derive(Debug)]
pub(super) struct ControlServer {
    path: PathBuf,
    listener: UnixListener,
    clients: HashMap<u64, Client>,
    last: u64,
}

#[derive(Debug)]
struct Client {
    stream: UnixStream,
    token: Token,
    received: Vec<u8>,
    unsent: Vec<u8>,
    // `None`: it may stay.
    deadline: Option<Instant>,
}

impl ControlServer {
    /// Listens at `path`, unless somebody else does.
    pub(super) fn open(path: &Path, sources: &mut Sources) -> io::Result<ControlServer> {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            let message = format!("a daemon serves {} already", path.display());
            return Err(io::Error::new(ErrorKind::AddrInUse, message));
        }
        remove_socket(path)?;
        let mut listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        sources.add(&mut listener, Interest::READABLE, Source::Control)?;
        Ok(ControlServer {
            path: path.to_path_buf(),
            listener,
            clients: HashMap::new(),
            last: 0,
        })
    }

    /// Takes the clients that wait.
    pub(super) fn accept(&mut self, sources: &mut Sources, now: Instant) {
        while let Ok((mut stream, _)) = self.listener.accept() {
            if self.clients.len() >= MAX_CLIENTS {
                continue;
            }
            self.last += 1;
            let interest = Interest::READABLE | Interest::WRITABLE;
            if let Ok(token) = sources.add(&mut stream, interest, Source::Client(self.last)) {
                let deadline = Some(now + PATIENCE);
                let (received, unsent) = (Vec::new(), Vec::new());
                self.clients.insert(
                    self.last,
                    Client {
                        stream,
                        token,
                        received,
                        unsent,
                        deadline,
                    },
                );
            }
        }
    }

    /// A client's socket has something: its request, when it is whole.
    pub(super) fn receive(&mut self, id: u64, sources: &mut Sources) -> Option<Request> {
        let client = self.clients.get_mut(&id)?;
        match client.receive() {
            Ok(None) => None,
            Ok(Some(line)) => match serde_json::from_slice(&line) {
                Ok(request) => Some(request),
                Err(error) => {
                    self.respond(
                        id,
                        &Response::Error {
                            message: error.to_string(),
                        },
                        sources,
                    );
                    None
                }
            },
            Err(_) => {
                self.forget(id, sources);
                None
            }
        }
    }

    /// Answers a client.
    pub(super) fn respond(&mut self, id: u64, response: &Response, sources: &mut Sources) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        let sent = line(response).and_then(|line| {
            client.unsent.extend_from_slice(&line);
            client.send()
        });
        if sent.is_err() {
            self.forget(id, sources);
        }
    }

    /// It is connected.
    pub(super) fn has(&self, id: u64) -> bool {
        self.clients.contains_key(&id)
    }

    /// Sends a client more than an answer. `false`: it is gone, or too slow
    /// for this.
    pub(super) fn push(&mut self, id: u64, bytes: &[u8], sources: &mut Sources) -> bool {
        let Some(client) = self.clients.get_mut(&id) else {
            return false;
        };
        if client.unsent.len() + bytes.len() > MAX_UNSENT {
            return false;
        }
        client.unsent.extend_from_slice(bytes);
        let sent = client.send();
        if sent.is_err() {
            self.forget(id, sources);
        }
        sent.is_ok()
    }

    /// A client's connection stays until it or the daemon ends.
    pub(super) fn keep(&mut self, id: u64) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.deadline = None;
        }
    }

    fn forget(&mut self, id: u64, sources: &mut Sources) {
        if let Some(mut client) = self.clients.remove(&id) {
            sources.remove(&mut client.stream, client.token);
        }
    }

    /// When [`expire`](Self::expire) has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let deadlines = self.clients.values();
        deadlines.filter_map(|client| client.deadline).min()
    }

    /// Cuts off the slow.
    pub(super) fn expire(&mut self, sources: &mut Sources, now: Instant) {
        let late = |(id, client): (&u64, &Client)| {
            client
                .deadline
                .is_some_and(|deadline| deadline <= now)
                .then_some(*id)
        };
        for id in self.clients.iter().filter_map(late).collect::<Vec<_>>() {
            self.forget(id, sources);
        }
    }

    /// Sends what can be sent and removes the socket.
    pub(super) fn close(mut self) {
        for client in self.clients.values_mut() {
            let _ = client.send();
        }
        if let Err(error) = remove_socket(&self.path) {
            tracing::warn!(%error, "the control socket stays");
        }
    }
}

impl Client {
    fn receive(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.send()?;
        let mut buffer = [0; 16 << 10];
        loop {
            if let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                let rest = self.received.split_off(end + 1);
                return Ok(Some(std::mem::replace(&mut self.received, rest)));
            }
            if self.received.len() > MAX_LINE {
                return Err(ErrorKind::InvalidData.into());
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(n) => self.received.extend_from_slice(&buffer[..n]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    fn send(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(n) => drop(self.unsent.drain(..n)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

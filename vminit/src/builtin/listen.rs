//! A socket in the service's file system whose connections the host serves
//! ([`stack_protocol::tunnel`]).

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use stack_protocol::tunnel::{self, MAX_CONNECTIONS, MAX_PIECE, Piece};

use crate::sys;

/// A client that takes nothing for so long is cut off: others wait.
const PATIENCE: Duration = Duration::from_secs(10);
/// Threads only copy.
const STACK: usize = 128 << 10;

/// Open connections by number.
type Clients = Arc<Mutex<BTreeMap<u32, UnixStream>>>;

/// Serves until the host ends the conversation. Only root may connect.
pub(crate) fn run(path: &Path) -> io::Result<()> {
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    let clients = Clients::default();
    let known = Arc::clone(&clients);
    thread::Builder::new()
        .stack_size(STACK)
        .spawn(move || accept(&listener, &known))?;
    say(0, &[])?;
    let mut input = io::stdin().lock();
    while let Some(piece) = tunnel::read(&mut input)? {
        deliver(&clients, &piece);
    }
    drop(fs::remove_file(path));
    sys::exit_now(0)
}

fn accept(listener: &UnixListener, clients: &Clients) {
    let mut number = 0;
    loop {
        let Ok((client, _)) = listener.accept() else {
            thread::sleep(Duration::from_millis(100));
            continue;
        };
        if lock(clients).len() >= MAX_CONNECTIONS {
            continue;
        }
        number += 1;
        let Ok(writer) = client.try_clone() else {
            continue;
        };
        drop(writer.set_write_timeout(Some(PATIENCE)));
        lock(clients).insert(number, writer);
        let known = Arc::clone(clients);
        let reading = thread::Builder::new()
            .stack_size(STACK)
            .spawn(move || forward(client, number, &known));
        if reading.is_err() {
            lock(clients).remove(&number);
        }
    }
}

/// What a client says, to the host.
fn forward(mut client: UnixStream, number: u32, clients: &Clients) {
    let mut buffer = vec![0; MAX_PIECE];
    loop {
        let read = client.read(&mut buffer).unwrap_or(0);
        // Without a host, there is nobody to go on for.
        if say(number, &buffer[..read]).is_err() {
            sys::exit_now(1);
        }
        if read == 0 {
            break;
        }
    }
    // The host's end follows, unless the client has gone altogether.
    if client.take_error().is_ok_and(|error| error.is_some()) {
        lock(clients).remove(&number);
    }
}

/// What the host says, to a client.
fn deliver(clients: &Clients, piece: &Piece) {
    let client = lock(clients)
        .get(&piece.connection)
        .and_then(|client| client.try_clone().ok());
    let Some(mut client) = client else {
        return;
    };
    if piece.bytes.is_empty() || client.write_all(&piece.bytes).is_err() {
        drop(client.shutdown(Shutdown::Both));
        lock(clients).remove(&piece.connection);
    }
}

fn say(connection: u32, bytes: &[u8]) -> io::Result<()> {
    let piece = Piece {
        connection,
        bytes: bytes.to_vec(),
    };
    tunnel::write(&mut io::stdout().lock(), &piece)
}

fn lock(clients: &Clients) -> MutexGuard<'_, BTreeMap<u32, UnixStream>> {
    clients.lock().unwrap_or_else(PoisonError::into_inner)
}

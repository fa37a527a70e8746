//! The keeper's control socket: one JSON line there, one JSON line back.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::spec::Session;

/// Longest line.
const LINE: u64 = 4 << 20;
/// An answer that takes longer does not come.
const LIMIT: Duration = Duration::from_secs(20);

/// What is asked of the keeper.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Make the socket of a VM's file system; one that is there under this
    /// name ends.
    Open(Session),
    /// End a VM's file system. Without it, it ends with the VMM's connection.
    Close {
        /// [`Session::id`].
        id: String,
    },
    /// What there is.
    Status,
}

/// The answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// Done.
    Done,
    /// State of the keeper.
    Status {
        /// Process of the keeper.
        keeper: u32,
        /// Process of the server.
        server: u32,
        /// VMs by name.
        sessions: Vec<String>,
    },
    /// Why not.
    Error {
        /// For the user.
        message: String,
    },
}

/// Asks the keeper.
///
/// # Errors
/// It is not there, or its answer makes no sense.
pub fn call(socket: &Path, request: &Request) -> io::Result<Response> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(LIMIT))?;
    write(&mut stream, request)?;
    read(&stream)
}

pub(crate) fn write<T: Serialize>(stream: &mut UnixStream, value: &T) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    stream.write_all(&line)
}

pub(crate) fn read<T: for<'a> Deserialize<'a>>(stream: &UnixStream) -> io::Result<T> {
    let mut line = Vec::new();
    BufReader::new(stream.take(LINE)).read_until(b'\n', &mut line)?;
    Ok(serde_json::from_slice(&line)?)
}

//! The control protocol: one JSON line asks, one JSON line answers.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::Config;

/// Longest line that either side reads, in bytes.
pub(crate) const MAX_LINE: usize = 16 << 20;

const TIMEOUT: Duration = Duration::from_secs(5);

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// Serve exactly this from now on.
    Apply(Config),
    /// How are you?
    Status,
    /// Keep this connection: its end is the end of the daemon.
    Watch,
    /// Copy the frames of these endpoints: after the answer comes a pcapng
    /// stream, until one side ends the connection.
    Capture(Vec<String>),
    /// End, and remove the sockets.
    Shutdown,
}

/// The answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Response {
    /// The configuration is served, but for the ports in `errors`.
    Applied {
        /// Ports that are bound.
        published: Vec<Published>,
        /// Ports that are not.
        errors: Vec<PublishError>,
    },
    /// Counters since the process began.
    Status {
        /// Process id.
        pid: u32,
        /// Endpoints that are served.
        endpoints: usize,
        /// Published ports that are bound.
        published: usize,
        /// TCP flows that exist now, and UDP associations.
        flows: usize,
        /// Frames from guests.
        frames_in: u64,
        /// Frames to guests.
        frames_out: u64,
        /// Frames that were dropped, by reason; zeroes are left out.
        drops: BTreeMap<String, u64>,
        /// Questions for names: all, and those that went to other servers.
        #[serde(default)]
        queries: (u64, u64),
        /// What passed, by endpoint.
        #[serde(default)]
        traffic: BTreeMap<String, Traffic>,
    },
    /// The connection stays.
    Watching,
    /// Frames follow.
    Capturing,
    /// The daemon ends.
    Stopping,
    /// The request was refused or failed; whatever it could still do for the
    /// other parts of a configuration, it did.
    Error {
        /// Why.
        message: String,
    },
}

/// What passed an endpoint, seen from its machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Frames to the machine.
    pub frames_received: u64,
    /// Their bytes, Ethernet headers included.
    pub bytes_received: u64,
    /// Frames from the machine.
    pub frames_sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
}

/// A published port that is bound.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Published {
    /// [`Publish::id`](crate::config::Publish::id).
    pub id: String,
    /// Where it listens.
    pub addresses: Vec<SocketAddr>,
}

/// A published port that could not be bound.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PublishError {
    /// [`Publish::id`](crate::config::Publish::id).
    pub id: String,
    /// What is in the way.
    #[serde(default)]
    pub kind: PublishErrorKind,
    /// Why, as a sentence.
    pub message: String,
    /// Who has the port, `nginx (pid 812)`, when that can be seen and it is
    /// no network daemon of a stack.
    pub holder: Option<String>,
}

/// Why a port cannot be bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublishErrorKind {
    /// Somebody has it.
    InUse,
    /// Ports below `net.ipv4.ip_unprivileged_port_start` need a privilege.
    Reserved,
    /// The host does not have the address.
    NoAddress,
    /// The endpoint is on an internal network.
    Internal,
    /// Something else.
    #[default]
    Other,
}

/// Asks the daemon at `socket` and waits for the answer.
///
/// # Errors
/// Nobody listens there, the answer took more than five seconds, or it is
/// not one.
pub fn call(socket: &Path, request: &Request) -> io::Result<Response> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(&line(request)?)?;
    let mut answer = Vec::new();
    BufReader::new(stream.take(MAX_LINE as u64)).read_until(b'\n', &mut answer)?;
    if answer.last() != Some(&b'\n') {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the answer is cut off",
        ));
    }
    Ok(serde_json::from_slice(&answer)?)
}

/// One message as a line.
pub(crate) fn line<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

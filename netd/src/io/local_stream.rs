//! Connections to sockets of the host's file system.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use mio::net::TcpStream;
use socket2::{Domain, SockAddr, Socket, Type};

/// Connects to the stream socket at `path`. Flows treat it like any other:
/// what they do with a stream both kinds can, and what only TCP can fails
/// without harm.
///
/// # Errors
/// Nobody listens there, or nobody accepts at the moment.
pub(super) fn local_stream(path: &Path) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)?;
    let stream = std::net::TcpStream::from(OwnedFd::from(socket));
    Ok(TcpStream::from_std(stream))
}

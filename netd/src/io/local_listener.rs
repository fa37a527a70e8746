//! Sockets in the host's file system that lead to guests.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::{Path, PathBuf};

use mio::net::{TcpStream, UnixListener};
use mio::{Interest, Token};
use socket2::Socket;

use super::sources::{Source, Sources};
use crate::ids::PublishId;

/// A socket that this process has bound.
#[derive(Debug)]
pub(super) struct LocalListener {
    path: PathBuf,
    // Device and inode: whoever puts another one there keeps it.
    file: Option<(u64, u64)>,
    socket: UnixListener,
    token: Token,
}

impl LocalListener {
    /// Watches a socket that is bound to `path`.
    pub(super) fn new(
        path: &Path,
        socket: Socket,
        id: PublishId,
        sources: &mut Sources,
    ) -> io::Result<LocalListener> {
        let mut socket = UnixListener::from_std(StdUnixListener::from(OwnedFd::from(socket)));
        let token = sources.add(&mut socket, Interest::READABLE, Source::Publish(id))?;
        Ok(LocalListener {
            path: path.to_path_buf(),
            file: file_at(path),
            socket,
            token,
        })
    }

    /// The next client. Flows treat its stream like any other (see
    /// `local_stream`), and the guest sees it as one of the host.
    pub(super) fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (client, _) = self.socket.accept()?;
        let client = std::net::TcpStream::from(OwnedFd::from(client));
        let host = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Ok((TcpStream::from_std(client), host))
    }

    /// Closes the socket and removes its path.
    pub(super) fn close(mut self, sources: &mut Sources) {
        sources.remove(&mut self.socket, self.token);
        if self.file.is_some()
            && file_at(&self.path) == self.file
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(%error, path = %self.path.display(), "a socket stays");
        }
    }
}

fn file_at(path: &Path) -> Option<(u64, u64)> {
    let found = std::fs::symlink_metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

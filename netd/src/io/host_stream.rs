//! The host's leg of a flow, and how bytes move between it and the guest's.

use std::io::{self, ErrorKind, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Token};
use socket2::{SockRef, TcpKeepalive};

use super::sources::{Source, Sources};
use crate::fabric::HostFailure;
use crate::ids::FlowId;
use crate::tcp::Connection;

/// Idle time after which the host's peer is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(7200);

/// Bytes asked for in one call when there is much to read: then they go
/// straight into the connection's queue. That takes as much memory as is asked
/// for, so what is short is copied.
const READ: usize = 256 << 10;

/// A socket of the host.
#[derive(Debug)]
pub(super) struct HostStream {
    stream: TcpStream,
    token: Token,
    connecting: bool,
    readable: bool,
    writable: bool,
    read_finished: bool,
    write_finished: bool,
}

/// What an event on the socket means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It is connected now.
    Connected,
    /// It did not connect.
    Failed(HostFailure),
    /// The other side reset it.
    Reset,
    /// It may be read or written.
    Ready,
}

impl HostStream {
    /// Starts to connect.
    pub(super) fn connect(to: SocketAddr, flow: FlowId, sources: &mut Sources) -> io::Result<Self> {
        HostStream::new(TcpStream::connect(to)?, true, flow, sources)
    }

    /// Takes a client's connection.
    pub(super) fn accepted(
        stream: TcpStream,
        flow: FlowId,
        sources: &mut Sources,
    ) -> io::Result<Self> {
        HostStream::new(stream, false, flow, sources)
    }

    fn new(
        mut stream: TcpStream,
        connecting: bool,
        flow: FlowId,
        sources: &mut Sources,
    ) -> io::Result<Self> {
        let _ = stream.set_nodelay(true);
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE);
        let _ = SockRef::from(&stream).set_tcp_keepalive(&keepalive);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let token = sources.add(&mut stream, interest, Source::Stream(flow))?;
        Ok(HostStream {
            stream,
            token,
            connecting,
            readable: false,
            writable: !connecting,
            read_finished: false,
            write_finished: false,
        })
    }

    /// Takes note of an event.
    pub(super) fn handle(&mut self, event: &Event) -> Progress {
        if self.connecting {
            return self.handle_connecting();
        }
        self.readable |= event.is_readable() || event.is_read_closed();
        self.writable |= event.is_writable();
        if event.is_error() {
            Progress::Reset
        } else {
            Progress::Ready
        }
    }

    fn handle_connecting(&mut self) -> Progress {
        match self.stream.take_error() {
            Ok(Some(error)) | Err(error) => Progress::Failed(failure(&error)),
            Ok(None) if self.stream.peer_addr().is_ok() => {
                self.connecting = false;
                self.readable = true;
                self.writable = true;
                Progress::Connected
            }
            Ok(None) => Progress::Ready,
        }
    }

    /// Moves what can be moved in both directions.
    ///
    /// # Errors
    /// The other side reset the connection.
    pub(super) fn pump(
        &mut self,
        connection: &mut Connection,
        buffer: &mut [u8],
    ) -> io::Result<()> {
        if self.connecting || !connection.moves() {
            return Ok(());
        }
        self.write(connection)?;
        self.read(connection, buffer)
    }

    /// Writes a segment's end straight away, if the socket takes it; how much
    /// of it went.
    ///
    /// # Errors
    /// The other side reset the connection.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut done = 0;
        while self.writable && !self.connecting && done < bytes.len() {
            match self.stream.write(&bytes[done..]) {
                Ok(n) => done += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write(&mut self, connection: &mut Connection) -> io::Result<()> {
        while self.writable && !connection.readable().is_empty() {
            match self.stream.write(connection.readable()) {
                Ok(n) => connection.consume(n),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if connection.guest_finished() && !self.write_finished {
            self.write_finished = true;
            match self.stream.shutdown(Shutdown::Write) {
                Err(error) if error.kind() != ErrorKind::NotConnected => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn read(&mut self, connection: &mut Connection, buffer: &mut [u8]) -> io::Result<()> {
        let mut bulk = false;
        while self.readable && !self.read_finished {
            let most = if bulk { READ } else { buffer.len() };
            let room = connection.room().min(most);
            if room == 0 {
                break;
            }
            let read = if bulk {
                let [first, second] = connection.space(room).map(IoSliceMut::new);
                self.stream.read_vectored(&mut [first, second])
            } else {
                self.stream.read(&mut buffer[..room])
            };
            match read {
                Ok(0) => {
                    self.read_finished = true;
                    connection.finish();
                }
                Ok(n) if bulk => {
                    connection.commit(n);
                    bulk = n == room;
                }
                Ok(n) => {
                    connection.supply(&buffer[..n]);
                    bulk = n == room;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Closes it; by a reset if `reset`.
    pub(super) fn close(mut self, reset: bool, sources: &mut Sources) {
        sources.remove(&mut self.stream, self.token);
        if reset {
            refuse(&self.stream);
        }
    }
}

/// Makes closing `stream` a reset.
pub(super) fn refuse(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// What an error of `connect` means to the guest.
pub(super) fn failure(error: &io::Error) -> HostFailure {
    match error.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => HostFailure::Refused,
        ErrorKind::NetworkUnreachable => HostFailure::NetworkUnreachable,
        _ => HostFailure::HostUnreachable,
    }
}

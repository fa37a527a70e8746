//! One query that is with a resolver: a socket of its own, so that its port
//! is a fresh one and only the resolver is heard.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use mio::net::{TcpStream, UdpSocket};
use mio::{Interest, Token};

use super::sources::{Source, Sources};
use crate::dns::{Ask, framed};

/// Longest answer.
const MAX: usize = u16::MAX as usize;

/// The socket of one attempt.
#[derive(Debug)]
pub(super) struct Resolver {
    transport: Transport,
    token: Token,
}

#[derive(Debug)]
enum Transport {
    Datagram(UdpSocket),
    Stream {
        socket: TcpStream,
        unsent: Vec<u8>,
        received: Vec<u8>,
    },
}

/// What an event brought.
#[derive(Debug)]
pub(super) enum Heard {
    /// Not enough yet.
    Nothing,
    /// An answer; more may follow.
    Answer(Vec<u8>),
    /// The resolver cannot be reached.
    Failed,
}

impl Resolver {
    /// Sends the query.
    pub(super) fn ask(ask: &Ask, sources: &mut Sources) -> io::Result<Resolver> {
        let what = Source::Query(ask.query);
        if ask.stream {
            let mut socket = TcpStream::connect(ask.resolver)?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            let token = sources.add(&mut socket, interest, what)?;
            let unsent = framed(&ask.message);
            let transport = Transport::Stream {
                socket,
                unsent,
                received: Vec::new(),
            };
            return Ok(Resolver { transport, token });
        }
        let any: SocketAddr = match ask.resolver {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let mut socket = UdpSocket::bind(any)?;
        socket.connect(ask.resolver)?;
        socket.send(&ask.message)?;
        let token = sources.add(&mut socket, Interest::READABLE, what)?;
        Ok(Resolver {
            transport: Transport::Datagram(socket),
            token,
        })
    }

    /// The socket has something. Call it until there is nothing.
    pub(super) fn handle(&mut self, buffer: &mut [u8]) -> Heard {
        let heard = match &mut self.transport {
            Transport::Datagram(socket) => match socket.recv(buffer) {
                Ok(length) => Ok(Some(buffer[..length].to_vec())),
                Err(error) => Err(error),
            },
            Transport::Stream {
                socket,
                unsent,
                received,
            } => exchange(socket, unsent, received, buffer),
        };
        match heard {
            Ok(Some(answer)) => Heard::Answer(answer),
            Ok(None) => Heard::Nothing,
            Err(error) if error.kind() == ErrorKind::WouldBlock => Heard::Nothing,
            Err(error) => {
                tracing::debug!(%error, "a resolver cannot be reached");
                Heard::Failed
            }
        }
    }

    /// Closes the socket.
    pub(super) fn close(mut self, sources: &mut Sources) {
        match &mut self.transport {
            Transport::Datagram(socket) => sources.remove(socket, self.token),
            Transport::Stream { socket, .. } => sources.remove(socket, self.token),
        }
    }
}

fn exchange(
    socket: &mut TcpStream,
    unsent: &mut Vec<u8>,
    received: &mut Vec<u8>,
    buffer: &mut [u8],
) -> io::Result<Option<Vec<u8>>> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    while !unsent.is_empty() {
        match socket.write(unsent) {
            Ok(n) => drop(unsent.drain(..n)),
            Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    loop {
        if let Some((length, rest)) = received.split_first_chunk::<2>()
            && let Some(answer) = rest.get(..usize::from(u16::from_be_bytes(*length)))
        {
            let answer = answer.to_vec();
            received.clear();
            return Ok(Some(answer));
        }
        let length = buffer.len().min(MAX);
        match socket.read(&mut buffer[..length])? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            n => received.extend_from_slice(&buffer[..n]),
        }
    }
}

//! Published ports that are bound.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener as StdTcpListener, UdpSocket as StdUdpSocket};
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::{Interest, Token};
use socket2::Socket;

use super::local_listener::LocalListener;
use super::publish::local_address;
use super::sources::{Source, Sources};
use super::wildcard::{self, Asked};
use crate::config::{Protocol, Publish};
use crate::ids::PublishId;

/// Out of descriptors: how long clients wait before the next try.
const BACK_OFF: Duration = Duration::from_millis(100);

/// A published port's sockets: one per address family.
#[derive(Debug)]
pub(super) struct Listener {
    /// What it serves.
    pub(super) publish: Publish,
    /// Where.
    pub(super) addresses: Vec<SocketAddr>,
    /// Not before this time are clients accepted again.
    pub(super) resume: Option<Instant>,
    streams: Vec<(TcpListener, Token)>,
    local: Option<LocalListener>,
    datagrams: Vec<(UdpSocket, Token)>,
    asked: Asked,
}

impl Listener {
    /// Watches bound sockets.
    pub(super) fn new(
        publish: &Publish,
        id: PublishId,
        sockets: Vec<Socket>,
        sources: &mut Sources,
    ) -> io::Result<Listener> {
        let mut listener = Listener {
            publish: publish.clone(),
            addresses: sockets.iter().filter_map(local_address).collect(),
            resume: None,
            streams: Vec::new(),
            local: None,
            datagrams: Vec::new(),
            asked: Asked::default(),
        };
        for socket in sockets {
            if let Some(path) = &publish.host_path {
                listener.local = Some(LocalListener::new(path, socket, id, sources)?);
                continue;
            }
            match publish.protocol {
                Protocol::Tcp => {
                    let mut socket = TcpListener::from_std(StdTcpListener::from(socket));
                    let token =
                        sources.add(&mut socket, Interest::READABLE, Source::Publish(id))?;
                    listener.streams.push((socket, token));
                }
                Protocol::Udp => {
                    if let Some(local) = local_address(&socket)
                        && local.ip().is_unspecified()
                    {
                        wildcard::ask_for(&socket, local.is_ipv4());
                    }
                    let mut socket = UdpSocket::from_std(StdUdpSocket::from(socket));
                    let token =
                        sources.add(&mut socket, Interest::READABLE, Source::Publish(id))?;
                    listener.datagrams.push((socket, token));
                }
            }
        }
        Ok(listener)
    }

    /// The next client; `None` when there is none now, or no place for one.
    pub(super) fn accept(
        &mut self,
        has_place: bool,
        now: Instant,
    ) -> Option<(TcpStream, SocketAddr)> {
        if self.resume.is_some_and(|resume| now < resume) {
            return None;
        }
        if !has_place {
            self.back_off("no descriptor is left for them", now);
            return None;
        }
        let places = self.streams.len() + usize::from(self.local.is_some());
        for n in 0..places {
            loop {
                let accepted = match (self.streams.get(n), &self.local) {
                    (Some((socket, _)), _) => socket.accept(),
                    (None, Some(local)) => local.accept(),
                    (None, None) => break,
                };
                match accepted {
                    Ok(client) => {
                        self.resume = None;
                        return Some(client);
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error)
                        if matches!(
                            error.kind(),
                            ErrorKind::Interrupted | ErrorKind::ConnectionAborted
                        ) => {}
                    Err(error) => {
                        self.back_off(&error.to_string(), now);
                        return None;
                    }
                }
            }
        }
        self.resume = None;
        None
    }

    fn back_off(&mut self, why: &str, now: Instant) {
        if self.resume.is_none() {
            tracing::warn!(why, id = self.publish.id, "clients have to wait");
        }
        self.resume = Some(now + BACK_OFF);
    }

    /// The next datagram: its length and sender.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        let asked = &mut self.asked;
        self.datagrams
            .iter()
            .find_map(|(socket, _)| received(|| asked.receive(socket, buffer)))
    }

    /// Answers a client.
    pub(super) fn reply(&self, client: SocketAddr, payload: &[u8]) {
        let same_family = |socket: &&(UdpSocket, Token)| {
            socket
                .0
                .local_addr()
                .is_ok_and(|local| local.is_ipv4() == client.is_ipv4())
        };
        if let Some((socket, _)) = self.datagrams.iter().find(same_family)
            && let Err(error) = self.asked.send(socket, payload, client)
        {
            tracing::debug!(%error, %client, "a datagram was not sent");
        }
    }

    /// Closes the sockets.
    pub(super) fn close(mut self, sources: &mut Sources) {
        for (socket, token) in &mut self.streams {
            sources.remove(socket, *token);
        }
        for (socket, token) in &mut self.datagrams {
            sources.remove(socket, *token);
        }
        if let Some(local) = self.local {
            local.close(sources);
        }
    }
}

/// The next datagram.
pub(super) fn receive_from(socket: &UdpSocket, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
    received(|| socket.recv_from(buffer))
}

/// What `receive` gives. Errors that earlier datagrams caused are skipped.
fn received(
    mut receive: impl FnMut() -> io::Result<(usize, SocketAddr)>,
) -> Option<(usize, SocketAddr)> {
    for _ in 0..16 {
        match receive() {
            Ok(received) => return Some(received),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
            Err(error) => tracing::debug!(%error, "receiving a datagram failed"),
        }
    }
    None
}

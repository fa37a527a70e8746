//! A socket of the host that stands for a guest's UDP port, or for its echo
//! requests.
//!
//! Echo requests go through the kernel's ping sockets, which need no rights
//! where `net.ipv4.ping_group_range` allows them.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mio::net::UdpSocket;
use mio::{Interest, Token};
use socket2::{Domain, Protocol, Socket, Type};

use super::listener::receive_from;
use super::socket_errors::{self, SocketError};
use super::sources::{Source, Sources};
use crate::ids::AssociationId;
use crate::udp::{Outgoing, Transport};

/// Packets with fewer hops left than this keep their number: somebody traces
/// a route. To all others the host gives its own.
const FEW_HOPS: u8 = 40;

/// Datagrams that were too long are kept until the host's word about them is
/// read, so many at most.
const UNSENT: usize = 8;

/// The socket.
#[derive(Debug)]
pub(super) struct Association {
    socket: UdpSocket,
    token: Token,
    transport: Transport,
    // Hops that were set; none, as long as they are the host's own.
    hops: Option<u8>,
    whole: bool,
    // Datagrams that were too long to be sent, and where they were to go, the
    // latest first and one for each place.
    unsent: Vec<(SocketAddr, Vec<u8>)>,
}

impl Association {
    /// A socket for what goes by `transport`.
    ///
    /// # Errors
    /// The system has none; `PermissionDenied`: it does not let this user
    /// send echo requests.
    pub(super) fn open(
        id: AssociationId,
        transport: Transport,
        sources: &mut Sources,
    ) -> io::Result<Association> {
        let (domain, kind, any): (_, _, IpAddr) = match transport {
            Transport::Udp4 => (Domain::IPV4, Protocol::UDP, Ipv4Addr::UNSPECIFIED.into()),
            Transport::Udp6 => (Domain::IPV6, Protocol::UDP, Ipv6Addr::UNSPECIFIED.into()),
            Transport::Echo4 => (Domain::IPV4, Protocol::ICMPV4, Ipv4Addr::UNSPECIFIED.into()),
            Transport::Echo6 => (Domain::IPV6, Protocol::ICMPV6, Ipv6Addr::UNSPECIFIED.into()),
        };
        let socket = Socket::new(domain, Type::DGRAM, Some(kind))?;
        socket.set_nonblocking(true)?;
        if domain == Domain::IPV6 {
            socket.set_only_v6(true)?;
        }
        socket.bind(&SocketAddr::new(any, 0).into())?;
        socket_errors::ask_for(&socket, domain == Domain::IPV4);
        let mut socket = UdpSocket::from_std(socket.into());
        let token = sources.add(&mut socket, Interest::READABLE, Source::Association(id))?;
        Ok(Association {
            socket,
            token,
            transport,
            hops: None,
            whole: false,
            unsent: Vec::new(),
        })
    }

    /// Sends something. It may be lost without an error, as anywhere on its
    /// way.
    ///
    /// # Errors
    /// The host knows no way there.
    pub(super) fn send(&mut self, outgoing: &Outgoing) -> io::Result<()> {
        self.set_options(outgoing);
        // Errors about earlier datagrams come first, and once; what an ICMP
        // message said is in the queue of `next_error` then.
        let mut last = Ok(());
        for _ in 0..3 {
            match self.socket.send_to(&outgoing.payload, outgoing.to) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => last = Err(error),
            }
        }
        let Err(error) = last else { return Ok(()) };
        match error.kind() {
            ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable => return Err(error),
            _ if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                self.unsent.retain(|(to, _)| *to != outgoing.to);
                self.unsent.truncate(UNSENT - 1);
                self.unsent
                    .insert(0, (outgoing.to, outgoing.payload.clone()));
            }
            _ => tracing::debug!(%error, to = %outgoing.to, "a datagram was not sent"),
        }
        Ok(())
    }

    fn set_options(&mut self, outgoing: &Outgoing) {
        let four = matches!(self.transport, Transport::Udp4 | Transport::Echo4);
        let socket = socket2::SockRef::from(&self.socket);
        let hops = (outgoing.hops < FEW_HOPS).then_some(outgoing.hops);
        if self.hops != hops {
            self.hops = hops;
            let hops = u32::from(hops.unwrap_or(64));
            let set = if four {
                socket.set_ttl_v4(hops)
            } else {
                socket.set_unicast_hops_v6(hops)
            };
            if let Err(error) = set {
                tracing::debug!(%error, "the hop limit stays");
            }
        }
        if self.whole != outgoing.whole {
            self.whole = outgoing.whole;
            socket_errors::forbid_cutting(&self.socket, four, self.whole);
        }
    }

    /// The next datagram, or the next answer: its length and sender.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        receive_from(&self.socket, buffer)
    }

    /// The next thing that went wrong with what was sent. The host does not say
    /// what it was that it found too long, but does so for each try.
    pub(super) fn next_error(&mut self) -> Option<SocketError> {
        loop {
            let error = socket_errors::next(&self.socket)?;
            if error.by.is_some() || !error.sent.is_empty() {
                return Some(error);
            }
            let mut unsent = self.unsent.iter();
            if let Some(at) = unsent.position(|(to, _)| *to == error.to) {
                let (_, sent) = self.unsent.remove(at);
                return Some(SocketError { sent, ..error });
            }
        }
    }

    /// Closes the socket.
    pub(super) fn close(mut self, sources: &mut Sources) {
        sources.remove(&mut self.socket, self.token);
    }
}

//! UDP sockets that are bound to all addresses of the host: answers come from
//! the address that was asked, or clients would not take them.
//!
//! Only Linux is told which address that is (ip(7), `IP_PKTINFO`); elsewhere
//! the system chooses.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};

use mio::net::UdpSocket;

/// Clients whose address of the host is remembered; when there are more, all
/// are forgotten, and known again with their next datagram.
const MAX: usize = 8192;

/// Which address of the host each client sends to.
#[derive(Debug, Default)]
pub(super) struct Asked {
    by_client: HashMap<SocketAddr, IpAddr>,
}

impl Asked {
    /// The next datagram: its length and sender.
    pub(super) fn receive(
        &mut self,
        socket: &UdpSocket,
        buffer: &mut [u8],
    ) -> io::Result<(usize, SocketAddr)> {
        let (length, client, local) = imp::receive(socket, buffer)?;
        if let Some(local) = local {
            if self.by_client.len() >= MAX && !self.by_client.contains_key(&client) {
                self.by_client.clear();
            }
            self.by_client.insert(client, local);
        }
        Ok((length, client))
    }

    /// Answers a client.
    pub(super) fn send(
        &self,
        socket: &UdpSocket,
        payload: &[u8],
        client: SocketAddr,
    ) -> io::Result<()> {
        match self.by_client.get(&client) {
            Some(local) => imp::send(socket, payload, client, *local),
            None => socket.send_to(payload, client).map(drop),
        }
    }
}

pub(super) use imp::ask_for;

#[cfg(target_os = "linux")]
mod imp {
    use std::io::{self, IoSlice, IoSliceMut};
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
    use std::os::fd::{AsFd, AsRawFd};

    use mio::net::UdpSocket;
    use nix::sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg,
        setsockopt, sockopt,
    };

    /// Lets the kernel tell which address was asked.
    pub(in super::super) fn ask_for(socket: &impl AsFd, v4: bool) {
        let set = if v4 {
            setsockopt(socket, sockopt::Ipv4PacketInfo, &true)
        } else {
            setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)
        };
        if let Err(error) = set {
            tracing::debug!(%error, "answers may come from another address");
        }
    }

    pub(super) fn receive(
        socket: &UdpSocket,
        buffer: &mut [u8],
    ) -> io::Result<(usize, SocketAddr, Option<IpAddr>)> {
        let mut pieces = [IoSliceMut::new(buffer)];
        let mut control = nix::cmsg_space!(libc::in_pktinfo, libc::in6_pktinfo);
        let fd = socket.as_raw_fd();
        let flags = MsgFlags::MSG_DONTWAIT;
        let message = recvmsg::<SockaddrStorage>(fd, &mut pieces, Some(&mut control), flags)?;
        let from = message.address.as_ref();
        let four = from.and_then(|from| from.as_sockaddr_in());
        let six = from.and_then(|from| from.as_sockaddr_in6());
        let from = match (four, six) {
            (Some(from), _) => SocketAddr::new(from.ip().into(), from.port()),
            // With its zone, without which link-local answers go nowhere.
            (None, Some(from)) => std::net::SocketAddrV6::new(
                from.ip(),
                from.port(),
                from.flowinfo(),
                from.scope_id(),
            )
            .into(),
            (None, None) => return Err(io::ErrorKind::InvalidData.into()),
        };
        let local = message.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                // Not what was written on it, which may be a broadcast.
                let bytes = info.ipi_spec_dst.s_addr.to_ne_bytes();
                Some(IpAddr::from(Ipv4Addr::from(bytes)))
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                Some(IpAddr::from(Ipv6Addr::from(info.ipi6_addr.s6_addr)))
            }
            _ => None,
        });
        // Groups and broadcasts are nobody's own address.
        let local = local.filter(|ip| !ip.is_multicast() && *ip != Ipv4Addr::BROADCAST);
        Ok((message.bytes, from, local))
    }

    pub(super) fn send(
        socket: &UdpSocket,
        payload: &[u8],
        to: SocketAddr,
        from: IpAddr,
    ) -> io::Result<()> {
        let pieces = [IoSlice::new(payload)];
        let to = SockaddrStorage::from(to);
        let (four, six);
        let control = match from {
            IpAddr::V4(from) => {
                four = libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: libc::in_addr {
                        s_addr: u32::from_ne_bytes(from.octets()),
                    },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                ControlMessage::Ipv4PacketInfo(&four)
            }
            IpAddr::V6(from) => {
                six = libc::in6_pktinfo {
                    ipi6_ifindex: 0,
                    ipi6_addr: libc::in6_addr {
                        s6_addr: from.octets(),
                    },
                };
                ControlMessage::Ipv6PacketInfo(&six)
            }
        };
        let flags = MsgFlags::MSG_DONTWAIT;
        sendmsg(socket.as_raw_fd(), &pieces, &[control], flags, Some(&to))?;
        Ok(())
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use std::io;
    use std::net::{IpAddr, SocketAddr};

    use mio::net::UdpSocket;

    pub(in super::super) fn ask_for<T>(_: &T, _: bool) {}

    pub(super) fn receive(
        socket: &UdpSocket,
        buffer: &mut [u8],
    ) -> io::Result<(usize, SocketAddr, Option<IpAddr>)> {
        let (length, client) = socket.recv_from(buffer)?;
        Ok((length, client, None))
    }

    pub(super) fn send(
        socket: &UdpSocket,
        payload: &[u8],
        to: SocketAddr,
        _: IpAddr,
    ) -> io::Result<()> {
        socket.send_to(payload, to).map(drop)
    }
}

//! What went wrong with datagrams that a socket sent: ICMP errors that came
//! back for them, and what the host itself says (ip(7), `IP_RECVERR`).
//!
//! Only Linux tells; elsewhere guests hear of nothing but what
//! `send` itself fails with.

use std::net::{IpAddr, SocketAddr};

use crate::wire::IcmpError;

/// An error about something that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SocketError {
    /// What, as ICMP or ICMPv6 says it.
    pub(super) error: IcmpError,
    /// Where the datagram was to go.
    pub(super) to: SocketAddr,
    /// Who says so; none is this host.
    pub(super) by: Option<IpAddr>,
    /// What is known of the datagram's payload.
    pub(super) sent: Vec<u8>,
}

#[cfg(target_os = "linux")]
pub(super) use linux::{ask_for, forbid_cutting, next};

#[cfg(target_os = "linux")]
mod linux {
    use std::io::IoSliceMut;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
    use std::os::fd::{AsFd, AsRawFd};

    use nix::sys::socket::{
        ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
    };
    use rustix::net::sockopt::{
        Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover,
    };

    use super::{IcmpError, SocketError};

    /// How much of a datagram is looked at.
    const QUOTE: usize = 1024;

    /// Lets the kernel keep errors about what `socket` sends.
    pub(in super::super) fn ask_for(socket: &impl AsFd, v4: bool) {
        let set = if v4 {
            setsockopt(socket, sockopt::Ipv4RecvErr, &true)
        } else {
            setsockopt(socket, sockopt::Ipv6RecvErr, &true)
        };
        if let Err(error) = set {
            tracing::debug!(%error, "no ICMP errors for a socket");
        }
    }

    /// Datagrams that are too long for their way are errors, or are cut.
    pub(in super::super) fn forbid_cutting(socket: &impl AsFd, v4: bool, forbid: bool) {
        let set = match (v4, forbid) {
            (true, true) => set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::DO),
            (true, false) => set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::WANT),
            (false, true) => set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::DO),
            (false, false) => set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::WANT),
        };
        if let Err(error) = set {
            tracing::debug!(%error, "path MTU discovery stays as it is");
        }
    }

    /// The next error of the socket.
    pub(in super::super) fn next(socket: &impl AsFd) -> Option<SocketError> {
        let mut data = [0; QUOTE];
        let mut pieces = [IoSliceMut::new(&mut data)];
        let mut control = nix::cmsg_space!(libc::sock_extended_err, libc::sockaddr_in6);
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let fd = socket.as_fd().as_raw_fd();
        let message =
            recvmsg::<SockaddrStorage>(fd, &mut pieces, Some(&mut control), flags).ok()?;
        let to = message.address.as_ref().and_then(address)?;
        let length = message.bytes;
        let (error, by) = message.cmsgs().ok()?.find_map(|control| match control {
            ControlMessageOwned::Ipv4RecvErr(error, by) => Some((
                error,
                by.filter(|by| i32::from(by.sin_family) == libc::AF_INET)
                    .map(|by| IpAddr::from(Ipv4Addr::from(by.sin_addr.s_addr.to_ne_bytes()))),
            )),
            ControlMessageOwned::Ipv6RecvErr(error, by) => Some((
                error,
                by.filter(|by| i32::from(by.sin6_family) == libc::AF_INET6)
                    .map(|by| IpAddr::from(Ipv6Addr::from(by.sin6_addr.s6_addr))),
            )),
            _ => None,
        })?;
        let error = meaning(&error, to.is_ipv4());
        Some(SocketError {
            error,
            to,
            by,
            sent: data[..length].to_vec(),
        })
    }

    /// What an error means to the guest.
    fn meaning(error: &libc::sock_extended_err, v4: bool) -> IcmpError {
        match error.ee_origin {
            libc::SO_EE_ORIGIN_ICMP | libc::SO_EE_ORIGIN_ICMP6 => IcmpError {
                kind: error.ee_type,
                code: error.ee_code,
                info: error.ee_info,
            },
            _ => match error.ee_errno as i32 {
                libc::EMSGSIZE => IcmpError::too_big(v4, error.ee_info),
                libc::ENETUNREACH => IcmpError::no_route(v4),
                libc::ECONNREFUSED => IcmpError::no_port(v4),
                _ => IcmpError::no_host(v4),
            },
        }
    }

    fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
        let four = storage.as_sockaddr_in().map(|a| (a.ip().into(), a.port()));
        let six = storage.as_sockaddr_in6().map(|a| (a.ip().into(), a.port()));
        let (ip, port): (IpAddr, u16) = four.or(six)?;
        Some(SocketAddr::new(ip, port))
    }
}

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use super::SocketError;

    pub(in super::super) fn ask_for<T>(_: &T, _: bool) {}

    pub(in super::super) fn forbid_cutting<T>(_: &T, _: bool, _: bool) {}

    pub(in super::super) fn next<T>(_: &T) -> Option<SocketError> {
        None
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) use elsewhere::{ask_for, forbid_cutting, next};

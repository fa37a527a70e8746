//! What the host is like: whether it reaches the IPv6 Internet, and its own
//! addresses, whose changes Linux tells of (rtnetlink(7)).

use std::collections::HashSet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};

/// Some address of the IPv6 Internet; nothing is ever sent there.
const FAR: Ipv6Addr = Ipv6Addr::new(0x2600, 0, 0, 0, 0, 0, 0, 1);

/// The host has a route to the IPv6 Internet. Connecting a UDP socket looks
/// for one, and sends nothing.
pub(super) fn has_ipv6() -> bool {
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0));
    socket.is_ok_and(|socket| socket.connect((FAR, 9)).is_ok())
}

/// The number of the interface `name`.
pub(super) fn interface_index(name: &str) -> Option<u32> {
    nix::net::if_::if_nametoindex(name).ok()
}

/// The addresses of all interfaces.
pub(super) fn addresses() -> HashSet<IpAddr> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else {
        return HashSet::new();
    };
    let found = interfaces.filter_map(|interface| {
        let address = interface.address?;
        let four = address.as_sockaddr_in().map(|a| IpAddr::from(a.ip()));
        four.or(address.as_sockaddr_in6().map(|a| IpAddr::from(a.ip())))
    });
    found
        .map(|ip| SocketAddr::new(ip, 0).ip().to_canonical())
        .collect()
}

#[cfg(target_os = "linux")]
pub(super) use imp::Changes;
#[cfg(not(target_os = "linux"))]
pub(super) use other::Changes;

#[cfg(target_os = "linux")]
mod imp {
    use std::io;
    use std::os::fd::{AsRawFd, OwnedFd};

    use mio::Interest;
    use mio::unix::SourceFd;
    use nix::errno::Errno;
    use nix::sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
    };

    use super::super::sources::{Source, Sources};

    /// Tells when the host gets or loses an address.
    #[derive(Debug)]
    pub(in super::super) struct Changes(OwnedFd);

    impl Changes {
        /// Has the poller look out for them, as [`Source::Host`].
        pub(in super::super) fn watch(sources: &mut Sources) -> io::Result<Changes> {
            let socket = socket(
                AddressFamily::Netlink,
                SockType::Raw,
                SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
                SockProtocol::NetlinkRoute,
            )?;
            let groups = libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR;
            bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups as u32))?;
            let fd = socket.as_raw_fd();
            sources.add(&mut SourceFd(&fd), Interest::READABLE, Source::Host)?;
            Ok(Changes(socket))
        }

        /// Forgets what was told: whoever asks afterwards sees it done.
        pub(in super::super) fn drain(&self) {
            let mut buffer = [0; 4096];
            loop {
                match recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                    // More came than the socket keeps; what was lost does not matter.
                    Ok(_) | Err(Errno::EINTR | Errno::ENOBUFS) => {}
                    Err(_) => return,
                }
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    use std::io;

    use super::super::sources::Sources;

    /// Nothing tells of changes: they are seen when the host is looked at again.
    #[derive(Debug)]
    pub(in super::super) struct Changes;

    impl Changes {
        pub(in super::super) fn watch(_: &mut Sources) -> io::Result<Changes> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(in super::super) fn drain(&self) {}
    }
}

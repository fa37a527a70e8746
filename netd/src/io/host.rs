//! What the host is like: whether it reaches the IPv6 Internet, and its own
//! addresses.

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

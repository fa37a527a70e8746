//! The host's resolvers (resolv.conf(5)).

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};

/// More are not asked; libc stops at three too.
const MAX: usize = 3;

/// The name servers in the text of a `resolv.conf`; without any, the one on
/// this host; all at `port`. `index` knows the host's interfaces by name, for
/// addresses with a zone (RFC 4007, section 11).
pub(crate) fn nameservers(
    text: &str,
    port: u16,
    index: impl Fn(&str) -> Option<u32>,
) -> Vec<SocketAddr> {
    let mut servers: Vec<SocketAddr> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let address = words
                .next()
                .filter(|word| *word == "nameserver")
                .and(words.next())?;
            match address.split_once('%') {
                None => Some(SocketAddr::new(address.parse().ok()?, port)),
                Some((address, zone)) => {
                    let index = zone.parse().ok().or_else(|| index(zone))?;
                    Some(SocketAddrV6::new(address.parse().ok()?, port, 0, index).into())
                }
            }
        })
        .take(MAX)
        .collect();
    if servers.is_empty() {
        servers.push(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    servers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_nameserver_lines_count() {
        let text = "# nameserver 1.1.1.1\nsearch a b\nnameserver 10.0.0.1 # x\n\
                    nameserver bad\nnameserver fe80::1%eth0\n;nameserver 9.9.9.9\n";
        let index = |name: &str| (name == "eth0").then_some(7);
        let found = |text| -> Vec<String> {
            let servers = nameservers(text, 53, index);
            servers.iter().map(ToString::to_string).collect()
        };
        assert_eq!(found(text), ["10.0.0.1:53", "[fe80::1%7]:53"]);
        assert_eq!(found(""), ["127.0.0.1:53"]);
        let gone = "nameserver fe80::1%usb0\nnameserver fe80::2%3\n";
        assert_eq!(found(gone), ["[fe80::2%3]:53"]);
    }
}

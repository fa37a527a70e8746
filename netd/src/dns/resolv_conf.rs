//! The host's resolvers (resolv.conf(5)).

use std::net::{IpAddr, Ipv4Addr};

/// More are not asked; libc stops at three too.
const MAX: usize = 3;

/// The name servers in the text of a `resolv.conf`; without any, the one on
/// this host.
pub(crate) fn nameservers(text: &str) -> Vec<IpAddr> {
    let mut servers: Vec<IpAddr> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let address = words
                .next()
                .filter(|word| *word == "nameserver")
                .and(words.next())?;
            // A zone index names an interface that only the host's libc uses.
            address.split('%').next()?.parse().ok()
        })
        .take(MAX)
        .collect();
    if servers.is_empty() {
        servers.push(Ipv4Addr::LOCALHOST.into());
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
        let found: Vec<String> = nameservers(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.0.0.1", "fe80::1"]);
        assert_eq!(nameservers(""), [IpAddr::from([127, 0, 0, 1])]);
    }
}

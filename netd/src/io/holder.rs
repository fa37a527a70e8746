//! Who has a port: the process that holds the socket, from `/proc`.

use std::net::SocketAddr;

use procfs::net::{TcpState, tcp, tcp6, udp, udp6};
use procfs::process::{FDTarget, all_processes};

use super::publish::conflicts;
use crate::config::Protocol;

/// `nginx (pid 812)`; nothing if it is a network daemon of a stack (its
/// owner knows better whose port it is) or cannot be seen.
pub(super) fn find(protocol: Protocol, address: SocketAddr) -> Option<String> {
    let inodes = inodes(protocol, address);
    for process in all_processes().ok()?.flatten() {
        let Ok(descriptors) = process.fd() else {
            continue;
        };
        let holds = descriptors
            .flatten()
            .any(|descriptor| match descriptor.target {
                FDTarget::Socket(inode) => inodes.contains(&inode),
                _ => false,
            });
        if holds {
            let name = process.stat().ok()?.comm;
            return (name != env!("CARGO_PKG_NAME"))
                .then(|| format!("{name} (pid {})", process.pid));
        }
    }
    None
}

fn inodes(protocol: Protocol, address: SocketAddr) -> Vec<u64> {
    let hit =
        |local: SocketAddr| local.port() == address.port() && conflicts(local.ip(), address.ip());
    match protocol {
        Protocol::Tcp => [tcp(), tcp6()]
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.state == TcpState::Listen && hit(entry.local_address))
            .map(|entry| entry.inode)
            .collect(),
        Protocol::Udp => [udp(), udp6()]
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| hit(entry.local_address))
            .map(|entry| entry.inode)
            .collect(),
    }
}

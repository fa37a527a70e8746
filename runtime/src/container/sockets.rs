//! Sockets of the host that lead to the service (`x-stack.sockets`): the network
//! daemon listens at them; what leads to a socket of the service goes by way of
//! a relay in the guest.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Range;
use std::path::Path;

use sha2::{Digest, Sha256};
use stack_api::event::ApiError;
use stack_api::spec::{ServiceSpec, SocketSpec, SocketTarget};
use stack_protocol::config::Inward;

use crate::network::{Network, Nic};

/// The ports of the guest that lead to sockets of the service. The kernel gives
/// out none of these by itself.
const PORTS: Range<u16> = 61_500..65_500;

/// The port of the guest that a socket leads to.
pub fn port(spec: &ServiceSpec, socket: &SocketSpec) -> u16 {
    match &socket.target {
        SocketTarget::Port(port) => *port,
        SocketTarget::Path(path) => relayed(spec).get(path).copied().unwrap_or(u16::MAX),
    }
}

/// The sockets of the service that are relayed, with their ports: by their
/// paths, so that one keeps its port when others come and go.
fn relayed(spec: &ServiceSpec) -> BTreeMap<&String, u16> {
    let own = |socket: &SocketSpec| match &socket.target {
        SocketTarget::Port(port) => Some(*port),
        SocketTarget::Path(_) => None,
    };
    let mut taken: BTreeSet<u16> = spec.sockets.iter().filter_map(own).collect();
    let mut paths: Vec<&String> = Vec::new();
    for socket in &spec.sockets {
        if let SocketTarget::Path(path) = &socket.target {
            paths.push(path);
        }
    }
    paths.sort();
    paths.dedup();
    let mut ports = BTreeMap::new();
    for path in paths {
        let hash = Sha256::digest(path.as_bytes());
        let start = usize::from(u16::from_be_bytes([hash[0], hash[1]])) % PORTS.len();
        let mut from_there = PORTS.cycle().skip(start).take(PORTS.len());
        if let Some(port) = from_there.find(|port| taken.insert(*port)) {
            ports.insert(path, port);
        }
    }
    ports
}

/// What the guest relays.
pub(super) fn inward<'n>(
    spec: &ServiceSpec,
    networks: impl Iterator<Item = (&'n Network, &'n Nic)>,
) -> Vec<Inward> {
    let gateways: Vec<IpAddr> = networks
        .flat_map(|(network, _)| {
            let ipv4 = network.gateway.map(IpAddr::from);
            [ipv4, network.gateway6.map(IpAddr::from)]
        })
        .flatten()
        .collect();
    let relayed = relayed(spec).into_iter();
    relayed
        .map(|(path, port)| Inward {
            port,
            path: path.clone(),
            gateways: gateways.clone(),
        })
        .collect()
}

/// Makes the directories that sockets are to be in, as bind mounts do.
///
/// # Errors
/// One cannot be made, or the service has no network.
pub fn prepare(spec: &ServiceSpec, nics: &[Nic]) -> Result<(), ApiError> {
    let Some(first) = spec.sockets.first() else {
        return Ok(());
    };
    let failed = |path: &Path, why: String| {
        let (name, path) = (&spec.name, path.display());
        ApiError::new("socket", format!("service {name}: socket {path}: {why}"))
    };
    if nics.is_empty() {
        return Err(failed(&first.path, "the service has no network".to_owned())
            .help("sockets lead to services by a network: give it one, `internal` if need be"));
    }
    for socket in &spec.sockets {
        if let Some(folder) = socket.path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| {
                failed(
                    &socket.path,
                    format!("cannot make {}: {error}", folder.display()),
                )
            })?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(paths: &[&str]) -> ServiceSpec {
        let socket = |path: &&str| SocketSpec {
            target: SocketTarget::Path((*path).to_owned()),
            path: format!("/host{path}").into(),
        };
        ServiceSpec {
            sockets: paths.iter().map(socket).collect(),
            ..ServiceSpec::default()
        }
    }

    #[test]
    fn a_relay_keeps_its_port() {
        let alone = inward(&spec(&["/run/b"]), std::iter::empty());
        let among = inward(&spec(&["/run/a", "/run/b", "/run/c"]), std::iter::empty());
        assert_eq!(among.len(), 3);
        assert_eq!(among[1], alone[0]);
        // Two places of the host that lead to one socket have one relay.
        let twice = inward(&spec(&["/run/b", "/run/b"]), std::iter::empty());
        assert_eq!(twice, alone);
    }

    #[test]
    fn no_two_have_the_same_port() {
        let paths: Vec<String> = (0..1000).map(|n| format!("/run/{n}")).collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let all = inward(&spec(&paths), std::iter::empty());
        let ports: BTreeSet<u16> = all.iter().map(|order| order.port).collect();
        assert_eq!(ports.len(), 1000);
        assert!(ports.iter().all(|port| PORTS.contains(port)));
    }
}

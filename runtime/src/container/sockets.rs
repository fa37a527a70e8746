//! Sockets of the host that lead to the service (`x-stack.sockets`): the network
//! daemon listens at them; what leads to a socket of the service goes by way of
//! a relay in the guest.

use std::net::IpAddr;
use std::path::Path;

use stack_api::event::ApiError;
use stack_api::spec::{ServiceSpec, SocketSpec, SocketTarget};
use stack_protocol::config::Inward;

use crate::network::{Network, Nic};

/// The first port of the guest that leads to a socket of the service. The
/// kernel gives out none of these by itself.
const FIRST: u16 = 61_500;

/// The port of the guest that a socket leads to.
pub fn port(spec: &ServiceSpec, socket: &SocketSpec) -> u16 {
    match &socket.target {
        SocketTarget::Port(port) => *port,
        SocketTarget::Path(_) => relayed(spec)
            .position(|(other, _)| other == socket)
            .and_then(|n| u16::try_from(n).ok())
            .map_or(u16::MAX, |n| FIRST.saturating_add(n)),
    }
}

fn relayed(spec: &ServiceSpec) -> impl Iterator<Item = (&SocketSpec, &String)> {
    spec.sockets
        .iter()
        .filter_map(|socket| match &socket.target {
            SocketTarget::Path(path) => Some((socket, path)),
            SocketTarget::Port(_) => None,
        })
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
    relayed(spec)
        .map(|(socket, path)| Inward {
            port: port(spec, socket),
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

//! `x-stack.sockets`: sockets of the host that lead to a service.

use sha2::{Digest, Sha256};
use stack_api::spec::{SocketSpec, SocketTarget};

use super::{entries, unusable};
use crate::diagnostic::{Problem, Report, codes};
use crate::extension;
use crate::hash;
use crate::project::Parts;
use crate::tree::Node;

/// Bytes of a socket's path (unix(7), `sun_path` without its zero). macOS has
/// fewer.
const LONGEST: usize = 103;

/// What leads to the service, by port and path there.
pub(super) fn sockets(
    parts: &Parts,
    service: &Node,
    replicas: u32,
    report: &mut Report,
) -> Vec<SocketSpec> {
    let Some(node) = service.at(&[extension::KEY, "sockets"]) else {
        return Vec::new();
    };
    let mut sockets: Vec<SocketSpec> = Vec::new();
    for (key, value) in entries(Some(node)) {
        let Some(target) = target(key) else {
            let message = format!("`{key}` is neither a port of the service nor an absolute path");
            let problem = Problem::error(codes::UNUSABLE_VALUE, message);
            let help = "write `\"80\": ./web.sock` or `/run/app.sock: ./app.sock`";
            report.push(problem.at(value.place(), "what it leads to").help(help));
            continue;
        };
        let Some(path) = value.as_str().filter(|path| !path.is_empty()) else {
            unusable(value, "is not the path of a socket", report);
            continue;
        };
        let path = parts.folder.join(path);
        if path.as_os_str().len() > LONGEST {
            let why = format!("is too long: {LONGEST} bytes are what a socket's path can have");
            unusable(value, &why, report);
            continue;
        }
        if sockets.iter().any(|other| other.path == path) {
            unusable(value, "is a socket that leads elsewhere already", report);
            continue;
        }
        sockets.push(SocketSpec { target, path });
    }
    if replicas > 1 && !sockets.is_empty() {
        let message = "a socket leads to one container, and the service has several";
        let problem = Problem::error(codes::INCONSISTENT, message).on(node, "the sockets");
        report.push(problem.help("leave the sockets out, or the replicas"));
    }
    sockets
}

/// `80` or `/run/app.sock`.
fn target(key: &str) -> Option<SocketTarget> {
    if key.starts_with('/') && key.len() <= LONGEST && !key.contains('\0') {
        return Some(SocketTarget::Path(key.to_owned()));
    }
    let port = key.parse().ok().filter(|port| *port > 0)?;
    Some(SocketTarget::Port(port))
}

/// A service's hash with its sockets in it. That of a service without any stays
/// as it is.
pub(super) fn with_sockets(hash: String, sockets: &[SocketSpec]) -> String {
    if sockets.is_empty() {
        return hash;
    }
    hash::hex(&Sha256::digest(
        format!("{hash} sockets {sockets:?}").as_bytes(),
    ))
}

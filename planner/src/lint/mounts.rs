//! Bind mounts that give away more than they should.

use super::{Lints, items, text};
use crate::tree::Node;

/// Sockets through which everything can be controlled.
const SOCKETS: [&str; 6] = [
    "/var/run/docker.sock",
    "/run/docker.sock",
    "/run/podman/podman.sock",
    "/var/run/podman/podman.sock",
    "/run/containerd/containerd.sock",
    "/var/run/containerd/containerd.sock",
];
/// Folders of the system.
const SYSTEM: [&str; 8] = [
    "/", "/etc", "/usr", "/var", "/root", "/home", "/boot", "/Users",
];

pub(super) fn check(lints: &mut Lints<'_>) {
    for (name, service) in lints.services() {
        for mount in items(service.get("volumes")) {
            if text(mount, "type") != "bind" {
                continue;
            }
            let source = text(mount, "source");
            let place = mount.get("source").map_or(mount.place(), Node::value_place);
            if SOCKETS.contains(&source) {
                let message = format!("`{name}` can control the container engine of this machine");
                lints.push("L0007", message, |problem| {
                    problem
                        .at(place, "as good as being root on the host")
                        .help("put a proxy that allows single calls in between, or do without")
                });
            } else if is_wide(source) {
                let message = format!("`{name}` sees all of {source} of this machine");
                lints.push("L0008", message, |problem| {
                    problem
                        .at(place, "much more than it needs")
                        .help("mount the folder it needs, with `:ro` when it only reads")
                });
            }
        }
    }
}

fn is_wide(source: &str) -> bool {
    let clean = match source.trim_end_matches('/') {
        "" => "/",
        clean => clean,
    };
    let home = ["/home/", "/Users/"]
        .iter()
        .find_map(|prefix| clean.strip_prefix(prefix));
    SYSTEM.contains(&clean) || home.is_some_and(|rest| !rest.contains('/'))
}

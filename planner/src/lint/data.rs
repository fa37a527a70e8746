//! Data of databases.

use super::{Lints, items, servers, text};
use crate::tree::Node;

pub(super) fn check(lints: &mut Lints<'_>) {
    for (name, service) in lints.services() {
        let Some(server) = servers::of_image(text(service, "image")) else {
            continue;
        };
        let mounts = items(service.get("volumes"));
        let at_data = mounts.iter().find(|mount| {
            let target = text(mount, "target");
            server.data.iter().any(|data| {
                *data == target
                    || data
                        .strip_prefix(target)
                        .is_some_and(|rest| rest.starts_with('/'))
            })
        });
        match at_data {
            Some(mount) if text(mount, "type") == "volume" && mount.get("source").is_none() => {
                let message = format!(
                    "the data of `{name}` is in a volume without a name, which a new container does not get"
                );
                lints.push("L0015", message, |problem| {
                    problem.at(mount.place(), "anonymous").help(format!(
                        "name a volume: `{name}-data:{}`, and `volumes: {{{name}-data: }}` at the top level",
                        text(mount, "target")
                    ))
                });
            }
            Some(mount) if text(mount, "type") == "tmpfs" => {}
            Some(mount) => not_restarted(lints, name, service, mount),
            None if server.keeps && !has_tmpfs(service, server.data) => {
                let path = server.data.first().copied().unwrap_or_default();
                let message =
                    format!("the data of `{name}` is lost when its container is replaced");
                lints.push("L0015", message, |problem| {
                    problem.at(service.place(), "no volume").help(format!(
                        "keep it in a volume: `{name}-data:{path}`, and `volumes: {{{name}-data: }}` at the top level"
                    ))
                });
            }
            None => {}
        }
    }
}

/// L0014: a database that stays down.
fn not_restarted(lints: &mut Lints<'_>, name: &str, service: &Node, mount: &Node) {
    let policy = service
        .get("restart")
        .or(service.at(&["deploy", "restart_policy"]));
    if policy.is_some() || text(mount, "source").is_empty() {
        return;
    }
    let message = format!("`{name}` keeps data but is not restarted when it fails");
    lints.push("L0014", message, |problem| {
        problem
            .at(service.place(), "no `restart`")
            .help("write `restart: unless-stopped`")
    });
}

/// The data is meant to be in memory.
fn has_tmpfs(service: &Node, data: &[&str]) -> bool {
    items(service.get("tmpfs"))
        .iter()
        .filter_map(|node| node.as_str()?.split(':').next())
        .any(|path| data.contains(&path))
}

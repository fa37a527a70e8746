//! `depends_on`

use super::{Lints, entries, items, servers, text};
use crate::tree::Node;

pub(super) fn check(lints: &mut Lints<'_>) {
    for (name, service) in lints.services() {
        for (other, dependency) in entries(service.get("depends_on")) {
            let Some(target) = lints.service(other) else {
                continue;
            };
            let condition = text(dependency, "condition");
            match condition {
                "service_completed_successfully" => {
                    never_ends(lints, name, other, dependency, target)
                }
                "service_healthy" => {}
                _ => started_only(lints, name, other, dependency, target),
            }
            if condition != "service_completed_successfully" {
                no_use(lints, name, other, dependency, (service, target));
            }
        }
    }
}

/// L0003 and L0004: the service may come up before what it needs is ready.
fn started_only(lints: &mut Lints<'_>, name: &str, other: &str, dependency: &Node, target: &Node) {
    let check = target.get("healthcheck");
    let disabled =
        check.is_some_and(|check| check.get("disable").and_then(Node::as_bool) == Some(true));
    let tested = check.and_then(|check| check.get("test"));
    let none = items(tested).first().and_then(Node::as_str) == Some("NONE");
    if tested.is_some() && !disabled && !none {
        let message = format!(
            "`{name}` does not wait until `{other}` is healthy, although it has a health check"
        );
        lints.push("L0003", message, |problem| {
            problem
                .at(dependency.place(), "waits only for its start")
                .help(format!(
                    "write `depends_on: {{{other}: {{condition: service_healthy}}}}`"
                ))
        });
    } else if servers::of_image(text(target, "image")).is_some() {
        let message = format!(
            "`{name}` may start before `{other}` accepts connections: it has no health check"
        );
        lints.push("L0004", message, |problem| {
            problem
                .at(dependency.place(), "waits only for its start")
                .at(target.place(), "no `healthcheck`")
                .help("add a `healthcheck` and wait for `service_healthy`")
        });
    }
}

/// L0011: services that cannot reach each other.
fn no_use(
    lints: &mut Lints<'_>,
    name: &str,
    other: &str,
    dependency: &Node,
    (service, target): (&Node, &Node),
) {
    let joins = |node: &Node, whom: &str| {
        ["network_mode", "pid", "ipc"]
            .iter()
            .any(|key| text(node, key).strip_prefix("service:") == Some(whom))
    };
    let mode = text(service, "network_mode");
    let shares_namespace = joins(service, other)
        || joins(target, name)
        || (!mode.is_empty() && mode != "none" && mode == text(target, "network_mode"))
        || target.get("provider").is_some();
    let host = |node: &Node| text(node, "network_mode") == "host";
    let networks = |node: &Node| -> Vec<String> {
        entries(node.get("networks"))
            .map(|(key, _)| key.clone())
            .collect()
    };
    let volumes = |node: &Node| -> Vec<String> {
        let mounts = items(node.get("volumes")).iter();
        mounts
            .map(|mount| text(mount, "source").to_owned())
            .filter(|source| !source.is_empty())
            .collect()
    };
    let common = |of: &dyn Fn(&Node) -> Vec<String>| {
        let theirs = of(target);
        of(service).iter().any(|key| theirs.contains(key))
    };
    if shares_namespace || host(service) || host(target) || common(&networks) || common(&volumes) {
        return;
    }
    let message = format!("`{name}` waits for `{other}` but shares no network or volume with it");
    lints.push("L0011", message, |problem| {
        problem
            .at(dependency.place(), "cannot be reached")
            .help("put both on one network, or leave the dependency out")
    });
}

/// L0019: a job that is started again whenever it ends.
fn never_ends(lints: &mut Lints<'_>, name: &str, other: &str, dependency: &Node, target: &Node) {
    let restart = target.get("restart");
    if !restart
        .and_then(Node::as_str)
        .is_some_and(|policy| matches!(policy, "always" | "unless-stopped"))
    {
        return;
    }
    let message =
        format!("`{name}` waits for the end of `{other}`, which is restarted whenever it ends");
    lints.push("L0019", message, |problem| {
        let problem = match restart {
            Some(node) => problem.at(node.value_place(), "never completes"),
            None => problem,
        };
        problem
            .at(dependency.place(), "waited for here")
            .help("write `restart: on-failure`, or leave `restart` out")
    });
}

//! The model as the daemon takes it.

mod attachment;
pub(crate) mod build;
mod disguise;
mod files;
mod health;
mod hooks;
mod kernel;
mod limits;
mod logging;
pub(crate) mod machine;
mod mounts;
mod names;
mod network;
mod nfs;
mod ports;
mod restart;
mod rollout;
pub(crate) mod security;
mod service;
mod sockets;

use std::collections::BTreeMap;

use stack_api::spec::{NetworkSpec, StackSpec, VolumeSpec};

use crate::bind::quantity::parse_bytes;
use crate::diagnostic::{Problem, Report, codes};
use crate::project::Parts;
use crate::support;
use crate::tree::{Node, entries, items};

/// The whole stack. What cannot be honoured goes to `report`.
pub(crate) fn stack(parts: &Parts, report: &mut Report) -> StackSpec {
    names::check(&parts.model, report);
    support::refuse(&parts.model, report);
    support::warn(&parts.model, report);
    ports::taken_twice(&parts.model, report);
    let model = &parts.model;
    let mut spec = StackSpec {
        name: parts.name.clone(),
        working_dir: parts.folder.clone(),
        files: parts.files.clone(),
        disabled: disabled(parts),
        unresolved: parts.unresolved.iter().cloned().collect(),
        ..StackSpec::default()
    };
    for (key, network) in entries(model.get("networks")) {
        spec.networks
            .insert(key.clone(), network::network(key, network, report));
    }
    for (key, node) in entries(model.get("volumes")) {
        let volume = volume(key, node, report);
        spec.volumes
            .extend(volume.map(|volume| (key.clone(), volume)));
    }
    for (name, node) in entries(model.get("services")) {
        let mut service = service::service(parts, name, node, report);
        if let Some(address) = attachment::binding(model, &service) {
            let open = service
                .ports
                .iter_mut()
                .filter(|port| port.host_ip.is_none());
            open.for_each(|port| port.host_ip = Some(address));
        }
        for key in service
            .networks
            .keys()
            .filter(|key| !spec.networks.contains_key(*key))
            .cloned()
            .collect::<Vec<_>>()
        {
            // The network of `network_mode: bridge`.
            let name = format!("{}_{key}", parts.name);
            spec.networks.insert(
                key,
                NetworkSpec {
                    name,
                    ..NetworkSpec::default()
                },
            );
        }
        spec.services.insert(name.clone(), service);
    }
    attachment::check(model, &spec.networks, report);
    disguise::not_shared(model, report);
    // What cannot be built is told with the rest.
    build::builds(parts, report);
    spec
}

/// The services as far as images are concerned: mounts, ports and whatever else only a
/// container has are as they may be. What stands in the way of images goes to `report`.
pub(crate) fn outline(parts: &Parts, report: &mut Report) -> StackSpec {
    names::check(&parts.model, report);
    build::builds(parts, report);
    let mut of_containers = Report::quiet();
    let services = entries(parts.model.get("services")).map(|(name, node)| {
        let service = service::service(parts, name, node, &mut of_containers);
        (name.clone(), service)
    });
    StackSpec {
        name: parts.name.clone(),
        working_dir: parts.folder.clone(),
        files: parts.files.clone(),
        services: services.collect(),
        disabled: disabled(parts),
        ..StackSpec::default()
    }
}

/// Services that no active profile enables.
fn disabled(parts: &Parts) -> Vec<String> {
    let names = parts.disabled.keys();
    names
        .filter(|name| !parts.unresolved.contains(*name))
        .cloned()
        .collect()
}

/// A volume; one that is something else in truth (a directory of the host, NFS, a tmpfs) is
/// none.
pub(crate) fn volume(key: &str, node: &Node, report: &mut Report) -> Option<VolumeSpec> {
    let kind = node.at(&["driver_opts", "type"]).and_then(Node::as_str);
    if nfs::is(kind.unwrap_or_default()) {
        nfs::check(node, report);
        return None;
    }
    if disguise::disguised(node).is_some() {
        disguise::check(node, report);
        return None;
    }
    let mut spec = VolumeSpec {
        name: text(node, "name").unwrap_or_else(|| key.to_owned()),
        external: flag(node, "external"),
        size: None,
        labels: texts_by_key(node, "labels"),
    };
    for (option, value) in entries(node.get("driver_opts")) {
        let size = value.as_str().filter(|_| option == "size").map(parse_bytes);
        match size {
            Some(Some(size)) if size > 0 => spec.size = Some(size.unsigned_abs()),
            Some(_) => unusable(value, "is not a size", report),
            None => {
                let message =
                    format!("the option `{option}` of the volume `{key}` is not supported");
                let problem = Problem::error(codes::UNSUPPORTED, message);
                let mut problem = problem.at(value.place(), "not supported");
                if option == "type" {
                    problem = problem.help(
                        "a local volume can be a directory (`type: none`, `o: bind`, `device`), a \
                         tmpfs or NFS; mount what is elsewhere on the host, and bind mount that",
                    );
                }
                report.push(problem);
            }
        }
    }
    Some(spec)
}

fn unusable(node: &Node, why: &str, report: &mut Report) {
    let text = node.scalar_text().unwrap_or_default();
    report.push(
        Problem::error(codes::UNUSABLE_VALUE, format!("`{text}` {why}")).on(node, "cannot be used"),
    );
}

fn text(node: &Node, key: &str) -> Option<String> {
    node.get(key).and_then(Node::as_str).map(str::to_owned)
}

fn flag(node: &Node, key: &str) -> bool {
    node.get(key).and_then(Node::as_bool).unwrap_or(false)
}

fn texts(node: &Node, key: &str) -> Vec<String> {
    items(node.get(key))
        .iter()
        .filter_map(Node::scalar_text)
        .collect()
}

/// `environment` as `NAME=value`; a bare `NAME` is one that is taken away.
pub(crate) fn variables(node: &Node) -> Vec<String> {
    entries(node.get("environment"))
        .map(|(name, value)| match value.scalar_text() {
            Some(value) => format!("{name}={value}"),
            None => name.clone(),
        })
        .collect()
}

/// A mapping of texts; a key without value is left out.
fn texts_by_key(node: &Node, key: &str) -> BTreeMap<String, String> {
    entries(node.get(key))
        .filter_map(|(key, value)| Some((key.clone(), value.scalar_text()?)))
        .collect()
}

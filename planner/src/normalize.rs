//! What a stack means beyond what is written: the default network, implied
//! dependencies, full names of resources, values from the environment.

use std::collections::BTreeMap;

use crate::defaults::entries_of;
use crate::rules::is_true;
use crate::tree::{Mapping, Node, Value};

/// Completes the merged, canonical tree.
pub(crate) fn normalize(root: &mut Node, project: &str, environment: &BTreeMap<String, String>) {
    default_network(root);
    if let Some(services) = root.get_mut("services").and_then(Node::as_mapping_mut) {
        for service in services.values_mut() {
            normalize_service(service, environment);
        }
    }
    for kind in ["networks", "volumes", "configs", "secrets"] {
        if root.get(kind).is_some() {
            name_resources(entries_of(root, kind), project);
        }
    }
}

/// A service without networks joins `default`, which exists when it is used.
fn default_network(root: &mut Node) {
    let mut used = None;
    for service in root
        .get_mut("services")
        .and_then(Node::as_mapping_mut)
        .into_iter()
        .flat_map(Mapping::values_mut)
    {
        let place = service.place();
        let Value::Mapping(entries) = &mut service.value else {
            continue;
        };
        if entries.contains_key("provider") || entries.contains_key("network_mode") {
            continue;
        }
        let networks = entries
            .entry("networks".to_owned())
            .or_insert_with(|| Node::mapping(Mapping::new(), place));
        let Value::Mapping(networks) = &mut networks.value else {
            continue;
        };
        if networks.is_empty() {
            networks.insert("default".to_owned(), Node::null(place));
        }
        if networks.contains_key("default") {
            used = used.or(Some(place));
        }
    }
    if let Some(place) = used {
        entries_of(root, "networks")
            .entry("default".to_owned())
            .or_insert_with(|| Node::null(place));
    }
}

fn normalize_service(service: &mut Node, environment: &BTreeMap<String, String>) {
    let image = service.get("image").cloned();
    if let Some(policy) = service.get_mut("pull_policy")
        && policy.as_str() == Some("if_not_present")
    {
        policy.value = Value::String("missing".to_owned());
    }
    if let Some(build) = service.get_mut("build") {
        normalize_build(build, environment);
    }
    if let Some(variables) = service.get_mut("environment") {
        from_environment(variables, environment, true);
    }
    for volume in service
        .get_mut("volumes")
        .and_then(Node::as_sequence_mut)
        .into_iter()
        .flatten()
    {
        if let Some(Value::String(target)) = volume.get_mut("target").map(|node| &mut node.value) {
            *target = crate::canonical::clean_path(target);
        }
    }
    for (name, restart, place) in implied(service) {
        let mut dependency = Node::mapping(
            Mapping::from([
                (
                    "condition".to_owned(),
                    Node::string("service_started", place),
                ),
                ("restart".to_owned(), Node::bool(restart, place)),
                ("required".to_owned(), Node::bool(true, place)),
            ]),
            place,
        );
        dependency.key = place;
        entries_of(service, "depends_on")
            .entry(name)
            .or_insert(dependency);
    }
    let Some(image) = image else { return };
    for hook in service
        .get_mut("pre_start")
        .and_then(Node::as_sequence_mut)
        .into_iter()
        .flatten()
    {
        if let Value::Mapping(entries) = &mut hook.value {
            entries
                .entry("image".to_owned())
                .or_insert_with(|| image.clone());
        }
    }
}

fn normalize_build(build: &mut Node, environment: &BTreeMap<String, String>) {
    let place = build.place();
    let Value::Mapping(entries) = &mut build.value else {
        return;
    };
    entries
        .entry("context".to_owned())
        .or_insert_with(|| Node::string(".", place));
    if !entries.contains_key("dockerfile_inline") {
        entries
            .entry("dockerfile".to_owned())
            .or_insert_with(|| Node::string("Dockerfile", place));
    }
    if let Some(args) = entries.get_mut("args") {
        from_environment(args, environment, false);
    }
}

/// Services that others refer to: name, restarted together, place.
fn implied(service: &Node) -> Vec<(String, bool, crate::tree::Span)> {
    let mut found = Vec::new();
    for link in service
        .get("links")
        .and_then(Node::as_sequence)
        .into_iter()
        .flatten()
    {
        if let Some(text) = link.as_str() {
            let name = match text.split(':').collect::<Vec<_>>()[..] {
                [name, _] => name,
                _ => text,
            };
            found.push((name.to_owned(), true, link.span));
        }
    }
    for namespace in ["network_mode", "ipc", "pid", "uts", "cgroup"] {
        if let Some(node) = service.get(namespace)
            && let Some(name) = node.as_str().and_then(|text| text.strip_prefix("service:"))
        {
            found.push((name.to_owned(), true, node.span));
        }
    }
    for from in service
        .get("volumes_from")
        .and_then(Node::as_sequence)
        .into_iter()
        .flatten()
    {
        if let Some(text) = from.as_str().filter(|text| !text.starts_with("container:")) {
            let name = text.split(':').next().unwrap_or(text);
            found.push((name.to_owned(), false, from.span));
        }
    }
    found
}

/// Keys without value take it from the environment. `keep`: those that are not
/// there stay without one; else they go.
fn from_environment(node: &mut Node, environment: &BTreeMap<String, String>, keep: bool) {
    match &mut node.value {
        Value::Mapping(entries) => entries.retain(|key, value| {
            if !value.is_null() {
                return true;
            }
            match environment.get(key) {
                Some(found) => {
                    value.value = Value::String(found.clone());
                    true
                }
                None => keep,
            }
        }),
        Value::Sequence(items) => items.retain_mut(|item| {
            let Some(key) = item.as_str().filter(|text| !text.contains('=')) else {
                return true;
            };
            match environment.get(key) {
                Some(found) => {
                    item.value = Value::String(format!("{key}={found}"));
                    true
                }
                None => keep,
            }
        }),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::String(_) => {}
    }
}

fn name_resources(resources: &mut Mapping, project: &str) {
    for (key, resource) in resources.iter_mut() {
        let place = resource.place();
        if resource.is_broken() {
            continue;
        }
        if resource.as_mapping().is_none() {
            resource.value = Value::Mapping(Mapping::new());
        }
        let external = resource.get("external").is_some_and(is_true);
        let Value::Mapping(entries) = &mut resource.value else {
            continue;
        };
        if entries.get("name").is_none_or(Node::is_null) {
            let name = if external {
                key.clone()
            } else {
                format!("{project}_{key}")
            };
            entries.insert("name".to_owned(), Node::string(name, place));
        }
    }
}

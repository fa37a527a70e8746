//! Which services take part, and which resources they need.

use std::collections::BTreeSet;

use crate::diagnostic::{Problem, Report, codes};
use crate::graph::Graph;
use crate::suggest;
use crate::tree::{Mapping, Node, visit};

/// All profiles that services name, in order.
pub(crate) fn all(model: &Node) -> Vec<String> {
    let mut found = BTreeSet::new();
    visit(
        model,
        &["services", "*", "profiles", "*"],
        &mut |node, _| {
            found.extend(node.as_str().map(str::to_owned));
        },
    );
    found.into_iter().collect()
}

/// Takes out the services that no profile enables and returns them. A service
/// named in `services` enables its own profiles.
pub(crate) fn apply(
    model: &mut Node,
    profiles: &[String],
    services: &[String],
    report: &mut Report,
) -> Mapping {
    let mut enabled: BTreeSet<String> = profiles.iter().cloned().collect();
    let Some(entries) = model.get_mut("services").and_then(Node::as_mapping_mut) else {
        return Mapping::new();
    };
    for name in services {
        match entries.get(name) {
            Some(service) => {
                if !takes_part(service, &enabled) {
                    enabled.extend(names(service));
                }
            }
            None => {
                let problem = Problem::error(
                    codes::UNDEFINED_SERVICE,
                    format!("there is no service `{name}`"),
                );
                let known = entries.keys().map(String::as_str);
                report.push(
                    problem.maybe_help(suggest::did_you_mean_or_list(name, "services", known)),
                );
            }
        }
    }
    let (kept, out): (Mapping, Mapping) = std::mem::take(entries)
        .into_iter()
        .partition(|(_, service)| takes_part(service, &enabled));
    *entries = kept;
    out
}

fn takes_part(service: &Node, enabled: &BTreeSet<String>) -> bool {
    let mut own = names(service).peekable();
    own.peek().is_none() || enabled.contains("*") || own.any(|name| enabled.contains(&name))
}

fn names(service: &Node) -> impl Iterator<Item = String> {
    let items = service
        .get("profiles")
        .and_then(Node::as_sequence)
        .unwrap_or_default();
    items
        .iter()
        .filter_map(|item| item.as_str().map(str::to_owned))
        .collect::<Vec<_>>()
        .into_iter()
}

/// The services of these names and all that they depend on; `None` without names: all.
pub(crate) fn with_dependencies(model: &Node, names: &[String]) -> Option<BTreeSet<String>> {
    if names.is_empty() {
        return None;
    }
    let services = model.get("services").and_then(Node::as_mapping)?;
    Some(Graph::new(services).with_dependencies(names.iter().map(String::as_str)))
}

/// Takes out networks, volumes, configs, secrets and models that no service uses.
pub(crate) fn prune(model: &mut Node) {
    let keys = |pattern: &[&str]| {
        let mut found = BTreeSet::new();
        visit(model, pattern, &mut |node, _| {
            found.extend(
                node.as_mapping()
                    .into_iter()
                    .flat_map(|m| m.keys().cloned()),
            )
        });
        found
    };
    let sources = |pattern: &[&str]| {
        let mut found = BTreeSet::new();
        visit(model, pattern, &mut |node, _| {
            let named = node
                .get("type")
                .is_none_or(|kind| kind.as_str() == Some("volume"));
            found.extend(
                node.get("source")
                    .filter(|_| named)
                    .and_then(Node::as_str)
                    .map(str::to_owned),
            );
        });
        found
    };
    let mut secrets = sources(&["services", "*", "secrets", "*"]);
    secrets.extend(sources(&["services", "*", "build", "secrets", "*"]));
    let used = [
        ("networks", keys(&["services", "*", "networks"])),
        ("volumes", sources(&["services", "*", "volumes", "*"])),
        ("secrets", secrets),
        ("configs", sources(&["services", "*", "configs", "*"])),
        ("models", keys(&["services", "*", "models"])),
    ];
    let Some(entries) = model.as_mapping_mut() else {
        return;
    };
    for (kind, used) in used {
        let Some(resources) = entries.get_mut(kind).and_then(Node::as_mapping_mut) else {
            continue;
        };
        resources.retain(|name, _| used.contains(name));
        if resources.is_empty() {
            entries.shift_remove(kind);
        }
    }
}

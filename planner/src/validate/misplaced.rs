//! Keys at the wrong depth, which is what a wrong indentation leads to. They are
//! reported, and put where they belong so that the rest of the file still fits.

use crate::diagnostic::{Problem, Report, codes};
use crate::schema::is_service_attribute;
use crate::tree::{Mapping, Node, Value};

/// Sections of the top level that hold named resources.
const RESOURCES: [&str; 4] = ["networks", "volumes", "secrets", "configs"];

/// Services of the old form without `services:` that are named one by one.
const MOST: usize = 5;

/// Repairs the top level and the services. `root` is the whole file.
pub(super) fn repair(root: &mut Node, report: &mut Report) {
    if is_manifest(root) {
        let message = "this is a Kubernetes manifest, not a stack file";
        let problem = Problem::error(codes::NOT_A_STACK, message).at(
            root.get("kind").map_or(root.span, Node::place),
            "not a stack",
        );
        report.push(problem.help("a stack file has `services:` with an `image` in each"));
        return root.give_up();
    }
    if let Value::Mapping(entries) = &mut root.value {
        services_at_top(entries, report);
        attributes_at_top(entries, report);
        among_services(entries, report);
        inside_services(entries, report);
    }
}

fn is_manifest(root: &Node) -> bool {
    let has = |key: &str| root.get(key).is_some();
    has("apiVersion") && has("kind") && !has("services")
}

/// Has something that only a service has.
fn is_like_service(node: &Node) -> bool {
    let has = |key: &str| node.get(key).is_some();
    has("image")
        || has("build")
        || has("ports") && (has("environment") || has("volumes") || has("command"))
}

fn is_top_level(key: &str) -> bool {
    RESOURCES.contains(&key)
        || key.starts_with("x-")
        || matches!(key, "version" | "name" | "include" | "services" | "models")
}

fn services(entries: &mut Mapping) -> Option<&mut Mapping> {
    entries.get_mut("services").and_then(Node::as_mapping_mut)
}

fn services_at_top(entries: &mut Mapping, report: &mut Report) {
    let found: Vec<String> = entries
        .iter()
        .filter(|(key, node)| !is_top_level(key) && is_like_service(node))
        .map(|(key, _)| key.clone())
        .collect();
    let Some(first) = found.first() else { return };
    let old = !entries.contains_key("services");
    let message = if old {
        "there is no `services:` in the file, services are at its top level".to_owned()
    } else {
        format!("`{first}` is a service at the top level of the file")
    };
    let mut problem = Problem::error(codes::MISPLACED, message);
    for (i, key) in found.iter().take(MOST).enumerate() {
        let label = if i == 0 {
            "indented too little"
        } else {
            "this one, too"
        };
        problem = problem.at(entries[key.as_str()].place(), label);
    }
    report.push(problem.help(if old {
        "write `services:` as the first line and indent everything below it by two spaces"
    } else {
        "indent it, so that it is below `services:`"
    }));
    let place = entries[first.as_str()].place();
    let (moved, rest): (Mapping, Mapping) = std::mem::take(entries)
        .into_iter()
        .partition(|(key, node)| !is_top_level(key) && is_like_service(node));
    *entries = rest;
    let slot = entries
        .entry("services".to_owned())
        .or_insert_with(|| Node::null(place));
    if slot.is_null() && !slot.is_broken() {
        slot.value = Value::Mapping(Mapping::new());
    }
    if let Value::Mapping(services) = &mut slot.value {
        for (key, node) in moved {
            services.entry(key).or_insert(node);
        }
    }
}

/// `image:` and its like without indentation.
fn attributes_at_top(entries: &mut Mapping, report: &mut Report) {
    let found: Vec<String> = entries
        .keys()
        .filter(|key| !is_top_level(key) && is_service_attribute(key))
        .cloned()
        .collect();
    for key in &found {
        let Some(node) = entries.get_mut(key) else {
            continue;
        };
        let problem = Problem::error(
            codes::MISPLACED,
            format!("`{key}` is at the top level of the file"),
        );
        let problem = problem.at(node.place(), "belongs to a service");
        report.blame(
            node,
            problem.help("indent it, so that it is below the name of its service"),
        );
    }
    if !found.is_empty() {
        forgive_empty(entries, report);
        entries.retain(|key, _| !found.contains(key));
    }
}

/// Attributes that are indented as far as the service they belong to, and
/// sections that belong to the top level.
fn among_services(entries: &mut Mapping, report: &mut Report) {
    let Some(services) = services(entries) else {
        return;
    };
    let mut sections = Vec::new();
    let mut attributes = Vec::new();
    for (key, node) in services.iter_mut() {
        let empty = node.is_null() || node.as_mapping().is_some_and(Mapping::is_empty);
        if empty || is_like_service(node) || node.is_broken() {
            continue;
        }
        let like = |node: &Node| {
            node.as_mapping()
                .is_none_or(|m| !m.keys().any(|key| is_service_attribute(key)))
        };
        if !like(node) {
            continue;
        }
        let (problem, help) = if RESOURCES.contains(&key.as_str()) && node.as_mapping().is_some() {
            sections.push((key.clone(), node.place()));
            (
                format!("`{key}` is among the services"),
                "indent it less, to the depth of `services:`",
            )
        } else if is_service_attribute(key) {
            attributes.push(key.clone());
            (
                format!("`{key}` is an attribute of a service, not a service"),
                "indent it more, so that it is below the name of its service",
            )
        } else {
            continue;
        };
        let problem = Problem::error(codes::MISPLACED, problem).at(node.place(), "wrong depth");
        report.blame(node, problem.help(help));
    }
    services.retain(|key, _| {
        !attributes.contains(key) && !sections.iter().any(|(section, _)| section == key)
    });
    if !attributes.is_empty() {
        forgive_empty(entries, report);
    }
    for (key, place) in sections {
        let slot = entries.entry(key).or_insert_with(|| Node::null(place));
        slot.give_up();
    }
}

/// Services that have nothing because it was indented too little.
fn forgive_empty(entries: &mut Mapping, report: &mut Report) {
    let Some(slot) = entries.get_mut("services") else {
        return;
    };
    if slot.is_null() {
        return report.give_up(slot);
    }
    let services = slot
        .as_mapping_mut()
        .into_iter()
        .flat_map(Mapping::values_mut);
    for service in services {
        if !is_like_service(service) && service.get("extends").is_none() {
            report.give_up(service);
        }
    }
}

/// A service or a section of the top level inside another service.
fn inside_services(entries: &mut Mapping, report: &mut Report) {
    let Some(services) = services(entries) else {
        return;
    };
    let mut adopted = Mapping::new();
    for (outer, service) in services.iter_mut() {
        let Value::Mapping(entries) = &mut service.value else {
            continue;
        };
        let inside = |(key, node): (&String, &Node)| {
            !is_service_attribute(key) && !key.starts_with("x-") && is_like_service(node)
        };
        if !entries.iter().any(inside) {
            continue;
        }
        let (moved, rest): (Mapping, Mapping) = std::mem::take(entries)
            .into_iter()
            .partition(|(key, node)| inside((key, node)));
        *entries = rest;
        for (key, node) in moved {
            let message = format!("the service `{key}` is inside the service `{outer}`");
            let problem = Problem::error(codes::MISPLACED, message)
                .at(node.place(), "indented too far")
                .help(format!("indent it as far as `{outer}`"));
            report.push(problem);
            adopted.entry(key).or_insert(node);
        }
    }
    for (key, node) in adopted {
        services.entry(key).or_insert(node);
    }
}

//! Names and texts that end up in paths, host names and system calls.

use std::collections::BTreeMap;

use super::{entries, unusable};
use crate::diagnostic::{Problem, Report, codes};
use crate::tree::{Node, Span, Value};

/// Checks the whole model.
pub(super) fn check(model: &Node, report: &mut Report) {
    no_zero_bytes(model, report);
    let mut containers: BTreeMap<&str, (&str, Span)> = BTreeMap::new();
    for (name, service) in entries(model.get("services")) {
        if !is_name(name) {
            refuse(name, service.place(), report);
        }
        if let Some(node) = service
            .get("container_name")
            .filter(|node| !node.is_broken())
        {
            let container = node.as_str().unwrap_or_default();
            if !is_name(container) {
                refuse(container, node.value_place(), report);
            }
            if let Some((first, at)) = containers.insert(container, (name, node.span)) {
                let message = format!("`{first}` and `{name}` have the same `container_name`");
                let mut problem = Problem::error(codes::CONFLICT, message).at(at, "first here");
                if at != node.span {
                    problem = problem.at(node.span, "again here");
                }
                let help = "leave it out: services are reached under their own names";
                report.push(problem.help(help));
            }
        }
        for (key, value) in entries(service.get("environment")) {
            if key.is_empty() || key.contains('=') {
                let message = format!("`{key}` cannot be the name of a variable");
                report.push(
                    Problem::error(codes::UNUSABLE_VALUE, message).at(value.place(), "this name"),
                );
            }
        }
        for volume in super::items(service.get("volumes")) {
            let subpath = volume.at(&["volume", "subpath"]);
            if let Some(node) = subpath.filter(|node| !is_inside(node.as_str().unwrap_or_default()))
            {
                unusable(node, "leads out of the volume", report);
            }
        }
    }
    for kind in ["networks", "volumes"] {
        for (key, resource) in entries(model.get(kind)) {
            let name = resource.get("name").and_then(Node::as_str).unwrap_or(key);
            if !is_name(name) {
                refuse(
                    name,
                    resource
                        .get("name")
                        .map_or(resource.place(), Node::value_place),
                    report,
                );
            }
        }
    }
}

fn refuse(name: &str, at: Span, report: &mut Report) {
    let problem = Problem::error(
        codes::UNUSABLE_VALUE,
        format!("`{name}` cannot be used as a name"),
    )
    .at(at, "this name");
    report
        .push(problem.help("letters, digits, `.`, `_` and `-`, with a letter, digit or `_` first"));
}

/// `[A-Za-z0-9_][A-Za-z0-9_.-]*`, at most 200 bytes.
fn is_name(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.starts_with(word)
        && text.len() <= 200
        && text.chars().all(|c| word(c) || matches!(c, '.' | '-'))
}

/// A relative path that does not go up.
fn is_inside(path: &str) -> bool {
    !path.starts_with('/') && path.split('/').all(|part| part != "..")
}

fn no_zero_bytes(node: &Node, report: &mut Report) {
    match &node.value {
        Value::String(text) if text.contains('\0') => {
            let problem =
                Problem::error(codes::UNUSABLE_VALUE, "a text must not contain a zero byte");
            report.push(problem.on(node, "contains one"));
        }
        Value::Sequence(items) => items.iter().for_each(|item| no_zero_bytes(item, report)),
        Value::Mapping(entries) => {
            for (key, child) in entries {
                if key.contains('\0') {
                    let problem =
                        Problem::error(codes::UNUSABLE_VALUE, "a key must not contain a zero byte");
                    report.push(problem.at(child.place(), "contains one"));
                }
                no_zero_bytes(child, report);
            }
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::String(_) => {}
    }
}

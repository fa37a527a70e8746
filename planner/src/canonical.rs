//! Short forms to long ones. What cannot be a short form is left alone; its type
//! has been reported already.

mod devices;
mod environment;
mod external;
mod ports;
mod volumes;

use crate::budget::Budget;
use crate::diagnostic::Report;
use crate::merge::names;
use crate::tree::{Mapping, Node, Value, visit_mut};

pub(crate) use volumes::{clean as clean_path, is_windows_absolute, target_of as volume_target};

/// Rewrites the tree. `lenient`: what does not parse stays as it is, because
/// variables have not been replaced.
pub(crate) fn canonical(root: &mut Node, lenient: bool, budget: &mut Budget, report: &mut Report) {
    let mut quiet = Report::quiet();
    let report = if lenient { &mut quiet } else { report };
    let service = |rest: &[&'static str]| [&["services", "*"], rest].concat();

    visit_mut(root, &service(&["build"]), &mut |node, _| {
        wrap(node, "context")
    });
    visit_mut(root, &service(&["extends"]), &mut |node, _| {
        wrap(node, "service")
    });
    for list in [
        &["secrets", "*"][..],
        &["configs", "*"],
        &["build", "secrets", "*"],
    ] {
        visit_mut(root, &service(list), &mut |node, _| wrap(node, "source"));
    }
    for text in [&["build", "provenance"], &["build", "sbom"]] {
        visit_mut(root, &service(text), &mut |node, _| as_text(node));
    }
    for lists in [
        &["dns"][..],
        &["label_file"],
        &["develop", "watch", "*", "ignore"],
        &["develop", "watch", "*", "include"],
    ] {
        visit_mut(root, &service(lists), &mut |node, _| as_list(node));
    }
    for mapping in ["networks", "models"] {
        visit_mut(root, &service(&[mapping]), &mut |node, _| {
            as_names(node, false)
        });
    }
    visit_mut(root, &service(&["depends_on"]), &mut |node, _| {
        as_names(node, true);
        complete_dependencies(node);
    });
    visit_mut(root, &service(&["env_file"]), &mut |node, _| {
        environment::env_files(node)
    });
    visit_mut(
        root,
        &service(&["build", "additional_contexts"]),
        &mut |node, path| {
            environment::key_values(node, path, report);
        },
    );
    visit_mut(root, &service(&["build", "ssh"]), &mut |node, path| {
        environment::ssh(node, path, report)
    });
    visit_mut(root, &service(&["ports"]), &mut |node, _| {
        ports::canonical(node, budget, report)
    });
    visit_mut(root, &service(&["volumes", "*"]), &mut |node, _| {
        volumes::canonical(node, report)
    });
    visit_mut(root, &service(&["devices", "*"]), &mut |node, _| {
        devices::mapping(node, report)
    });
    visit_mut(root, &service(&["gpus"]), &mut |node, _| {
        devices::gpus(node)
    });
    for resource in ["volumes", "networks", "secrets", "configs"] {
        visit_mut(root, &[resource, "*"], &mut |node, path| {
            external::canonical(node, path, report)
        });
    }
    visit_mut(root, &service(&["dns"]), &mut |node, _| {
        if let Value::Sequence(items) = &mut node.value {
            items.retain(|item| !item.is_null() && item.as_str() != Some(""));
        }
    });
}

/// A text becomes a mapping with it under `key`.
fn wrap(node: &mut Node, key: &str) {
    if node.as_str().is_some() {
        let inner = Node {
            key: node.span,
            ..node.clone()
        };
        node.value = Value::Mapping(Mapping::from([(key.to_owned(), inner)]));
    }
}

fn as_list(node: &mut Node) {
    if node.as_str().is_some() {
        let inner = Node::new(node.value.clone(), node.span);
        node.value = Value::Sequence(vec![inner]);
    }
}

fn as_text(node: &mut Node) {
    if node.as_bool().is_some() {
        node.value = Value::String(node.scalar_text().unwrap_or_default());
    }
}

fn as_names(node: &mut Node, dependencies: bool) {
    if node.as_sequence().is_some() {
        node.value = Value::Mapping(names(node.clone(), dependencies));
    }
}

fn complete_dependencies(node: &mut Node) {
    for dependency in node
        .as_mapping_mut()
        .into_iter()
        .flat_map(Mapping::values_mut)
    {
        let place = dependency.place();
        if let Value::Mapping(entries) = &mut dependency.value {
            entries
                .entry("condition".to_owned())
                .or_insert_with(|| Node::string("service_started", place));
            entries
                .entry("required".to_owned())
                .or_insert_with(|| Node::bool(true, place));
        }
    }
}

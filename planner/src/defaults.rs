//! Values that are understood when they are not written.

use crate::tree::{Mapping, Node, Span, Value, visit_mut};

/// Adds them to the merged tree.
pub(crate) fn set(root: &mut Node) {
    visit_mut(root, &["services", "*", "build"], &mut |node, _| {
        put(node, "context", |span| Node::string(".", span))
    });
    visit_mut(root, &["services", "*", "ports", "*"], &mut |node, _| {
        put(node, "protocol", |span| Node::string("tcp", span));
        put(node, "mode", |span| Node::string("ingress", span));
    });
    visit_mut(
        root,
        &["services", "*", "volumes", "*", "bind"],
        &mut |node, _| {
            put(node, "create_host_path", |span| Node::bool(true, span));
        },
    );
    visit_mut(root, &["services", "*", "secrets", "*"], &mut |node, _| {
        if let Some(source) = node.get("source").and_then(Node::as_str).map(str::to_owned) {
            put(node, "target", |span| {
                Node::string(format!("/run/secrets/{source}"), span)
            });
        }
    });
    let requests: [&[&str]; 2] = [
        &[
            "services",
            "*",
            "deploy",
            "resources",
            "reservations",
            "devices",
            "*",
        ],
        &["services", "*", "gpus", "*"],
    ];
    for pattern in requests {
        visit_mut(root, pattern, &mut |node, _| {
            if node.get("device_ids").is_none() {
                put(node, "count", |span| Node::string("all", span));
            }
        });
    }
}

fn put(node: &mut Node, key: &str, value: impl FnOnce(Span) -> Node) {
    let place = node.place();
    if let Value::Mapping(entries) = &mut node.value {
        entries
            .entry(key.to_owned())
            .or_insert_with(|| value(place));
    }
}

/// Entries of a mapping that may be missing altogether.
pub(crate) fn entries_of<'a>(root: &'a mut Node, key: &str) -> &'a mut Mapping {
    let place = root.place();
    if root.as_mapping().is_none() {
        root.value = Value::Mapping(Mapping::new());
    }
    let Value::Mapping(entries) = &mut root.value else {
        unreachable_mapping()
    };
    let child = entries
        .entry(key.to_owned())
        .or_insert_with(|| Node::mapping(Mapping::new(), place));
    if child.as_mapping().is_none() {
        child.value = Value::Mapping(Mapping::new());
    }
    match &mut child.value {
        Value::Mapping(entries) => entries,
        _ => unreachable_mapping(),
    }
}

fn unreachable_mapping() -> ! {
    unreachable!("the value was made a mapping just before")
}

//! The JSON form of the model differs from the YAML form, as it does in Docker
//! Compose: it says `command: null`, leaves out `models` and the extensions below
//! the top level, sorts names by bytes and has some keys with capitals.

use crate::schema::{Kind, Object, ROOT};
use crate::tree::{Mapping, Node, Span, Value};

/// The model as it is printed in JSON: keys of the top level in order.
pub(crate) fn for_json(model: &Node) -> Node {
    let mut model = model.clone();
    object(&mut model, &ROOT, true);
    if let Value::Mapping(entries) = &mut model.value {
        entries.shift_remove("models");
        entries.sort_unstable_keys();
    }
    model
}

fn object(node: &mut Node, shape: &Object, root: bool) {
    let Value::Mapping(entries) = &mut node.value else {
        return;
    };
    if !root {
        entries.retain(|key, _| shape.field(key).is_some());
    }
    let empty = || Value::Mapping(Mapping::new());
    let always: Vec<(&str, Value)> = match shape.what {
        "a service" => vec![("command", Value::Null), ("entrypoint", Value::Null)],
        "a hook" | "a pre_start hook" => vec![("command", Value::Null)],
        "a network" => vec![("ipam", empty())],
        "a deploy section" => vec![("resources", empty()), ("placement", empty())],
        _ => Vec::new(),
    };
    let sorted = always.is_empty();
    for (key, value) in always {
        entries
            .entry(key.to_owned())
            .or_insert_with(|| Node::new(value, Span::NONE));
    }
    let rank = |name: &str| {
        shape
            .fields
            .iter()
            .position(|field| field.name == name)
            .unwrap_or(shape.fields.len())
    };
    if !sorted {
        entries.sort_by(|a, _, b, _| rank(a).cmp(&rank(b)));
    }
    for (key, child) in entries.iter_mut() {
        if let Some(field) = shape.field(key) {
            walk(child, &field.kind);
        }
    }
    if matches!(shape.what, "a device weight" | "a device rate") {
        *entries = std::mem::take(entries)
            .into_iter()
            .map(|(key, node)| (capital(&key), node))
            .collect();
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map(|first| first.to_ascii_uppercase())
        .into_iter()
        .chain(chars)
        .collect()
}

fn walk(node: &mut Node, kind: &Kind) {
    match *kind {
        Kind::Object(shape) | Kind::ObjectOrNull(shape) => object(node, shape, false),
        Kind::Either(_, kind) => walk(node, kind),
        Kind::List(kind) => node
            .as_sequence_mut()
            .into_iter()
            .flatten()
            .for_each(|item| walk(item, kind)),
        Kind::Named(kind, _) => {
            let Value::Mapping(entries) = &mut node.value else {
                return;
            };
            entries.values_mut().for_each(|child| walk(child, kind));
            entries.sort_unstable_keys();
        }
        Kind::Pairs(_) | Kind::Options | Kind::OptionsOrNull | Kind::TextMap => {
            if let Value::Mapping(entries) = &mut node.value {
                entries.sort_unstable_keys();
            }
        }
        _ => {}
    }
}

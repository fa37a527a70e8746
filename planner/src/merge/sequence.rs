//! Attributes that may be a mapping, a list or one text, as lists.

use crate::tree::{Node, Value};

/// Both as lists, one after the other.
pub(super) fn join(base: Node, over: Node) -> Vec<Node> {
    let mut items = as_list(base);
    items.extend(as_list(over));
    items
}

/// As [`join`] without what is there already.
pub(super) fn join_new(base: Node, over: Node) -> Vec<Node> {
    let mut items = as_list(base);
    let known: std::collections::BTreeSet<_> = items.iter().filter_map(Node::scalar_text).collect();
    items.extend(
        as_list(over)
            .into_iter()
            .filter(|item| !item.scalar_text().is_some_and(|text| known.contains(&text))),
    );
    items
}

/// A mapping becomes `key=value` in the order of keys, a key without value
/// stays alone, a list of values repeats its key.
fn as_list(node: Node) -> Vec<Node> {
    match node.value {
        Value::Sequence(items) => items,
        Value::String(_) => vec![node],
        Value::Mapping(entries) => {
            let mut items: Vec<Node> = entries
                .into_iter()
                .flat_map(|(key, value)| pairs(&key, value))
                .collect();
            items.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
            items
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => Vec::new(),
    }
}

fn pairs(key: &str, value: Node) -> Vec<Node> {
    let pair = |value: &Node| {
        let text = match value.scalar_text() {
            Some(text) => format!("{key}={text}"),
            None => key.to_owned(),
        };
        Node::string(text, value.value_place())
    };
    match &value.value {
        Value::Sequence(items) => items.iter().map(pair).collect(),
        // A mark is kept, so that the key can still be reset in earlier files.
        _ => {
            let mut item = pair(&value);
            item.tag = value.tag;
            vec![item]
        }
    }
}

//! Looking into a tree where what is not there counts as empty.

use super::Node;

/// The entries of a mapping.
pub(crate) fn entries(node: Option<&Node>) -> impl Iterator<Item = (&String, &Node)> {
    node.and_then(Node::as_mapping).into_iter().flatten()
}

/// The items of a list.
pub(crate) fn items(node: Option<&Node>) -> &[Node] {
    node.and_then(Node::as_sequence).unwrap_or_default()
}

/// The text of an entry.
pub(crate) fn text<'a>(node: &'a Node, key: &str) -> &'a str {
    node.get(key).and_then(Node::as_str).unwrap_or_default()
}

//! Lists and mappings of texts.

use std::collections::BTreeMap;

use super::{Bound, unfit};
use crate::diagnostic::codes;
use crate::tree::{Mapping, Node, Value};
use crate::yaml::emit::natural_order;

/// A list of texts; `None` when there is none.
pub(super) fn texts(node: Node) -> Option<Value> {
    match node.value {
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(Value::Sequence(vec![Node::string(text, node.span)])),
        Value::Sequence(items) if items.is_empty() => None,
        Value::Sequence(items) => {
            let items = items.into_iter().map(|item| match item.scalar_text() {
                Some(text) => Node::string(text, item.span),
                None => item,
            });
            Some(Value::Sequence(items.collect()))
        }
        Value::Null => None,
        other => Some(other),
    }
}

/// A mapping from keys to texts. `open`: a key may be without value, else it
/// gets an empty one.
pub(super) fn pairs(node: Node, open: bool) -> Bound {
    let nothing = |span| {
        if open {
            Node::null(span)
        } else {
            Node::string("", span)
        }
    };
    let mut out: Vec<(String, Node)> = Vec::new();
    match &node.value {
        Value::Mapping(entries) => {
            for (key, child) in entries {
                let value = child.scalar_text().map_or_else(
                    || nothing(child.span),
                    |text| Node::string(text, child.span),
                );
                out.push((
                    key.clone(),
                    Node {
                        key: child.key,
                        ..value
                    },
                ));
            }
        }
        Value::Sequence(items) => {
            let mut seen: BTreeMap<String, Node> = BTreeMap::new();
            for item in items {
                let Some(text) = item.scalar_text() else {
                    continue;
                };
                let (key, value) = match text.split_once('=') {
                    Some((key, value)) => (key, Node::string(value, item.span)),
                    None => (text.as_str(), nothing(item.span)),
                };
                if open && key.ends_with(char::is_whitespace) {
                    let message = format!("the name of the variable `{key}` ends with a space");
                    return Err(unfit(item, codes::BAD_PAIR, message));
                }
                seen.insert(
                    key.to_owned(),
                    Node {
                        key: item.span,
                        ..value
                    },
                );
            }
            out.extend(seen);
        }
        Value::Null => {}
        _ => return Ok(Some(node.value)),
    }
    out.sort_by(|(a, _), (b, _)| natural_order(a, b));
    Ok((!out.is_empty()).then(|| Value::Mapping(out.into_iter().collect())))
}

/// Keys with one or several values as lists.
pub(super) fn multi(node: Node) -> Option<Value> {
    let Value::Mapping(entries) = node.value else {
        return Some(node.value);
    };
    let mut out = Mapping::new();
    for (key, child) in entries {
        let items = match &child.value {
            Value::Sequence(items) => items
                .iter()
                .filter_map(|i| Some(Node::string(i.scalar_text()?, i.span)))
                .collect(),
            _ => child
                .scalar_text()
                .map(|text| Node::string(text, child.span))
                .into_iter()
                .collect(),
        };
        out.insert(
            key,
            Node {
                key: child.key,
                ..Node::sequence(items, child.span)
            },
        );
    }
    out.sort_by(|a, _, b, _| natural_order(a, b));
    (!out.is_empty()).then_some(Value::Mapping(out))
}

/// `id` or `id=path` in the order of ids.
pub(super) fn ssh(node: Node) -> Option<Value> {
    let Value::Mapping(entries) = node.value else {
        return Some(node.value);
    };
    let items = entries
        .into_iter()
        .map(|(id, path)| match path.scalar_text() {
            Some(text) if !text.is_empty() => Node::string(format!("{id}={text}"), path.span),
            _ => Node::string(id, path.span),
        });
    let mut items: Vec<Node> = items.collect();
    items.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
    (!items.is_empty()).then_some(Value::Sequence(items))
}

/// `host=address` in order; an address may be given several times.
pub(super) fn hosts(node: Node) -> Bound {
    let mut list: BTreeMap<String, Vec<Node>> = BTreeMap::new();
    match &node.value {
        Value::Mapping(entries) => {
            for (host, child) in entries {
                let addresses = match &child.value {
                    Value::Sequence(items) => items.iter().collect(),
                    _ => vec![child],
                };
                let texts = addresses
                    .into_iter()
                    .map(|n| Node::string(n.scalar_text().unwrap_or_default(), n.span));
                list.entry(host.clone()).or_default().extend(texts);
            }
        }
        Value::Sequence(items) => {
            for item in items {
                let text = item.scalar_text().unwrap_or_default();
                let Some((host, addresses)) = text.split_once('=').or_else(|| text.split_once(':'))
                else {
                    let message = format!("`{text}` has no address, `host=address` is expected");
                    return Err(unfit(item, codes::BAD_HOST, message));
                };
                let texts = addresses
                    .split(',')
                    .map(|address| Node::string(address, item.span));
                list.entry(host.to_owned()).or_default().extend(texts);
            }
        }
        _ => return Ok(Some(node.value)),
    }
    let mut out = Vec::new();
    for (host, addresses) in list {
        if host.is_empty() || host.contains([':', '=']) {
            let at = addresses.first().unwrap_or(&node);
            return Err(unfit(
                at,
                codes::BAD_HOST,
                format!("`{host}` is not the name of a host"),
            ));
        }
        for address in addresses {
            let text = address.as_str().unwrap_or_default();
            let bare = text
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'))
                .unwrap_or(text);
            out.push(Node::string(format!("{host}={bare}"), address.span));
        }
    }
    out.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
    Ok((!out.is_empty()).then_some(Value::Sequence(out)))
}

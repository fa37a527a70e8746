//! Walking to all nodes that a pattern names.

use super::{Mapping, Node, Path, Value};

/// Entries up to which looking at each is faster than hashing the key.
const FEW: usize = 16;

/// Calls `act` for every node at `pattern`, where `*` is any key or list item.
pub(crate) fn visit_mut(root: &mut Node, pattern: &[&str], act: &mut dyn FnMut(&mut Node, &Path)) {
    walk_mut(root, pattern, &mut Path::default(), act);
}

/// Calls `act` for every node at `pattern`, where `*` is any key or list item.
pub(crate) fn visit<'a>(root: &'a Node, pattern: &[&str], act: &mut dyn FnMut(&'a Node, &Path)) {
    walk(root, pattern, &mut Path::default(), act);
}

fn walk_mut(
    node: &mut Node,
    pattern: &[&str],
    path: &mut Path,
    act: &mut dyn FnMut(&mut Node, &Path),
) {
    let Some((first, rest)) = pattern.split_first() else {
        act(node, path);
        return;
    };
    match &mut node.value {
        Value::Mapping(entries) if *first == "*" => {
            for (key, child) in entries
                .iter_mut()
                .filter(|(_, child)| leads_on(child, rest))
            {
                path.push_key(key);
                walk_mut(child, rest, path, act);
                path.pop();
            }
        }
        Value::Mapping(entries) => {
            let few = entries.len() <= FEW;
            let child = match few {
                true => entries.iter_mut().find(|(key, _)| same(key, first)),
                false => entries
                    .get_full_mut(*first)
                    .map(|(_, key, child)| (key, child)),
            };
            if let Some((_, child)) = child {
                path.push_key(first);
                walk_mut(child, rest, path, act);
                path.pop();
            }
        }
        Value::Sequence(items) if *first == "*" => {
            for (i, child) in items.iter_mut().enumerate() {
                path.push_index(i);
                walk_mut(child, rest, path, act);
                path.pop();
            }
        }
        Value::Sequence(_)
        | Value::Null
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Float(_)
        | Value::String(_) => {}
    }
}

fn walk<'a>(
    node: &'a Node,
    pattern: &[&str],
    path: &mut Path,
    act: &mut dyn FnMut(&'a Node, &Path),
) {
    let Some((first, rest)) = pattern.split_first() else {
        act(node, path);
        return;
    };
    match &node.value {
        Value::Mapping(entries) => {
            let any = *first == "*";
            for (key, child) in entries
                .iter()
                .filter(|(key, child)| (any || same(key, first)) && leads_on(child, rest))
            {
                path.push_key(key);
                walk(child, rest, path, act);
                path.pop();
            }
        }
        Value::Sequence(items) if *first == "*" => {
            for (i, child) in items.iter().enumerate() {
                path.push_index(i);
                walk(child, rest, path, act);
                path.pop();
            }
        }
        Value::Sequence(_)
        | Value::Null
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Float(_)
        | Value::String(_) => {}
    }
}

/// May something below the node match? Nearly always not: patterns name
/// attributes that most services do not have.
fn leads_on(node: &Node, pattern: &[&str]) -> bool {
    match (pattern.first(), &node.value) {
        (None, _) => true,
        (Some(&"*"), Value::Mapping(_) | Value::Sequence(_)) => true,
        (Some(key), Value::Mapping(entries)) => has(entries, key),
        (Some(_), _) => false,
    }
}

fn has(entries: &Mapping, key: &str) -> bool {
    if entries.len() <= FEW {
        entries.keys().any(|name| same(name, key))
    } else {
        entries.contains_key(key)
    }
}

/// Equality that tells most texts apart without a call.
pub(crate) fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.as_bytes().first() == b.as_bytes().first() && a == b
}

//! Walking to all nodes that a pattern names.

use super::{Node, Path, Value};

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
            for (key, child) in entries.iter_mut() {
                path.push_key(key);
                walk_mut(child, rest, path, act);
                path.pop();
            }
        }
        Value::Mapping(entries) => {
            if let Some(child) = entries.get_mut(*first) {
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
                .filter(|(key, _)| any || key.as_str() == *first)
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

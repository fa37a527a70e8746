//! `env_file`, `additional_contexts` and `ssh`.

use crate::diagnostic::{Problem, Report, codes};
use crate::tree::{Mapping, Node, Path, Value};

/// A text or a list of texts and mappings becomes a list of mappings.
pub(super) fn env_files(node: &mut Node) {
    if node.as_str().is_some() {
        let inner = Node::new(node.value.clone(), node.span);
        node.value = Value::Sequence(vec![inner]);
    }
    for item in node.as_sequence_mut().into_iter().flatten() {
        super::wrap(item, "path");
        let place = item.span;
        if let Value::Mapping(entries) = &mut item.value {
            entries
                .entry("required".to_owned())
                .or_insert_with(|| Node::bool(true, place));
        }
    }
}

/// A list of `key=value` becomes a mapping.
pub(super) fn key_values(node: &mut Node, path: &Path, report: &mut Report) {
    let Value::Sequence(items) = &node.value else {
        return;
    };
    let mut entries = Mapping::new();
    for item in items {
        let Some((key, value)) = item.as_str().and_then(|text| text.split_once('=')) else {
            let problem = Problem::error(codes::BAD_PAIR, format!("`{path}` takes `key=value`"));
            let problem = problem.on(item, "there is no `=`");
            report.blame(node, problem);
            return;
        };
        let mut value = Node::string(value, item.span);
        value.key = item.span;
        entries.insert(key.to_owned(), value);
    }
    node.value = Value::Mapping(entries);
}

/// A list of `default`, `id` and `id=path` becomes a mapping.
pub(super) fn ssh(node: &mut Node, path: &Path, report: &mut Report) {
    let Value::Sequence(items) = &node.value else {
        return;
    };
    let mut entries = Mapping::new();
    for item in items {
        let Some(text) = item.as_str() else { continue };
        let (id, mut value) = match text.split_once('=') {
            Some((id, file)) => (id, Node::string(file, item.span)),
            None if text == "default" => (text, Node::null(item.span)),
            None => {
                let problem = Problem::error(
                    codes::BAD_PAIR,
                    format!("`{path}` takes `default` or `id=path`"),
                );
                report.push(problem.on(item, "there is no path"));
                continue;
            }
        };
        value.key = item.span;
        entries.insert(id.to_owned(), value);
    }
    node.value = Value::Mapping(entries);
}

//! `devices` and `gpus`.

use crate::diagnostic::{Problem, Report, codes};
use crate::tree::{Mapping, Node, Value};

/// `source[:target[:permissions]]` becomes a mapping.
pub(super) fn mapping(node: &mut Node, report: &mut Report) {
    let Some(text) = node.as_str() else { return };
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, permissions) = match parts[..] {
        [source] => (source, source, "rwm"),
        [source, target] => (source, target, "rwm"),
        [source, target, permissions] => (source, target, permissions),
        _ => {
            let problem = Problem::error(
                codes::BAD_VOLUME,
                format!("`{text}` has too many parts for a device"),
            );
            let problem = problem.on(node, "`source[:target[:permissions]]` is expected");
            report.blame(node, problem);
            return;
        }
    };
    let target = if target.is_empty() { source } else { target };
    let entry = |key: &str, text: &str| (key.to_owned(), Node::string(text, node.span));
    let entries = [
        entry("source", source),
        entry("target", target),
        entry("permissions", permissions),
    ];
    node.value = Value::Mapping(Mapping::from(entries));
}

/// `all` becomes one request for all.
pub(super) fn gpus(node: &mut Node) {
    if node.as_str().is_some() {
        let count = ("count".to_owned(), Node::string("all", node.span));
        let request = Node::mapping(Mapping::from([count]), node.span);
        node.value = Value::Sequence(vec![request]);
    }
}

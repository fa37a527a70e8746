//! One file over another: mappings merge deeply, lists append, scalars replace,
//! and the attributes below have rules of their own.

mod rules;
mod sequence;
mod unicity;

use crate::diagnostic::{Problem, Report, codes};
use crate::tree::{Mapping, Node, Path, Tag, Value};

pub(crate) use rules::names;
pub(crate) use unicity::{enforce as enforce_unicity, lists as unique_lists};

/// `over` merged onto `base`, both at `path`.
///
/// Nodes marked `!reset` or `!override` replace what is in `base`; a `!reset`
/// stays as a marked null until [`strip`], for the files that come before.
pub(crate) fn merge(base: Node, over: Node, path: &mut Path, report: &mut Report) -> Node {
    if over.tag != Tag::None {
        return over;
    }
    if base.is_broken() {
        return base;
    }
    if let Some(rule) = rules::rule(&path.keys()) {
        return rules::apply(rule, base, over, path, report);
    }
    if over.is_null() {
        return base;
    }
    let (span, key, tag) = (over.span, over.key, base.tag);
    let earlier = base.place();
    let value = match (base.value, over.value) {
        (Value::Mapping(base), Value::Mapping(over)) => {
            Value::Mapping(mappings(base, over, path, report))
        }
        (Value::Sequence(mut base), Value::Sequence(over)) => {
            base.extend(over);
            Value::Sequence(base)
        }
        (base @ (Value::Mapping(_) | Value::Sequence(_)), over) => {
            let over = Node {
                value: over,
                span,
                key,
                tag,
            };
            let base = Node {
                value: base,
                ..over.clone()
            };
            let message = format!(
                "`{path}` is {} here but {} in an earlier file",
                over.kind(),
                base.kind()
            );
            let problem = Problem::error(codes::CANNOT_MERGE, message)
                .on(&over, "cannot be merged")
                .at(earlier, "onto this")
                .help("write both in the same form, or mark this one with `!override`");
            report.push(problem);
            return base;
        }
        (_, over) => over,
    };
    Node {
        value,
        span,
        key,
        tag,
    }
}

/// Every entry of `over` onto the entry of the same key.
fn mappings(mut base: Mapping, over: Mapping, path: &mut Path, report: &mut Report) -> Mapping {
    for (key, node) in over {
        match base.get_mut(&key) {
            Some(slot) => {
                let earlier = std::mem::replace(slot, Node::null(node.span));
                path.push_key(&key);
                let merged = merge(earlier, node, path, report);
                path.pop();
                base.insert(key, merged);
            }
            None => {
                base.insert(key, node);
            }
        }
    }
    base
}

/// Removes what is marked `!reset` and forgets the marks of merging.
pub(crate) fn strip(node: &mut Node) {
    if !node.is_broken() {
        node.tag = Tag::None;
    }
    match &mut node.value {
        Value::Mapping(entries) => {
            entries.retain(|_, child| child.tag != Tag::Reset);
            entries.values_mut().for_each(strip);
        }
        Value::Sequence(items) => {
            items.retain(|item| item.tag != Tag::Reset);
            items.iter_mut().for_each(strip);
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::String(_) => {}
    }
}

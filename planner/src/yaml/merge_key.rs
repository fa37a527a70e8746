//! The merge key `<<`: entries of other mappings, unless they are given here.

use crate::diagnostic::{Problem, Report, codes};
use crate::tree::{Mapping, Node, Span, Value};

/// Adds what `source` has and `entries` lacks. In a list of mappings the
/// earlier one wins.
pub(super) fn apply(entries: &mut Mapping, source: Node, report: &mut Report) {
    let place = source.key;
    match source.value {
        Value::Mapping(more) => add(entries, more),
        Value::Sequence(items) => {
            for item in items {
                match item.value {
                    Value::Mapping(more) => add(entries, more),
                    _ => refuse(entries, &item, place, report),
                }
            }
        }
        _ => refuse(entries, &source, place, report),
    }
}

fn add(entries: &mut Mapping, more: Mapping) {
    for (key, node) in more {
        entries.entry(key).or_insert(node);
    }
}

/// What should have been merged is not known: a broken `<<` stays to say so.
fn refuse(entries: &mut Mapping, node: &Node, place: Span, report: &mut Report) {
    let message = format!(
        "`<<` takes a mapping or a list of mappings, not {}",
        node.kind()
    );
    report.push(Problem::error(codes::BAD_MERGE_KEY, message).at(place, "this merge key"));
    let mut broken = Node::null(place);
    broken.give_up();
    entries.insert("<<".to_owned(), broken);
}

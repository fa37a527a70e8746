//! Attributes that do not merge like the rest.

use super::{mappings, merge, sequence};
use crate::diagnostic::Report;
use crate::tree::{Mapping, Node, Path, Value};

/// How an attribute merges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// The later one counts.
    Replace,
    /// Both become lists of `key=value` (or of texts) and are joined.
    Join,
    /// As [`Rule::Join`], without exact repetitions.
    JoinNew,
    /// A text is the `context` of a mapping.
    Build,
    /// A list is a mapping of these keys to a started dependency.
    DependsOn,
    /// A list is a mapping of these keys to nothing.
    Names,
    /// Deep only when the driver is the same or given once.
    Logging,
    /// Pools are matched by their subnet.
    Pools,
}

pub(super) fn rule(path: &[&str]) -> Option<Rule> {
    Some(match path {
        ["services", _, rest @ ..] => match rest {
            ["command" | "entrypoint"] | ["healthcheck", "test"] | ["ulimits", _] => Rule::Replace,
            ["annotations" | "environment" | "labels" | "sysctls"] => Rule::Join,
            ["dns" | "dns_opt" | "dns_search" | "env_file" | "label_file" | "tmpfs"] => Rule::Join,
            ["build", "args" | "additional_contexts" | "labels"] | ["deploy", "labels"] => {
                Rule::Join
            }
            ["volumes", _, "volume", "labels"] => Rule::Join,
            ["extra_hosts"] | ["build", "extra_hosts"] => Rule::JoinNew,
            ["build"] => Rule::Build,
            ["depends_on"] => Rule::DependsOn,
            ["networks" | "models"] => Rule::Names,
            ["logging"] => Rule::Logging,
            _ => return None,
        },
        ["networks" | "volumes", _, "labels"] => Rule::Join,
        ["networks", _, "ipam", "config"] => Rule::Pools,
        _ => return None,
    })
}

pub(super) fn apply(
    rule: Rule,
    base: Node,
    over: Node,
    path: &mut Path,
    report: &mut Report,
) -> Node {
    let (span, key, tag) = (over.span, over.key, base.tag);
    let value = match rule {
        Rule::Replace => return over,
        Rule::Join => Value::Sequence(sequence::join(base, over)),
        Rule::JoinNew => Value::Sequence(sequence::join_new(base, over)),
        Rule::Build => Value::Mapping(mappings(build(base), build(over), path, report)),
        Rule::DependsOn => {
            Value::Mapping(mappings(names(base, true), names(over, true), path, report))
        }
        Rule::Names => Value::Mapping(mappings(
            names(base, false),
            names(over, false),
            path,
            report,
        )),
        Rule::Logging => match (base.get("driver"), over.get("driver")) {
            (Some(earlier), Some(later)) if earlier != later => return over,
            _ => Value::Mapping(mappings(entries(base), entries(over), path, report)),
        },
        Rule::Pools => Value::Sequence(pools(base, over, path, report)),
    };
    Node {
        value,
        span,
        key,
        tag,
    }
}

fn entries(node: Node) -> Mapping {
    match node.value {
        Value::Mapping(entries) => entries,
        _ => Mapping::new(),
    }
}

fn build(node: Node) -> Mapping {
    if node.as_str().is_some() {
        return Mapping::from([("context".to_owned(), node)]);
    }
    entries(node)
}

/// A list of names as a mapping, each with nothing or a started dependency.
pub(crate) fn names(node: Node, dependencies: bool) -> Mapping {
    let Value::Sequence(items) = node.value else {
        return entries(node);
    };
    let named = items.into_iter().filter_map(|item| {
        let name = item.as_str()?.to_owned();
        let mut value = Node::null(item.span);
        if dependencies {
            value.value = Value::Mapping(Mapping::from([
                (
                    "condition".to_owned(),
                    Node::string("service_started", item.span),
                ),
                ("required".to_owned(), Node::bool(true, item.span)),
            ]));
        }
        value.key = item.span;
        Some((name, value))
    });
    named.collect()
}

fn pools(base: Node, over: Node, path: &mut Path, report: &mut Report) -> Vec<Node> {
    let (Value::Sequence(mut pools), Value::Sequence(more)) = (base.value, over.value) else {
        return Vec::new();
    };
    for pool in more {
        let same = pools
            .iter()
            .position(|known| known.get("subnet") == pool.get("subnet"));
        match same {
            Some(at) => {
                let known = std::mem::replace(&mut pools[at], Node::null(pool.span));
                path.push_index(at);
                pools[at] = merge(known, pool, path, report);
                path.pop();
            }
            None => pools.push(pool),
        }
    }
    pools
}

//! Which variables a stack refers to, as `config --variables` lists them.

use std::collections::BTreeMap;

use crate::template::{Reference, references};
use crate::tree::{Node, Value};

/// A variable that values refer to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variable {
    /// There is a reference that fails without it: `${NAME:?…}`.
    pub required: bool,
    /// What stands for it when it is not set: `${NAME:-default}`.
    pub default: String,
    /// What stands in its place when it is set: `${NAME:+alternate}`.
    pub alternate: String,
}

/// Every variable of the values below `root`, by name. When references differ,
/// the first one with a default, an alternate or a demand counts for each.
pub(crate) fn variables(root: &Node) -> BTreeMap<String, Variable> {
    let mut found = BTreeMap::new();
    walk(root, &mut found);
    found
}

fn walk(node: &Node, found: &mut BTreeMap<String, Variable>) {
    match &node.value {
        Value::Mapping(entries) => entries.values().for_each(|child| walk(child, found)),
        Value::Sequence(items) => items.iter().for_each(|child| walk(child, found)),
        Value::String(text) => references(text, &mut |reference| add(reference, found)),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => {}
    }
}

fn add(reference: Reference<'_>, found: &mut BTreeMap<String, Variable>) {
    let variable = found.entry(reference.name.to_owned()).or_default();
    match reference.operator {
        Some('?') => variable.required = true,
        Some('-') if variable.default.is_empty() => {
            variable.default = reference.operand.to_owned();
        }
        Some('+') if variable.alternate.is_empty() => {
            variable.alternate = reference.operand.to_owned();
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Span;

    #[test]
    fn every_form_counts() {
        let text = "$A ${B:-${C-c d}} ${D:?must} ${E:+set} $$F ${B:-later} ${!} ${C?}";
        let found = variables(&Node::string(text, Span::NONE));
        let names: Vec<&str> = found.keys().map(String::as_str).collect();
        assert_eq!(names, ["A", "B", "C", "D", "E"]);
        assert_eq!(found["A"], Variable::default());
        assert_eq!(found["B"].default, "${C-c d}");
        assert_eq!(
            (found["C"].default.as_str(), found["C"].required),
            ("c d", true)
        );
        assert!(found["D"].required);
        assert_eq!(found["E"].alternate, "set");
    }
}

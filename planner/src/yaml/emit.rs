//! Tree to text, as YAML in the layout of `docker compose config` and as JSON.

use std::cmp::Ordering;

use super::emit_scalar::{block_text, scalar};
use crate::tree::{Node, Value, float_text};

/// YAML with two spaces of indentation. `escape` doubles every `$` in values,
/// so that the text can be read as a stack file again.
pub(crate) fn to_yaml(node: &Node, escape: bool) -> String {
    let mut out = String::new();
    let mut writer = Writer {
        out: &mut out,
        escape,
    };
    match &node.value {
        Value::Mapping(entries) if !entries.is_empty() => writer.mapping(node, 0, false),
        Value::Sequence(items) if !items.is_empty() => writer.sequence(items, 0),
        _ => {
            writer.inline(node);
            writer.out.push('\n');
        }
    }
    out
}

struct Writer<'a> {
    out: &'a mut String,
    escape: bool,
}

impl Writer<'_> {
    fn mapping(&mut self, node: &Node, indent: usize, first_inline: bool) {
        let Some(entries) = node.as_mapping() else {
            return;
        };
        for (i, (key, value)) in entries.iter().enumerate() {
            if i > 0 || !first_inline {
                self.pad(indent);
            }
            self.out.push_str(&scalar(key));
            self.out.push(':');
            self.after_key(value, indent);
        }
    }

    fn after_key(&mut self, value: &Node, indent: usize) {
        match &value.value {
            Value::Mapping(entries) if !entries.is_empty() => {
                self.out.push('\n');
                self.mapping(value, indent + 2, false);
            }
            Value::Sequence(items) if !items.is_empty() => {
                self.out.push('\n');
                self.sequence(items, indent + 2);
            }
            _ => {
                self.out.push(' ');
                self.leaf(value, indent + 2);
            }
        }
    }

    fn sequence(&mut self, items: &[Node], indent: usize) {
        for item in items {
            self.pad(indent);
            self.out.push('-');
            self.out.push(' ');
            match &item.value {
                Value::Mapping(entries) if !entries.is_empty() => {
                    self.mapping(item, indent + 2, true)
                }
                Value::Sequence(inner) if !inner.is_empty() => {
                    // The first inner item follows on the same line.
                    let mut nested = String::new();
                    Writer {
                        out: &mut nested,
                        escape: self.escape,
                    }
                    .sequence(inner, indent + 2);
                    self.out.push_str(nested.trim_start_matches(' '));
                }
                _ => self.leaf(item, indent + 2),
            }
        }
    }

    fn leaf(&mut self, node: &Node, indent: usize) {
        if let Value::String(text) = &node.value
            && let Some(block) = block_text(&self.escaped(text), indent)
        {
            self.out.push_str(&block);
            return;
        }
        self.inline(node);
        self.out.push('\n');
    }

    fn inline(&mut self, node: &Node) {
        let text = match &node.value {
            Value::Null => "null".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Int(value) => value.to_string(),
            Value::Float(value) => float_text(*value),
            Value::String(text) => scalar(&self.escaped(text)),
            Value::Sequence(_) => "[]".to_owned(),
            Value::Mapping(_) => "{}".to_owned(),
        };
        self.out.push_str(&text);
    }

    fn escaped(&self, text: &str) -> String {
        if self.escape {
            text.replace('$', "$$")
        } else {
            text.to_owned()
        }
    }

    fn pad(&mut self, indent: usize) {
        self.out.extend(std::iter::repeat_n(' ', indent));
    }
}

/// The same tree as a JSON value, keys in the tree's order.
pub(crate) fn to_json(node: &Node, escape: bool) -> serde_json::Value {
    use serde_json::Value as Json;
    match &node.value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Int(value) => Json::from(*value),
        // Whole numbers are printed without a fraction.
        Value::Float(value) if value.fract() == 0.0 && value.abs() < 1e15 => {
            Json::from(*value as i64)
        }
        Value::Float(value) => Json::from(*value),
        Value::String(text) if escape => Json::from(text.replace('$', "$$")),
        Value::String(text) => Json::from(text.as_str()),
        Value::Sequence(items) => items.iter().map(|item| to_json(item, escape)).collect(),
        Value::Mapping(entries) => {
            let entries = entries
                .iter()
                .map(|(key, value)| (key.clone(), to_json(value, escape)));
            Json::Object(entries.collect())
        }
    }
}

/// The order of keys in printed maps: runs of digits compare as numbers, a
/// letter comes after anything that is none, except right behind a digit.
pub(crate) fn natural_order(a: &str, b: &str) -> Ordering {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let Some(at) = a.iter().zip(&b).position(|(x, y)| x != y) else {
        return a.len().cmp(&b.len());
    };
    match (a[at].is_alphabetic(), b[at].is_alphabetic()) {
        (true, true) => a[at].cmp(&b[at]),
        (false, false) => number(&a[at..])
            .cmp(&number(&b[at..]))
            .then(a[at].cmp(&b[at])),
        (left_is_letter, _) => {
            let after_digit = at > 0 && a[at - 1].is_ascii_digit();
            if left_is_letter == after_digit {
                Ordering::Less
            } else {
                Ordering::Greater
            }
        }
    }
}

/// The number the text starts with and the count of its digits.
fn number(text: &[char]) -> (u64, usize) {
    let digits = text.iter().map_while(|c| c.to_digit(10)).map(u64::from);
    digits.fold((0, 0), |(value, count), digit| {
        (value.saturating_mul(10).saturating_add(digit), count + 1)
    })
}

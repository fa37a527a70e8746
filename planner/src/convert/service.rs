//! One command to one service.

use super::arguments::Arguments;
use super::command_lines::DOLLAR;
use super::flags::{self, To};
use crate::tree::{Mapping, Node, Span, Value};

/// A service in the making.
#[derive(Debug, Default)]
pub(super) struct Service {
    /// Its key; empty until it is known.
    pub(super) name: String,
    /// Its attributes in the order in which they were met.
    pub(super) entries: Mapping,
    /// What needs attention.
    pub(super) notes: Vec<String>,
    /// Named volumes and networks it uses.
    pub(super) volumes: Vec<String>,
    pub(super) networks: Vec<String>,
}

impl Service {
    /// Takes the words behind `run`. `None` when there is no image.
    pub(super) fn new(words: &[String]) -> Option<Self> {
        let arguments = Arguments::new(words);
        let (image, command) = arguments.rest.split_first()?;
        let mut service = Self::default();
        service.set("image", string(image));
        for word in &arguments.unknown {
            let value = if word.contains('=') || !word.starts_with("--") {
                ""
            } else {
                "; a value behind it would have been taken for the image"
            };
            service.note(format!(
                "the flag {word} is not known and was left out{value}"
            ));
        }
        let values = arguments.flags.iter().map(|(_, value)| value);
        for word in values.chain(&arguments.rest) {
            let inside = word.strip_prefix("$(pwd)").unwrap_or(word);
            if inside.contains("$(") || inside.trim_matches('`') != inside {
                service.note(format!(
                    "`{word}` has a command of the shell in it: write its output there"
                ));
            }
        }
        for (name, value) in &arguments.flags {
            service.flag(name, value);
        }
        if !command.is_empty() {
            let words = command.iter().map(|word| string(word)).collect();
            service.set("command", Node::sequence(words, Span::NONE));
        }
        if service.name.is_empty() {
            let last = image.rsplit('/').next().unwrap_or(image);
            service.name = key(last.split([':', '@']).next().unwrap_or(last));
        }
        Some(service)
    }

    fn flag(&mut self, name: &'static str, value: &str) {
        let Some(flag) = flags::long(name) else {
            return;
        };
        match flag.to {
            To::Nothing => {}
            To::Lost(reason) => {
                let given = if flag.value {
                    format!(" {value}")
                } else {
                    String::new()
                };
                self.note(format!("--{name}{given} has no counterpart: {reason}"));
            }
            To::Text(key) => self.set(key, string(value)),
            To::Number(key) => self.set(key, number(value)),
            To::Switch(key) => {
                if value != "false" {
                    self.set(key, Node::bool(true, Span::NONE));
                }
            }
            To::Item(key) => self.push(key, string(&item(key, value))),
            To::Pair(key) => {
                let (name, value) = value
                    .split_once('=')
                    .map_or((value, None), |(k, v)| (k, Some(v)));
                let node = match value {
                    Some(value) => string(value),
                    None if key == "environment" => Node::null(Span::NONE),
                    None => string(""),
                };
                self.entry(key).insert(plain(name), node);
            }
            To::Health("retries") => self.within("healthcheck", "retries", number(value)),
            To::Health(key) => self.within("healthcheck", key, string(value)),
            To::Rate(key) => self.rate(key, value),
            To::Special => self.special(name, value),
        }
    }

    pub(super) fn set(&mut self, key: &str, node: Node) {
        self.entries.insert(key.to_owned(), node);
    }

    pub(super) fn push(&mut self, key: &str, node: Node) {
        let list = self
            .entries
            .entry(key.to_owned())
            .or_insert_with(|| Node::sequence(Vec::new(), Span::NONE));
        if let Value::Sequence(items) = &mut list.value {
            items.push(node);
        }
    }

    /// The mapping of that attribute.
    pub(super) fn entry(&mut self, key: &str) -> &mut Mapping {
        let node = self
            .entries
            .entry(key.to_owned())
            .or_insert_with(|| Node::mapping(Mapping::new(), Span::NONE));
        if node.as_mapping().is_none() {
            *node = Node::mapping(Mapping::new(), Span::NONE);
        }
        match &mut node.value {
            Value::Mapping(entries) => entries,
            _ => unreachable!("it was made a mapping"),
        }
    }

    pub(super) fn within(&mut self, outer: &str, key: &str, node: Node) {
        self.entry(outer).insert(key.to_owned(), node);
    }

    pub(super) fn note(&mut self, text: String) {
        self.notes.push(text);
    }

    /// `device:rate`
    fn rate(&mut self, key: &str, value: &str) {
        let (path, rate) = value.rsplit_once(':').unwrap_or((value, ""));
        let name = if key == "weight_device" {
            "weight"
        } else {
            "rate"
        };
        let rate = if name == "weight" {
            number(rate)
        } else {
            string(rate)
        };
        let entry = Mapping::from([("path".to_owned(), string(path)), (name.to_owned(), rate)]);
        let list = self
            .entry("blkio_config")
            .entry(key.to_owned())
            .or_insert_with(|| Node::sequence(Vec::new(), Span::NONE));
        if let Value::Sequence(items) = &mut list.value {
            items.push(Node::mapping(entry, Span::NONE));
        }
    }
}

/// `host=address` is written with a colon in stack files.
fn item(key: &str, value: &str) -> String {
    match value.split_once('=') {
        Some((host, address)) if key == "extra_hosts" => format!("{host}:{address}"),
        _ => value.to_owned(),
    }
}

/// A value: variables of the shell are variables of the file, other dollar
/// signs are doubled.
pub(super) fn string(text: &str) -> Node {
    Node::string(value(text), Span::NONE)
}

pub(super) fn value(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            (DOLLAR, _) => out.push_str("$$"),
            // A command whose output is meant; the file cannot run it.
            ('$', Some('(')) => out.push_str("$$"),
            (c, _) => out.push(c),
        }
    }
    out
}

/// A key: nothing is replaced in it.
pub(super) fn plain(text: &str) -> String {
    text.replace(DOLLAR, "$")
}

pub(super) fn number(text: &str) -> Node {
    if let Ok(value) = text.parse::<i64>() {
        return Node::new(Value::Int(value), Span::NONE);
    }
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Node::new(Value::Float(value), Span::NONE),
        _ => string(text),
    }
}

/// A name for a service, network or volume.
pub(super) fn key(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let name: String = text
        .chars()
        .map(|c| if allowed(c) { c } else { '-' })
        .collect();
    let name = name.trim_matches('-');
    if name.is_empty() {
        "service".to_owned()
    } else {
        name.to_owned()
    }
}

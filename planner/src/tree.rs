//! A YAML document as a tree that remembers where each piece was written.

mod look;
mod path;
mod visit;

use indexmap::IndexMap;

pub(crate) use look::{entries, items, text};
pub(crate) use path::Path;
pub(crate) use visit::{same, visit, visit_mut};

/// A byte range in one of the loaded files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Index of the file in the order of loading.
    pub(crate) file: u32,
    /// First byte.
    pub(crate) start: u32,
    /// Byte after the last.
    pub(crate) end: u32,
}

impl Span {
    /// Nothing the user wrote.
    pub(crate) const NONE: Self = Self {
        file: u32::MAX,
        start: 0,
        end: 0,
    };

    pub(crate) fn is_none(self) -> bool {
        self.file == u32::MAX
    }
}

/// Entries of a mapping in the order of the file.
pub type Mapping = IndexMap<String, Node>;

/// A value and its place.
#[derive(Debug, Clone)]
pub struct Node {
    /// What is there.
    pub value: Value,
    pub(crate) span: Span,
    /// Place of the key when the node is an entry of a mapping.
    pub(crate) key: Span,
    pub(crate) tag: Tag,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    String(String),
    /// `[…]`
    Sequence(Vec<Node>),
    /// `{…}`
    Mapping(Mapping),
}

/// Compose's merge tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Tag {
    #[default]
    None,
    /// `!reset`: forget what an earlier file said.
    Reset,
    /// `!override`: replace what an earlier file said.
    Override,
    /// Something was wrong here and has been reported. The value is null; the
    /// node stays so that nothing is said to be missing.
    Broken,
}

impl PartialEq for Node {
    /// Equal content; places do not count.
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl Node {
    pub(crate) fn new(value: Value, span: Span) -> Self {
        Self {
            value,
            span,
            key: Span::NONE,
            tag: Tag::None,
        }
    }

    pub(crate) fn null(span: Span) -> Self {
        Self::new(Value::Null, span)
    }

    pub(crate) fn string(text: impl Into<String>, span: Span) -> Self {
        Self::new(Value::String(text.into()), span)
    }

    pub(crate) fn bool(value: bool, span: Span) -> Self {
        Self::new(Value::Bool(value), span)
    }

    pub(crate) fn mapping(entries: Mapping, span: Span) -> Self {
        Self::new(Value::Mapping(entries), span)
    }

    pub(crate) fn sequence(items: Vec<Self>, span: Span) -> Self {
        Self::new(Value::Sequence(items), span)
    }

    /// Forgets a value that was reported to be wrong. Nothing below is looked at again.
    pub(crate) fn give_up(&mut self) {
        self.value = Value::Null;
        self.tag = Tag::Broken;
    }

    /// Was reported to be wrong.
    pub(crate) fn is_broken(&self) -> bool {
        self.tag == Tag::Broken
    }

    /// The best place to point at: the key when there is one, else the value.
    pub(crate) fn place(&self) -> Span {
        if self.key.is_none() {
            self.span
        } else {
            self.key
        }
    }

    /// A scalar's own place; the key for anything else.
    pub(crate) fn value_place(&self) -> Span {
        match &self.value {
            Value::Sequence(_) | Value::Mapping(_) | Value::Null => self.place(),
            Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::String(_)
                if self.span.is_none() =>
            {
                self.key
            }
            Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::String(_) => self.span,
        }
    }

    /// Entries when this is a mapping.
    pub fn as_mapping(&self) -> Option<&Mapping> {
        match &self.value {
            Value::Mapping(entries) => Some(entries),
            _ => None,
        }
    }

    pub(crate) fn as_mapping_mut(&mut self) -> Option<&mut Mapping> {
        match &mut self.value {
            Value::Mapping(entries) => Some(entries),
            _ => None,
        }
    }

    /// Items when this is a sequence.
    pub fn as_sequence(&self) -> Option<&[Self]> {
        match &self.value {
            Value::Sequence(items) => Some(items),
            _ => None,
        }
    }

    pub(crate) fn as_sequence_mut(&mut self) -> Option<&mut Vec<Self>> {
        match &mut self.value {
            Value::Sequence(items) => Some(items),
            _ => None,
        }
    }

    /// Text when this is a string.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The truth value when this is a boolean.
    pub fn as_bool(&self) -> Option<bool> {
        match self.value {
            Value::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// The number when this is a whole number.
    pub fn as_int(&self) -> Option<i64> {
        match self.value {
            Value::Int(value) => Some(value),
            _ => None,
        }
    }

    /// The number when this is any number.
    pub fn as_float(&self) -> Option<f64> {
        match self.value {
            Value::Float(value) => Some(value),
            Value::Int(value) => Some(value as f64),
            _ => None,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        self.value == Value::Null
    }

    /// The entry of that key when this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.as_mapping()?.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        self.as_mapping_mut()?.get_mut(key)
    }

    /// The node below these keys.
    pub fn at(&self, keys: &[&str]) -> Option<&Self> {
        keys.iter().try_fold(self, |node, key| node.get(key))
    }

    /// A scalar as the text Compose makes of it; `None` for the rest.
    pub(crate) fn scalar_text(&self) -> Option<String> {
        match &self.value {
            Value::Null | Value::Sequence(_) | Value::Mapping(_) => None,
            Value::Bool(value) => Some(value.to_string()),
            Value::Int(value) => Some(value.to_string()),
            Value::Float(value) => Some(float_text(*value)),
            Value::String(text) => Some(text.clone()),
        }
    }

    /// What the value is called in messages.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Int(_) => "an integer",
            Value::Float(_) => "a number",
            Value::String(_) => "a string",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
        }
    }
}

/// The shortest text of a number, exponent form outside 1e-4…1e21 as the reference tools print it.
pub(crate) fn float_text(value: f64) -> String {
    if value.is_nan() {
        return ".nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    let size = value.abs();
    if size != 0.0 && !(1e-4..1e21).contains(&size) {
        let text = format!("{value:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = exponent
            .strip_prefix('-')
            .map_or(('+', exponent), |rest| ('-', rest));
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    format!("{value}")
}

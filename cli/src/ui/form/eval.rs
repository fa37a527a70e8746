//! The text for one line.

use serde_json::Value;

use super::super::untrusted;
use super::Row;
use super::function;
use super::parse::{Kind, Node, Pipe, Word};

/// Fills in the fields of a line. `clean`: they have no control characters,
/// those of the text itself stay.
///
/// # Errors
/// One is not there, or cannot be used as the text says.
pub(super) fn text(nodes: &[Node], row: &Row, clean: bool) -> Result<String, String> {
    let mut out = String::new();
    let scope = Scope { row, clean };
    scope.nodes(nodes, &row.fields, &mut out)?;
    Ok(out)
}

struct Scope<'a> {
    row: &'a Row,
    clean: bool,
}

impl Scope<'_> {
    fn nodes(&self, nodes: &[Node], dot: &Value, out: &mut String) -> Result<(), String> {
        for node in nodes {
            match node {
                Node::Text(text) => out.push_str(text),
                Node::Say(pipe) => out.push_str(&self.say(pipe, dot)?),
                Node::Block {
                    kind,
                    of,
                    then,
                    otherwise,
                } => {
                    // The dot is cleaned when it is said.
                    let value = self.raw().pipe(of, dot)?;
                    if !function::is_true(&value) {
                        self.nodes(otherwise, dot, out)?;
                        continue;
                    }
                    match kind {
                        Kind::If => self.nodes(then, dot, out)?,
                        Kind::With => self.nodes(then, &value, out)?,
                        Kind::Range => {
                            for element in elements(&value)? {
                                self.nodes(then, element, out)?;
                            }
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn raw(&self) -> Self {
        Scope {
            row: self.row,
            clean: false,
        }
    }

    fn say(&self, pipe: &Pipe, dot: &Value) -> Result<String, String> {
        // JSON has escapes of its own, for most.
        let is_json = |call: &Vec<Word>| call.first() == Some(&Word::Function("json".to_owned()));
        if self.clean && pipe.iter().any(is_json) {
            let text = function::plain(&self.raw().pipe(pipe, dot)?);
            return Ok(untrusted::plain(&text));
        }
        Ok(function::plain(&self.pipe(pipe, dot)?))
    }

    fn pipe(&self, pipe: &Pipe, dot: &Value) -> Result<Value, String> {
        let mut before = None;
        for call in pipe {
            before = Some(self.call(call, before, dot)?);
        }
        Ok(before.unwrap_or_default())
    }

    fn call(&self, call: &[Word], before: Option<Value>, dot: &Value) -> Result<Value, String> {
        let Some((first, rest)) = call.split_first() else {
            return Ok(Value::Null);
        };
        let mut arguments = Vec::new();
        for word in rest {
            arguments.push(self.word(word, dot)?);
        }
        arguments.extend(before);
        if let Word::Function(name) = first {
            return function::call(name, &arguments);
        }
        // The one field that takes an argument.
        if let (Word::Field(path) | Word::Root(path), [name]) = (first, arguments.as_slice())
            && path.as_slice() == ["Label"]
            && let Some(labels) = &self.row.labels
        {
            let label = labels.get(&function::plain(name));
            return Ok(self.read(label.unwrap_or(&"".into())));
        }
        match arguments.is_empty() {
            true => self.word(first, dot),
            // One that is not there is the mistake that is told.
            false => self
                .word(first, dot)
                .and_then(|_| Err("only functions take arguments".to_owned())),
        }
    }

    fn word(&self, word: &Word, dot: &Value) -> Result<Value, String> {
        match word {
            Word::Field(path) => self.field(dot, path),
            Word::Root(path) => self.field(&self.row.fields, path),
            Word::Literal(value) => Ok(value.clone()),
            Word::Nested(pipe) => self.pipe(pipe, dot),
            Word::Function(name) => function::call(name, &[]),
        }
    }

    fn field(&self, of: &Value, path: &[String]) -> Result<Value, String> {
        let mut value = of;
        for name in path {
            value = match value {
                // What may be there, but is not for this line.
                Value::Null => return Ok(Value::Null),
                Value::Object(fields) => match fields.get(name) {
                    Some(value) => value,
                    None if std::ptr::eq(value, &raw const self.row.fields) => {
                        let known: Vec<&str> = fields.keys().map(String::as_str).collect();
                        return Err(format!("`{name}` is not among {}", known.join(", ")));
                    }
                    None => return Ok(Value::Null),
                },
                _ => return Err(format!("`{name}`: what it is asked of has no fields")),
            };
        }
        Ok(self.read(value))
    }

    /// A value of the line.
    fn read(&self, value: &Value) -> Value {
        match self.clean {
            true => cleaned(value),
            false => value.clone(),
        }
    }
}

fn cleaned(value: &Value) -> Value {
    match value {
        Value::String(text) => untrusted::plain(text).into(),
        Value::Array(list) => list.iter().map(cleaned).collect(),
        Value::Object(fields) => {
            let fields = fields.iter();
            let fields = fields.map(|(name, value)| (untrusted::plain(name), cleaned(value)));
            Value::Object(fields.collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn elements(value: &Value) -> Result<Vec<&Value>, String> {
    match value {
        Value::Array(list) => Ok(list.iter().collect()),
        Value::Object(fields) => Ok(fields.values().collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Err(format!(
            "`range` goes over lists, and `{}` is none",
            function::plain(value)
        )),
    }
}

//! `.env` files: `KEY=value`, `KEY: value`, `export KEY=value`, `KEY` alone
//! (take it from the environment), comments, and three kinds of values:
//! unquoted (a comment starts at ` #`; references are replaced), `"…"` (escapes
//! and references; may span lines) and `'…'` (as it is; may span lines).

mod escapes;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::template::{TemplateError, Variables, substitute};

/// Mistakes of one file at most.
const MOST_ERRORS: usize = 100;

/// What is wrong and where, as a byte offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DotenvError {
    pub(crate) at: usize,
    pub(crate) message: String,
}

/// Reads `text` into `out`. References look into `lookup` first, then into what
/// was read so far. Later lines win. `unset` hears of references without value.
///
/// # Errors
/// All mistakes; `out` has the other lines.
pub(crate) fn parse(
    text: &str,
    out: &mut BTreeMap<String, String>,
    lookup: &dyn Fn(&str) -> Option<String>,
    unset: &mut dyn FnMut(&str, usize),
) -> Result<(), Vec<DotenvError>> {
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader {
        text: body,
        at: 0,
        shift: text.len() - body.len(),
        lookup,
        unset,
    };
    let mut errors = Vec::new();
    loop {
        match reader.entry(out) {
            Ok(true) => {}
            Ok(false) => break,
            Err(_) if errors.len() >= MOST_ERRORS => break,
            Err(error) => {
                reader.skip_line(error.at);
                errors.push(error);
            }
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors)
    }
}

/// The `raw` format: `KEY=value` lines, nothing is special in a value.
pub(crate) fn parse_raw(
    text: &str,
    out: &mut BTreeMap<String, String>,
    lookup: &dyn Fn(&str) -> Option<String>,
) {
    for line in text.strip_prefix('\u{feff}').unwrap_or(text).lines() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.split_once('=') {
            Some((key, value)) => _ = out.insert(key.trim().to_owned(), value.to_owned()),
            None => {
                if let Some(value) = lookup(line.trim()) {
                    out.insert(line.trim().to_owned(), value);
                }
            }
        }
    }
}

enum Key {
    Assigned(String),
    Inherited(String),
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    shift: usize,
    lookup: &'a dyn Fn(&str) -> Option<String>,
    unset: &'a mut dyn FnMut(&str, usize),
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn fail<T>(&self, at: usize, message: impl Into<String>) -> Result<T, DotenvError> {
        Err(DotenvError {
            at: at + self.shift,
            message: message.into(),
        })
    }

    fn skip_blank(&mut self, and_lines: bool) {
        let skipped = self.rest().len()
            - self
                .rest()
                .trim_start_matches(|c| is_blank(c) || (and_lines && is_line_space(c)))
                .len();
        self.at += skipped;
    }

    /// Reads one entry into `out`; `false` at the end.
    fn entry(&mut self, out: &mut BTreeMap<String, String>) -> Result<bool, DotenvError> {
        match self.key()? {
            None => return Ok(false),
            Some(Key::Inherited(name)) => {
                if let Some(value) = (self.lookup)(&name) {
                    out.insert(name, value);
                }
            }
            Some(Key::Assigned(name)) => {
                let value = self.value(out)?;
                out.insert(name, value);
            }
        }
        Ok(true)
    }

    /// Goes on behind the line of a mistake.
    fn skip_line(&mut self, at: usize) {
        let at = at.saturating_sub(self.shift);
        if self.at > at && self.text[..self.at].ends_with('\n') {
            return; // its value has been read already
        }
        let at = self.at.max(at);
        let rest = self.text.get(at..).unwrap_or_default();
        self.at = rest
            .find('\n')
            .map_or(self.text.len(), |length| at + length + 1);
    }

    /// The next key, up to and with its separator; `None` at the end.
    fn key(&mut self) -> Result<Option<Key>, DotenvError> {
        loop {
            self.skip_blank(true);
            if !self.rest().starts_with('#') {
                break;
            }
            self.at += self.rest().find('\n').unwrap_or(self.rest().len());
        }
        if self.rest().is_empty() {
            return Ok(None);
        }
        if let Some(after) = self.rest().strip_prefix("export")
            && after.starts_with(is_blank)
        {
            self.at += "export".len();
            self.skip_blank(false);
        }
        let start = self.at;
        let mut end = self.text.len();
        let mut separator = None;
        for (offset, c) in self.rest().char_indices() {
            match c {
                '=' | ':' | '\n' => {
                    end = start + offset;
                    separator = Some(c);
                    break;
                }
                '_' | '.' | '-' | '[' | ']' => {}
                c if is_blank(c) || c.is_alphanumeric() => {}
                c => {
                    let line = self.rest().lines().next().unwrap_or_default();
                    return self.fail(
                        start + offset,
                        format!("`{c}` cannot be in the name of a variable, in `{line}`"),
                    );
                }
            }
        }
        let name = self.text[start..end].trim_end();
        if name.contains(' ') {
            return self.fail(start, format!("the name `{name}` must not contain a space"));
        }
        if name.is_empty() {
            return self.fail(start, "a name is expected before the value");
        }
        self.at = (end + 1).min(self.text.len());
        if matches!(separator, Some('=' | ':')) {
            self.skip_blank(false);
            return Ok(Some(Key::Assigned(name.to_owned())));
        }
        Ok(Some(Key::Inherited(name.to_owned())))
    }

    fn value(&mut self, known: &BTreeMap<String, String>) -> Result<String, DotenvError> {
        let start = self.at;
        match self.rest().chars().next() {
            Some(quote @ ('"' | '\'')) => {
                let Some((text, length)) = quoted(self.rest(), quote) else {
                    let line = self.rest().lines().next().unwrap_or_default();
                    return self.fail(start, format!("the quote is not closed: {line}"));
                };
                self.at += length;
                if quote == '\'' {
                    Ok(text)
                } else {
                    self.expand(&escapes::expand(&text), known, start)
                }
            }
            _ => {
                let line = self.rest().split('\n').next().unwrap_or_default();
                self.at = (self.at + line.len() + 1).min(self.text.len());
                let value = line.split_once(" #").map_or(line, |(value, _)| value);
                self.expand(value.trim_end(), known, start)
            }
        }
    }

    fn expand(
        &mut self,
        text: &str,
        known: &BTreeMap<String, String>,
        at: usize,
    ) -> Result<String, DotenvError> {
        let (lookup, shift) = (self.lookup, self.shift);
        let mut scope = Scope {
            lookup,
            known,
            unset: &mut *self.unset,
            at: at + shift,
        };
        substitute(text, &mut scope).or_else(|error| {
            let message = match error {
                TemplateError::Invalid(part) => format!("`{part}` is not a variable reference"),
                TemplateError::Required { name, reason } if reason.is_empty() => {
                    format!("`{name}` must be set")
                }
                TemplateError::Required { name, reason } => {
                    format!("`{name}` must be set: {reason}")
                }
                TemplateError::TooBig => "the value is nested too deeply or too long".to_owned(),
            };
            self.fail(at, message)
        })
    }
}

/// Content of a quoted text and its length with both quotes. A backslash before
/// the quote keeps it, any other backslash stays.
fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let mut out = String::new();
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '\\' if !escaped => {
                escaped = true;
                continue;
            }
            c if c == quote && !escaped => return Some((out, at + 1)),
            c if c == quote => out.push(c),
            c => {
                if escaped {
                    out.push('\\');
                }
                out.push(c);
            }
        }
        escaped = false;
    }
    None
}

struct Scope<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    known: &'a BTreeMap<String, String>,
    unset: &'a mut dyn FnMut(&str, usize),
    at: usize,
}

impl Variables for Scope<'_> {
    fn get(&mut self, name: &str) -> Option<String> {
        (self.lookup)(name).or_else(|| self.known.get(name).cloned())
    }

    fn unset(&mut self, name: &str) {
        (self.unset)(name, self.at);
    }
}

/// White space that does not end a line.
fn is_blank(c: char) -> bool {
    matches!(
        c,
        '\t' | '\u{b}' | '\u{c}' | '\r' | ' ' | '\u{85}' | '\u{a0}'
    )
}

fn is_line_space(c: char) -> bool {
    c.is_whitespace()
}

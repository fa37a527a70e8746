//! The text of `--format` as a tree.

use serde_json::Value;

/// A part of the text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    /// As it is.
    Text(String),
    /// `{{.Name}}`
    Say(Pipe),
    /// `{{if}}`, `{{range}}` or `{{with}}`, `{{else}}`, `{{end}}`.
    Block {
        /// Which.
        kind: Kind,
        /// What it looks at.
        of: Pipe,
        /// Up to `else` or `end`.
        then: Vec<Node>,
        /// What is between them.
        otherwise: Vec<Node>,
    },
}

/// What a block does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Takes it or leaves it.
    If,
    /// Once for each element, which is the dot in it.
    Range,
    /// As `If`, and the value is the dot in it.
    With,
}

/// Calls; the value of each is the last argument of the next.
pub(crate) type Pipe = Vec<Vec<Word>>;

/// A word of a call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Word {
    /// `.A.B`; none is the dot.
    Field(Vec<String>),
    /// `$.A.B`: of the line, whatever the dot is.
    Root(Vec<String>),
    /// A text, a number, true or false.
    Literal(Value),
    /// A function's name.
    Function(String),
    /// In parentheses.
    Nested(Pipe),
}

/// Reads a text.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, String> {
    let mut parser = Parser {
        rest: text,
        trim: false,
    };
    let (nodes, end) = parser.nodes()?;
    match end {
        None => Ok(nodes),
        Some(word) => Err(format!("`{{{{{word}}}}}` ends nothing")),
    }
}

struct Parser<'a> {
    rest: &'a str,
    /// The last action ended with `-}}`.
    trim: bool,
}

impl Parser<'_> {
    /// Up to the end of the text, or of a block: then with what ends it.
    fn nodes(&mut self) -> Result<(Vec<Node>, Option<String>), String> {
        let mut nodes = Vec::new();
        loop {
            let (before, found) = match self.rest.split_once("{{") {
                Some((before, rest)) => {
                    self.rest = rest;
                    (before, true)
                }
                None => (std::mem::take(&mut self.rest), false),
            };
            // As shells leave it; in a quoted text it is Go's to read.
            let before = before.replace("\\t", "\t").replace("\\n", "\n");
            let before = if self.trim {
                before.trim_start()
            } else {
                &before
            };
            let after = self
                .rest
                .strip_prefix('-')
                .filter(|rest| found && rest.starts_with(char::is_whitespace));
            let before = match after {
                Some(rest) => {
                    self.rest = rest;
                    before.trim_end()
                }
                None => before,
            };
            if !before.is_empty() {
                nodes.push(Node::Text(before.to_owned()));
            }
            if !found {
                return Ok((nodes, None));
            }
            let action = self.action()?;
            let (word, of) = match action.split_once(char::is_whitespace) {
                Some((word, of)) => (word, of.trim()),
                None => (action.as_str(), ""),
            };
            let kind = match word {
                "if" => Kind::If,
                "range" => Kind::Range,
                "with" => Kind::With,
                "else" | "end" => return Ok((nodes, Some(action))),
                _ if action.is_empty() || action.starts_with("/*") => continue,
                _ => {
                    nodes.push(Node::Say(pipe(&action)?));
                    continue;
                }
            };
            nodes.push(self.block(kind, of)?);
        }
    }

    fn block(&mut self, kind: Kind, of: &str) -> Result<Node, String> {
        let of = pipe(of)?;
        let (then, mut end) = self.nodes()?;
        let mut otherwise = Vec::new();
        if let Some(other) = end.as_deref().and_then(|end| end.strip_prefix("else")) {
            match other.trim() {
                "" => (otherwise, end) = self.nodes()?,
                // `else if` has its `end` in common with the `if`.
                other => {
                    let condition = other
                        .strip_prefix("if ")
                        .ok_or_else(|| format!("`else {other}`: there are `else` and `else if`"))?;
                    otherwise = vec![self.block(Kind::If, condition)?];
                    end = Some("end".to_owned());
                }
            }
        }
        match end.as_deref() {
            Some("end") => Ok(Node::Block {
                kind,
                of,
                then,
                otherwise,
            }),
            Some(other) => Err(format!(
                "`{{{{{other}}}}}` is where `{{{{end}}}}` should be"
            )),
            None => Err("an `if`, `range` or `with` has no `{{end}}`".to_owned()),
        }
    }

    /// What is up to `}}`, which may be in a text as well.
    fn action(&mut self) -> Result<String, String> {
        let mut quote = None;
        let mut escaped = false;
        for (at, letter) in self.rest.char_indices() {
            match quote {
                _ if escaped => escaped = false,
                Some('"') if letter == '\\' => escaped = true,
                Some(open) if letter == open => quote = None,
                Some(_) => {}
                None if matches!(letter, '"' | '`') => quote = Some(letter),
                None if self.rest[at..].starts_with("}}") => {
                    let action = &self.rest[..at];
                    self.rest = &self.rest[at + 2..];
                    let cut = action.strip_suffix('-');
                    self.trim = cut.is_some_and(|cut| cut.ends_with(char::is_whitespace));
                    let action = cut.filter(|_| self.trim).unwrap_or(action);
                    return Ok(action.trim().to_owned());
                }
                None => {}
            }
        }
        Err("a `{{` has no `}}`".to_owned())
    }
}

fn pipe(text: &str) -> Result<Pipe, String> {
    let mut rest = text.trim();
    let found = calls(&mut rest)?;
    match rest.is_empty() {
        true => Ok(found),
        false => Err(format!("`{text}`: a `)` closes nothing")),
    }
}

/// Up to the end, or a parenthesis that closes.
fn calls(rest: &mut &str) -> Result<Pipe, String> {
    let mut all = vec![Vec::new()];
    loop {
        *rest = rest.trim_start();
        let Some(first) = rest.chars().next() else {
            break;
        };
        if first == ')' {
            break;
        }
        if first == '|' {
            *rest = &rest[1..];
            all.push(Vec::new());
            continue;
        }
        let word = word(rest, first)?;
        if let Some(call) = all.last_mut() {
            call.push(word);
        }
    }
    match all.iter().any(Vec::is_empty) {
        true => Err("there is nothing in a `{{}}`, or beside a `|`".to_owned()),
        false => Ok(all),
    }
}

fn word(rest: &mut &str, first: char) -> Result<Word, String> {
    match first {
        '(' => {
            *rest = &rest[1..];
            let inner = calls(rest)?;
            *rest = rest.strip_prefix(')').ok_or("a `(` has no `)`")?;
            return Ok(Word::Nested(inner));
        }
        '`' => {
            let (text, after) = rest[1..].split_once('`').ok_or("a text has no end")?;
            *rest = after;
            return Ok(Word::Literal(text.into()));
        }
        '"' => {
            let mut escaped = false;
            let end = rest[1..].find(|letter| {
                let ends = letter == '"' && !escaped;
                escaped = letter == '\\' && !escaped;
                ends
            });
            let (text, after) = rest.split_at(end.ok_or("a text has no end")? + 2);
            // Go's escapes that matter are those of JSON, which has no raw tabs.
            let value = serde_json::from_str::<String>(&text.replace('\t', "\\t"));
            let value = value.map_err(|_| format!("{text} is not a text"))?;
            *rest = after;
            return Ok(Word::Literal(value.into()));
        }
        _ => {}
    }
    let ends = |letter: char| letter.is_whitespace() || "|()\"`".contains(letter);
    let (text, after) = rest.split_at(rest.find(ends).unwrap_or(rest.len()));
    *rest = after;
    let path = |text: &str| {
        let names = text.split('.').filter(|name| !name.is_empty());
        names.map(str::to_owned).collect()
    };
    if let Some(field) = text.strip_prefix('.') {
        return Ok(Word::Field(path(field)));
    }
    if let Some(field) = text.strip_prefix('$') {
        return match field.is_empty() || field.starts_with('.') {
            true => Ok(Word::Root(path(field))),
            false => Err(format!("`{text}`: there are no variables here")),
        };
    }
    if let Ok(literal @ (Value::Number(_) | Value::Bool(_))) = serde_json::from_str(text) {
        return Ok(Word::Literal(literal));
    }
    match super::function::is_known(text) {
        true => Ok(Word::Function(text.to_owned())),
        false => Err(format!(
            "there is no function `{text}` (a field is written with a dot: .{text})"
        )),
    }
}

//! Variable references in a text: `$V`, `${V}`, `${V:-d}`, `${V-d}`, `${V:?e}`,
//! `${V?e}`, `${V:+r}`, `${V+r}` and `$$`. Operands are templates themselves and
//! are only evaluated when they are used.

#[cfg(test)]
mod tests;

/// Operands inside operands at most.
const MAX_DEPTH: usize = 20;
/// Bytes of one result at most.
const MAX_OUTPUT: usize = 8 << 20;

/// Looks up variables and hears about those that are not set.
pub(crate) trait Variables {
    fn get(&mut self, name: &str) -> Option<String>;
    /// A variable without a value and without an operator was replaced by nothing.
    fn unset(&mut self, name: &str);
}

/// Why a template has no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TemplateError {
    /// The part that starts with `${` is not a reference.
    Invalid(String),
    /// `${name:?reason}` and no value.
    Required { name: String, reason: String },
    /// Nested too deeply or too long.
    TooBig,
}

/// The text with all references replaced.
///
/// # Errors
/// The first [`TemplateError`] from the left.
pub(crate) fn substitute(
    text: &str,
    variables: &mut dyn Variables,
) -> Result<String, TemplateError> {
    expand(text, variables, 0)
}

fn expand(
    text: &str,
    variables: &mut dyn Variables,
    depth: usize,
) -> Result<String, TemplateError> {
    if depth > MAX_DEPTH {
        return Err(TemplateError::TooBig);
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if rest.starts_with('{') {
            let end = closing_brace(rest).ok_or_else(|| invalid(rest))?;
            out.push_str(&braced(&rest[1..end], variables, depth)?);
            rest = &rest[end + 1..];
        } else {
            let name = name(rest);
            if name.is_empty() {
                out.push('$');
            } else {
                out.push_str(&required_or_empty(name, variables));
            }
            rest = &rest[name.len()..];
        }
        if out.len() > MAX_OUTPUT {
            return Err(TemplateError::TooBig);
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// The value of what is between the braces.
fn braced(
    inner: &str,
    variables: &mut dyn Variables,
    depth: usize,
) -> Result<String, TemplateError> {
    let name = name(inner);
    let rest = &inner[name.len()..];
    if name.is_empty() {
        return Err(TemplateError::Invalid(format!("${{{inner}}}")));
    }
    if rest.is_empty() {
        return Ok(required_or_empty(name, variables));
    }
    let (not_empty, operation) = rest
        .strip_prefix(':')
        .map_or((false, rest), |rest| (true, rest));
    let value = variables.get(name);
    let present = value
        .as_ref()
        .is_some_and(|value| !(not_empty && value.is_empty()));
    let mut operand = |text: &str| expand(text, variables, depth + 1);
    match (operation.chars().next(), operation.get(1..)) {
        (Some('-'), Some(default)) => {
            if present {
                Ok(value.unwrap_or_default())
            } else {
                operand(default)
            }
        }
        (Some('+'), Some(replacement)) => {
            if present {
                operand(replacement)
            } else {
                Ok(value.unwrap_or_default())
            }
        }
        (Some('?'), Some(reason)) => {
            if present {
                return Ok(value.unwrap_or_default());
            }
            let reason = operand(reason)?;
            Err(TemplateError::Required {
                name: name.to_owned(),
                reason,
            })
        }
        _ => Err(TemplateError::Invalid(format!("${{{inner}}}"))),
    }
}

/// A reference as it stands in a text.
pub(crate) struct Reference<'a> {
    pub(crate) name: &'a str,
    /// `-`, `+` or `?`.
    pub(crate) operator: Option<char>,
    /// What follows the operator.
    pub(crate) operand: &'a str,
}

/// Every reference in the text, those in operands too; what is no reference is
/// passed over.
pub(crate) fn references<'a>(text: &'a str, found: &mut dyn FnMut(Reference<'a>)) {
    collect(text, found, 0);
}

fn collect<'a>(text: &'a str, found: &mut dyn FnMut(Reference<'a>), depth: usize) {
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            rest = after;
            continue;
        }
        let inner = rest.strip_prefix('{').and_then(|_| {
            let end = closing_brace(rest)?;
            Some((&rest[1..end], end + 1))
        });
        let (inner, length) = inner.unwrap_or_else(|| (name(rest), name(rest).len()));
        rest = &rest[length..];
        let name = name(inner);
        let tail = &inner[name.len()..];
        let tail = tail.strip_prefix(':').unwrap_or(tail);
        let operator = tail.chars().next();
        let is_known = operator.is_none_or(|operator| matches!(operator, '-' | '+' | '?'));
        if name.is_empty() || !is_known || depth > MAX_DEPTH {
            continue;
        }
        let operand = tail.get(1..).unwrap_or_default();
        found(Reference {
            name,
            operator,
            operand,
        });
        collect(operand, found, depth + 1);
    }
}

fn required_or_empty(name: &str, variables: &mut dyn Variables) -> String {
    variables.get(name).unwrap_or_else(|| {
        variables.unset(name);
        String::new()
    })
}

/// `[_a-zA-Z][_a-zA-Z0-9]*` at the start of the text.
fn name(text: &str) -> &str {
    let end = text
        .find(|c: char| !(c == '_' || c.is_ascii_alphanumeric()))
        .unwrap_or(text.len());
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        ""
    } else {
        &text[..end]
    }
}

/// The `}` for the `{` the text starts with; when braces are not balanced, the
/// last one of the line.
fn closing_brace(text: &str) -> Option<usize> {
    let mut open = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => open += 1,
            '}' => {
                open -= 1;
                if open == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    text.lines().next()?.rfind('}')
}

fn invalid(rest: &str) -> TemplateError {
    let shown: String = rest.chars().take(40).take_while(|c| *c != '\n').collect();
    TemplateError::Invalid(format!("${shown}"))
}

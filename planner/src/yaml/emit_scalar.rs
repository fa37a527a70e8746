//! How a text is written: plain when it reads back the same, quoted or as a
//! block else.

use crate::tree::Value;

use super::scalar::plain;

/// The text as a plain, single-quoted or double-quoted scalar.
pub(super) fn scalar(text: &str) -> String {
    if text.chars().any(needs_escape) {
        return double_quoted(text);
    }
    if !matches!(plain(text), Value::String(_)) || is_old_boolean(text) || is_sexagesimal(text) {
        return double_quoted(text);
    }
    if needs_quotes(text) {
        format!("'{}'", text.replace('\'', "''"))
    } else {
        text.to_owned()
    }
}

/// A literal block for a text of several lines, when it can be one.
pub(super) fn block_text(text: &str, indent: usize) -> Option<String> {
    let fits = text.contains('\n')
        && !text.starts_with([' ', '\n', '\t'])
        && !text.chars().any(|c| c != '\n' && needs_escape(c))
        && !text.split('\n').any(|line| line.ends_with([' ', '\t']))
        && !text.trim_end_matches('\n').is_empty();
    if !fits {
        return None;
    }
    let body = text.trim_end_matches('\n');
    let chomp = match text.len() - body.len() {
        0 => "-",
        1 => "",
        _ => "+",
    };
    let pad = " ".repeat(indent);
    let mut out = format!("|{chomp}\n");
    let body = if chomp == "+" {
        &text[..text.len() - 1]
    } else {
        body
    };
    for line in body.split('\n') {
        if !line.is_empty() {
            out.push_str(&pad);
            out.push_str(line);
        }
        out.push('\n');
    }
    Some(out)
}

/// A plain scalar with this text would not read back as it.
fn needs_quotes(text: &str) -> bool {
    let Some(first) = text.chars().next() else {
        return true;
    };
    let second = text.chars().nth(1);
    let free = |c: Option<char>| c.is_none_or(char::is_whitespace);
    match first {
        ',' | '[' | ']' | '{' | '}' | '#' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%'
        | '@' | '`' => return true,
        '-' | '?' | ':' if free(second) => return true,
        _ => {}
    }
    text.starts_with(' ')
        || text.ends_with([' ', ':'])
        || text.contains(": ")
        || text.contains(" #")
        || text.starts_with("---")
        || text.starts_with("...")
        || text == "<<"
        || text == "="
}

fn needs_escape(c: char) -> bool {
    c.is_control() || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}')
}

/// Text that YAML 1.1 readers take for a boolean.
fn is_old_boolean(text: &str) -> bool {
    matches!(
        text,
        "y" | "Y"
            | "yes"
            | "Yes"
            | "YES"
            | "on"
            | "On"
            | "ON"
            | "n"
            | "N"
            | "no"
            | "No"
            | "NO"
            | "off"
            | "Off"
            | "OFF"
    )
}

/// Text that YAML 1.1 readers take for a number in base 60, e.g. `22:22`.
fn is_sexagesimal(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let digit_or_line = |b: u8| b.is_ascii_digit() || b == b'_';
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = whole.split(':');
    let first = parts.next().unwrap_or_default();
    let mut rest = parts.peekable();
    first.starts_with(|c: char| c.is_ascii_digit())
        && first.bytes().all(digit_or_line)
        && fraction.bytes().all(digit_or_line)
        && rest.peek().is_some()
        && rest.all(|part| match part.as_bytes() {
            [ones] => ones.is_ascii_digit(),
            [tens, ones] => matches!(tens, b'0'..=b'5') && ones.is_ascii_digit(),
            _ => false,
        })
}

fn double_quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if needs_escape(c) => out.push_str(&escape(c)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn escape(c: char) -> String {
    match u32::from(c) {
        code @ 0..=0xff => format!("\\x{code:02X}"),
        code => format!("\\u{code:04X}"),
    }
}

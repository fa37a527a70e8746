//! A stack file in the usual layout, with everything that is said in it left
//! as it is: values, comments, anchors, tags, the order of keys, blank lines.

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use granit_parser::{Event, Parser, ScalarStyle, options};
use pretty_yaml::config::{FormatOptions, LanguageOptions, LayoutOptions, ProseWrap, Quotes};

use crate::budget::Budget;
use crate::diagnostic::{Diagnostic, Files, Report};
use crate::yaml;

/// Comment that keeps what follows as it is.
const IGNORE: &str = "stack-fmt: ignore";
/// Bytes of a file at most: a layout takes a hundred times as much memory.
const MAX_TEXT: usize = 2 << 20;
/// Rounds until the layout must be settled.
const ROUNDS: usize = 4;

/// Why a file cannot be formatted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FormatError {
    /// It is not YAML.
    Syntax(Vec<Diagnostic>),
    /// The formatted text would not say the same, or would change again when it
    /// is formatted again. The words say what.
    Refused(String),
}

/// The text of a stack file, formatted. Lines end as the first one does.
///
/// # Errors
/// See [`FormatError`]. `path` is what diagnostics call the file.
pub fn format(text: &str, path: &Path) -> Result<String, FormatError> {
    if text.len() > MAX_TEXT {
        let reason = format!("it has more than {MAX_TEXT} bytes");
        return Err(FormatError::Refused(reason));
    }
    let mut report = Report::default();
    let mut files = Files::default();
    let file = files.add(path, Arc::from(text));
    yaml::parse(text, file, &mut Budget::default(), &mut report);
    if report.has_errors() {
        return Err(FormatError::Syntax(report.finish(&files)));
    }
    let windows = text.find('\n').is_some_and(|at| text[..at].ends_with('\r'));
    let plain = text
        .strip_prefix('\u{feff}')
        .unwrap_or(text)
        .replace("\r\n", "\n");
    if plain.trim().is_empty() {
        return Ok(String::new());
    }
    // White space at the ends of lines goes, unless it is part of a text.
    let formatted = settle(&plain, true).or_else(|_| settle(&plain, false));
    let formatted = formatted.map_err(FormatError::Refused)?;
    Ok(if windows {
        formatted.replace('\n', "\r\n")
    } else {
        formatted
    })
}

/// Formats until nothing changes any more.
fn settle(plain: &str, trim: bool) -> Result<String, String> {
    let before = content(plain)?;
    let mut last = plain.to_owned();
    for _ in 0..ROUNDS {
        let next = once(&last, trim)?;
        let after = content(&next)?;
        if let Some(difference) = difference(&before, &after) {
            return Err(difference);
        }
        if next == last {
            return Ok(next);
        }
        last = next;
    }
    Err("the layout does not settle".to_owned())
}

fn once(text: &str, trim: bool) -> Result<String, String> {
    let options = FormatOptions {
        layout: LayoutOptions {
            print_width: 100,
            ..LayoutOptions::default()
        },
        language: LanguageOptions {
            quotes: Quotes::PreferDouble,
            trailing_comma: false,
            brace_spacing: false,
            prose_wrap: ProseWrap::Preserve,
            trim_trailing_whitespaces: trim,
            ignore_comment_directive: IGNORE.to_owned(),
            ..LanguageOptions::default()
        },
    };
    // The text is not trusted, and the formatter was written for people's files.
    let formatted = std::panic::catch_unwind(|| pretty_yaml::format_text(text, &options));
    match formatted {
        Ok(Ok(formatted)) => Ok(formatted),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("there is something in it that cannot be laid out".to_owned()),
    }
}

/// What a file says, without how it is laid out.
#[derive(Debug, PartialEq, Eq)]
struct Content {
    /// Events of the parser in words.
    nodes: Vec<String>,
    comments: Vec<String>,
}

fn content(text: &str) -> Result<Content, String> {
    let options = options! {
        emit_comments: true,
        emit_anchor_events: true,
        flow_nesting_limit: 100,
        block_nesting_limit: 100,
        emit_unresolved_aliases: true,
        simple_key_max_lookahead: 4096,
    };
    let (mut nodes, mut comments) = (Vec::new(), Vec::new());
    for next in Parser::new_from_str_with_options(text, options) {
        let (event, _) = next.map_err(|error| error.info().to_owned())?;
        match event {
            Event::Comment(text, _) => comments.push(text.trim().to_owned()),
            // Quotes matter where a plain text would be a number or the like,
            // and a plain one must not get any.
            Event::Scalar(text, style, _, tag) => {
                let quoted = style != ScalarStyle::Plain;
                nodes.push(format!("scalar {quoted} {tag:?} {text:?}"));
            }
            Event::SequenceStart(_, _, tag) => nodes.push(format!("[ {tag:?}")),
            Event::MappingStart(_, _, tag) => nodes.push(format!("{{ {tag:?}")),
            Event::DocumentStart(_, version) => nodes.push(format!("document {version:?}")),
            event => nodes.push(format!("{event:?}")),
        }
    }
    Ok(Content { nodes, comments })
}

/// The first thing that is not the same.
fn difference(before: &Content, after: &Content) -> Option<String> {
    let lists = [
        ("the content", &before.nodes, &after.nodes),
        ("a comment", &before.comments, &after.comments),
    ];
    lists.into_iter().find_map(|(what, before, after)| {
        if before == after {
            return None;
        }
        let at = before.iter().zip(after).position(|(a, b)| a != b);
        let found = at.and_then(|at| before.get(at)).or(before.get(after.len()));
        let shown: String = found
            .map_or("the end", String::as_str)
            .chars()
            .take(80)
            .collect();
        Some(format!("{what} would change at {shown}"))
    })
}

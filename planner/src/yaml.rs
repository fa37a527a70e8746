//! Text to tree: every document of a file, with anchors, merge keys and
//! Compose's tags resolved, and with limits that a hostile file cannot pass.

mod builder;
pub(crate) mod emit;
mod emit_scalar;
mod merge_key;
mod scalar;
mod syntax;
#[cfg(test)]
mod tests;

use granit_parser::{Event, Parser, ScalarStyle, options};

use crate::budget::Budget;
use crate::diagnostic::{Problem, Report, codes};
use crate::tree::{Node, Span};

/// Bytes of one file at most.
pub(crate) const MAX_FILE: usize = 8 << 20;
/// Nested collections at most.
const MAX_DEPTH: usize = 100;

/// All documents of `text`, which is file number `file`. A document that holds
/// nothing is left out. `None` after a mistake that leaves no tree; after others
/// the part that is to blame is given up.
pub(crate) fn parse(
    text: &str,
    file: u32,
    budget: &mut Budget,
    report: &mut Report,
) -> Option<Vec<Node>> {
    if text.len() > MAX_FILE {
        let message = format!(
            "the file has {} bytes, more than the {MAX_FILE} allowed",
            text.len()
        );
        report.push(Problem::error(codes::TOO_BIG, message).at(
            Span {
                file,
                start: 0,
                end: 0,
            },
            "",
        ));
        return None;
    }
    let options = options! {
        emit_comments: false,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
        emit_unresolved_aliases: true,
        simple_key_max_lookahead: 4096,
    };
    let mut builder = builder::Builder::new(budget);
    for next in Parser::new_from_str_with_options(text, options) {
        let (event, span) = match next {
            Ok(next) => next,
            Err(error) => {
                let at = error.marker().byte_offset().unwrap_or(0).min(text.len());
                report.push(syntax::explain(text, file, at, &error.info()));
                return None;
            }
        };
        let range = span.byte_range().unwrap_or(0..0);
        let span = Span {
            file,
            start: clamp(range.start),
            end: clamp(range.end.min(text.len())),
        };
        match &event {
            Event::StreamEnd => break,
            Event::Scalar(value, ScalarStyle::Plain, ..) if value.contains(" - ") => {
                if let Some(problem) = syntax::swallowed_line(text, trim(text, span)) {
                    report.push(problem);
                }
            }
            Event::UnresolvedAlias(name) => {
                report.push(syntax::unknown_alias(text, name, trim(text, span)));
                return None;
            }
            _ => {}
        }
        if let Err(problem) = builder.event(event, trim(text, span), report) {
            report.push(*problem);
            return None;
        }
    }
    Some(builder.documents)
}

fn clamp(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}

/// The character at `offset`, or the last one before the end of the line.
fn point(text: &str, file: u32, offset: usize) -> Span {
    let start = (0..=offset)
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0);
    let end = text[start..]
        .chars()
        .next()
        .map_or(start, |c| start + c.len_utf8());
    Span {
        file,
        start: clamp(start),
        end: clamp(end),
    }
}

/// The span without white space at its end.
fn trim(text: &str, span: Span) -> Span {
    let (start, end) = (span.start as usize, span.end as usize);
    match text.get(start..end) {
        Some(part) => Span {
            end: clamp(start + part.trim_end().len()),
            ..span
        },
        None => Span {
            end: span.start,
            ..span
        },
    }
}

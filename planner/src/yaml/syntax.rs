//! Syntax errors in the user's words. A parser says where it had to stop; the
//! lines around that place usually show why.

use crate::diagnostic::{Problem, codes};
use crate::suggest;
use crate::tree::Span;

/// Lines above the place that are looked at for something that was not closed.
const LINES_ABOVE: usize = 200;

/// One line: where it starts in the text, and what is on it.
type Line<'a> = (usize, &'a str);

/// The finding for an error of the parser at byte `at`, in its words `info`.
pub(super) fn explain(text: &str, file: u32, at: usize, info: &str) -> Problem {
    let place = Place {
        text,
        file,
        at,
        info,
    };
    place
        .merge_conflict()
        .or_else(|| place.tab())
        .or_else(|| place.unclosed_quote())
        .or_else(|| place.text_after_quote())
        .or_else(|| place.unclosed_bracket())
        .or_else(|| place.special_character())
        .or_else(|| place.missing_space())
        .or_else(|| place.colon_in_value())
        .or_else(|| place.block_text())
        .or_else(|| place.missing_colon())
        .or_else(|| place.items_among_keys())
        .or_else(|| place.indentation())
        .or_else(|| place.more_text())
        .unwrap_or_else(|| {
            Problem::error(codes::SYNTAX, info).at(super::point(text, file, at), "here")
        })
}

/// A list item that is indented so far that YAML takes it as the next line of the
/// item above.
pub(super) fn swallowed_line(text: &str, span: Span) -> Option<Problem> {
    let value = text.get(span.start as usize..span.end as usize)?;
    let (at, line) = value
        .split_inclusive('\n')
        .scan(0, |at, line| {
            let start = *at;
            *at += line.len();
            Some((start, line))
        })
        .skip(1)
        .find(|(_, line)| line.trim_start().starts_with("- "))?;
    let blank = line.len() - line.trim_start().len();
    let start = span.start + super::clamp(at + blank);
    let place = Span {
        start,
        end: start + super::clamp(line.trim().len()),
        ..span
    };
    let message = "this line is read as part of the text above it, not as a list item";
    let problem = Problem::warning(codes::SWALLOWED_LINE, message);
    Some(
        problem
            .at(place, "indented too far")
            .at(span, "belongs to this text")
            .help("indent it like the item above; quotes make a text of several lines"),
    )
}

/// An alias without an anchor: misspelt, or no alias at all.
pub(super) fn unknown_alias(text: &str, name: &str, span: Span) -> Problem {
    let before = text.get(..span.start as usize).unwrap_or_default();
    let end = |c: char| c.is_whitespace() || matches!(c, ',' | ']' | '}' | '[' | '{');
    let anchors = before
        .split([' ', '\n'])
        .filter_map(|word| word.strip_prefix('&'))
        .map(|rest| rest.split(end).next().unwrap_or_default());
    let message = format!("there is no anchor `&{name}` before this alias");
    let help = suggest::nearest(name, anchors).map_or_else(
        || {
            format!("define `&{name}` further up; a text that starts with a star goes in quotes: `\"*{name}\"`")
        },
        |near| format!("did you mean `*{near}`?"),
    );
    Problem::error(codes::SYNTAX, message)
        .at(span, "unknown anchor")
        .help(help)
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

struct Place<'a> {
    text: &'a str,
    file: u32,
    at: usize,
    info: &'a str,
}

impl<'a> Place<'a> {
    /// The line of the place and those above it, upwards.
    fn upwards(&self) -> impl Iterator<Item = Line<'a>> {
        let text = self.text;
        let mut end = text[self.floor(self.at)..]
            .find('\n')
            .map(|length| self.floor(self.at) + length)
            .or(Some(text.len()));
        std::iter::from_fn(move || {
            let stop = end?;
            let start = text[..stop].rfind('\n').map_or(0, |at| at + 1);
            end = start.checked_sub(1);
            Some((start, text[start..stop].trim_end_matches('\r')))
        })
    }

    fn floor(&self, at: usize) -> usize {
        let mut at = at.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }

    fn line(&self) -> Line<'a> {
        self.upwards().next().unwrap_or((0, ""))
    }

    /// Lines with content above the place's.
    fn above(&self) -> impl Iterator<Item = Line<'a>> {
        let has_content =
            |line: &str| !matches!(line.trim_start().chars().next(), None | Some('#'));
        self.upwards()
            .skip(1)
            .filter(move |(_, line)| has_content(line))
            .take(LINES_ABOVE)
    }

    fn span(&self, start: usize, length: usize) -> Span {
        Span {
            file: self.file,
            start: super::clamp(start),
            end: super::clamp(start + length),
        }
    }

    /// The place where the parser gave up.
    fn here(&self) -> Span {
        super::point(self.text, self.file, self.at)
    }

    fn problem(message: impl Into<String>) -> Problem {
        Problem::error(codes::SYNTAX, message)
    }

    fn merge_conflict(&self) -> Option<Problem> {
        let marks = |line: &str| {
            ["<<<<<<<", "=======", ">>>>>>>"]
                .iter()
                .any(|mark| line.starts_with(mark))
        };
        let (start, _) = self
            .upwards()
            .take(LINES_ABOVE)
            .filter(|(_, line)| marks(line))
            .last()?;
        let problem = Self::problem("the file has a merge conflict that was not resolved");
        Some(
            problem
                .at(self.span(start, 7), "one side starts here")
                .help("keep one side and delete the lines with `<<<<<<<`, `=======` and `>>>>>>>`"),
        )
    }

    fn tab(&self) -> Option<Problem> {
        let (start, line) = self.line();
        let blank = line.len() - line.trim_start().len();
        let tab = line[..blank].find('\t')?;
        let tabs = line[tab..].chars().take_while(|c| *c == '\t').count();
        let problem = Self::problem("a line is indented with a tab");
        Some(
            problem
                .at(self.span(start + tab, tabs), "a tab")
                .help("indent with spaces, two for each level; most editors can convert tabs"),
        )
    }

    fn missing_space(&self) -> Option<Problem> {
        let lines = std::iter::once(self.line()).chain(self.above().take(1));
        for (start, line) in lines {
            let body = line.trim_start().trim_start_matches("- ");
            let Some((key, value)) = body.split_once(':') else {
                continue;
            };
            let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
            let looks = !key.is_empty()
                && key.chars().all(word)
                && !value.is_empty()
                && !value.starts_with([' ', '/', '\t']);
            if looks && key.starts_with('-') {
                let at = start + (line.len() - body.len());
                let problem = Self::problem("a space is missing after the dash of a list item");
                let item = body.trim_start_matches('-');
                return Some(
                    problem
                        .at(self.span(at, 1), "after this dash")
                        .help(format!("write `- {item}`")),
                );
            }
            if looks {
                let at = start + (line.len() - body.len()) + key.len();
                let problem = Self::problem(format!("a space is missing after `{key}:`"));
                return Some(
                    problem
                        .at(self.span(at, 1), "after this colon")
                        .help(format!("write `{key}: {value}`")),
                );
            }
        }
        None
    }

    /// `key: a: b`
    fn colon_in_value(&self) -> Option<Problem> {
        if !self.info.contains("mapping values") {
            return None;
        }
        let (start, line) = self.line();
        let (key, value) = line.split_once(": ")?;
        if !value.contains(": ") && !value.ends_with(':') {
            return None;
        }
        let value = value.trim();
        let at = start + key.len() + 2;
        let quoted = if value.contains('"') {
            format!("'{}'", value.replace('\'', "''"))
        } else {
            format!("\"{value}\"")
        };
        Some(
            Self::problem(
                "the value has a colon and a space in it, which makes a key of what is before it",
            )
            .at(self.span(at, value.len()), "this value")
            .help(format!("put it in quotes: `{}: {quoted}`", key.trim())),
        )
    }

    fn unclosed_quote(&self) -> Option<Problem> {
        if !self.info.contains("quoted scalar") {
            return None;
        }
        let quote = if self.info.contains("single") {
            '\''
        } else {
            '"'
        };
        // The place may be behind a quote that was meant to open another text.
        let (start, line) = self
            .upwards()
            .take(LINES_ABOVE)
            .filter(|(start, _)| *start <= self.at)
            .find(|(_, line)| line.replace("\\\"", "").matches(quote).count() % 2 == 1)?;
        let at = start + line.find(quote)?;
        let problem = Self::problem("a quote is not closed").at(self.span(at, 1), "opened here");
        let problem = match self.line().0 == start {
            true => problem,
            false => problem.at(self.here(), "read up to here"),
        };
        Some(problem.help(format!("write another `{quote}` at the end of the text")))
    }

    /// `"a" = b`
    fn text_after_quote(&self) -> Option<Problem> {
        if !self.info.contains("trailing content") {
            return None;
        }
        let rest = self.text[self.floor(self.at)..].lines().next()?.trim_end();
        let problem = Self::problem("there is more text after a closing quote");
        Some(
            problem
                .at(
                    self.span(self.floor(self.at), rest.len()),
                    "not inside the quotes",
                )
                .help("put the whole text in one pair of quotes, or leave them out"),
        )
    }

    fn unclosed_bracket(&self) -> Option<Problem> {
        let flow = [
            "flow",
            "illegal placement of ':'",
            "invalid comma",
            "unclosed",
        ];
        if !flow.iter().any(|word| self.info.contains(word)) {
            return None;
        }
        if let Some(c) = self
            .info
            .strip_prefix("unclosed bracket '")
            .and_then(|rest| rest.chars().next())
        {
            let problem = Self::problem(format!("`{c}` is not closed"));
            return Some(
                problem
                    .at(self.here(), "opened here")
                    .help("every `[` and `{` needs its `]` or `}`, in the right order"),
            );
        }
        let mut closed = 0usize;
        let lines = self.upwards().take(LINES_ABOVE);
        for (start, line) in lines {
            for (offset, c) in line
                .char_indices()
                .rev()
                .filter(|(offset, _)| start + offset < self.at)
            {
                match c {
                    ']' | '}' => closed += 1,
                    '[' | '{' if closed > 0 => closed -= 1,
                    '[' | '{' => {
                        let end = if c == '[' { ']' } else { '}' };
                        return Some(
                            Self::problem(format!("`{c}` is not closed"))
                                .at(self.span(start + offset, 1), "opened here")
                                .at(self.here(), "read up to here")
                                .help(format!("write `{end}` at the end of the list or mapping")),
                        );
                    }
                    _ => {}
                }
            }
        }
        None
    }

    fn special_character(&self) -> Option<Problem> {
        if !self.info.contains("unexpected character") {
            return None;
        }
        let (start, line) = self.line();
        let c = self.info.split('`').nth(1)?.chars().next()?;
        let at = start + line.find(c)?;
        let value = self.text[at..].lines().next()?.trim_end();
        let key = line[..at - start].trim();
        Some(
            Self::problem(format!("a text that starts with `{c}` must be in quotes"))
                .at(self.span(at, value.len()), "this text")
                .help(format!("write `{key} \"{value}\"`")),
        )
    }

    /// A key without a colon, here or in the line above.
    fn missing_colon(&self) -> Option<Problem> {
        if !["simple key", "mapping values", "expected key"]
            .iter()
            .any(|word| self.info.contains(word))
        {
            return None;
        }
        let lines = std::iter::once(self.line()).chain(self.above().take(1));
        let (start, line) = lines.into_iter().find(|(_, line)| {
            let body = line.trim();
            !body.is_empty()
                && !body.contains(':')
                && !body.starts_with(['-', '#', '[', '{', '"', '\''])
        })?;
        let body = line.trim();
        let key = body.split_whitespace().next()?;
        let at = start + line.find(key)?;
        let rest = body[key.len()..].trim_start();
        Some(
            Self::problem(format!("there is no colon after `{key}`"))
                .at(self.span(at, key.len()), "a key needs a colon")
                .help(format!("write `{}`", format!("{key}: {rest}").trim_end())),
        )
    }

    /// A line of a `|` or `>` text that is indented less than the first one.
    fn block_text(&self) -> Option<Problem> {
        let (start, line) = self.line();
        let depth = indent(line);
        let (first, key) = {
            let mut above = self.above();
            let mut last = above.next()?;
            let key = above.find_map(|(at, other)| {
                let inside = indent(other) > depth;
                let found = (!inside).then_some((last, other));
                last = (at, other);
                found
            });
            key?
        };
        let opens = |text: &str| {
            text.trim_end().ends_with(['|', '>', '-', '+']) && text.contains([':', '-'])
        };
        let mark = key.trim_end().trim_end_matches(['-', '+']);
        if !mark.ends_with(['|', '>'])
            || !opens(key)
            || indent(first.1) <= depth
            || indent(key) >= depth
        {
            return None;
        }
        let problem = Self::problem("a line of a text is indented less than its first line");
        let own = line.trim();
        Some(
            problem
                .at(self.span(start + depth, own.len()), "this line")
                .at(
                    self.span(first.0 + indent(first.1), first.1.trim().len()),
                    "the first line",
                )
                .help("indent all lines of the text alike"),
        )
    }

    /// `- item` and `key:` at one depth.
    fn items_among_keys(&self) -> Option<Problem> {
        let (start, line) = self.line();
        let (depth, body) = (indent(line), line.trim());
        let item = body.starts_with("- ");
        let (at, other) = self
            .above()
            .take_while(|(_, other)| indent(other) >= depth)
            .find(|(_, other)| indent(other) == depth && other.trim().starts_with("- ") != item)?;
        // A list may be as deep as its key.
        if !item
            && self
                .above()
                .find(|(_, other)| indent(other) < depth)
                .is_none()
        {
            return None;
        }
        let names = if item {
            ("a list item", "a key")
        } else {
            ("a key", "a list item")
        };
        let problem = Self::problem("list items and keys are mixed");
        Some(
            problem
                .at(self.span(start + depth, body.len()), names.0)
                .at(self.span(at + depth, other.trim().len()), names.1)
                .help("write all of them with `- `, or none"),
        )
    }

    fn more_text(&self) -> Option<Problem> {
        if !self.info.contains("document start") {
            return None;
        }
        let problem = Self::problem("there is more text after the end of what the file says");
        Some(problem.at(self.here(), "from here").help(
            "a stack file is one mapping: `services:`, and everything else beside or below it",
        ))
    }

    fn indentation(&self) -> Option<Problem> {
        let (start, line) = self.line();
        let body = line.trim_start();
        let expected = [
            "expected key",
            "block collection",
            "block sequence",
            "mapping values",
            "'-' indicator",
            "simple key",
        ];
        if body.is_empty() || !expected.iter().any(|word| self.info.contains(word)) {
            return None;
        }
        let depth = line.len() - body.len();
        let item = body.starts_with("- ");
        let same_kind = |other: &str| other.trim_start().starts_with("- ") == item;
        // The nearest line above that this one could belong to.
        let (near, other) = self
            .above()
            .filter(|(_, other)| same_kind(other))
            .min_by_key(|(_, other)| (other.len() - other.trim_start().len()).abs_diff(depth))?;
        let wanted = other.len() - other.trim_start().len();
        if wanted == depth {
            return None;
        }
        let word = other.trim();
        let spaces = |count: usize| format!("{count} space{}", if count == 1 { "" } else { "s" });
        let mut problem = Self::problem("the indentation fits nothing above");
        problem = problem.at(
            self.span(start + depth, body.trim_end().len()),
            format!("{} here", spaces(depth)),
        );
        problem = problem.at(
            self.span(near + wanted, word.len()),
            format!("{} here", spaces(wanted)),
        );
        Some(problem.help(if item {
            "items of one list are indented alike"
        } else {
            "keys of one mapping are indented alike"
        }))
    }
}

//! The little that must be known of a Dockerfile before it is built
//! (Dockerfile reference): which images it begins with, and in which line an
//! instruction is.

use std::collections::BTreeMap;

/// An instruction.
#[derive(Debug, PartialEq, Eq)]
struct Instruction {
    /// Of its first line, from 1.
    line: usize,
    /// All of it on one line, blanks as one space, the keyword in capitals.
    text: String,
}

/// Splits a Dockerfile into instructions.
fn instructions(text: &str) -> Vec<Instruction> {
    let escape = escape(text);
    let mut found = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, first)) = lines.next() {
        if first.trim().is_empty() || first.trim_start().starts_with('#') {
            continue;
        }
        let mut whole = String::new();
        let mut part = first;
        while let Some(rest) = part.trim_end().strip_suffix(escape) {
            whole.push_str(rest);
            whole.push(' ');
            // Comments and empty lines in between do not end it.
            let next = lines
                .find(|(_, line)| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
            part = next.map_or("", |(_, line)| line);
        }
        whole.push_str(part);
        for end in here_documents(&whole) {
            for (_, line) in lines.by_ref() {
                if line.trim_start_matches('\t') == end {
                    break;
                }
            }
        }
        found.push(Instruction {
            line: number + 1,
            text: plain(&whole),
        });
    }
    found
}

/// The directive at the top, or a backslash.
fn escape(text: &str) -> char {
    let directives = text.lines().map_while(|line| line.trim().strip_prefix('#'));
    let escape = directives
        .filter_map(|line| line.split_once('='))
        .find(|(key, _)| key.trim().eq_ignore_ascii_case("escape"));
    escape
        .and_then(|(_, value)| value.trim().chars().next())
        .unwrap_or('\\')
}

/// The words that end the here documents of an instruction.
fn here_documents(instruction: &str) -> Vec<String> {
    let word = instruction.split_whitespace().next().unwrap_or_default();
    if !["RUN", "COPY", "ADD"]
        .iter()
        .any(|w| word.eq_ignore_ascii_case(w))
    {
        return Vec::new();
    }
    let words = instruction.split_whitespace().filter_map(|word| {
        let end = word.strip_prefix("<<")?;
        let end = end.trim_start_matches('-').trim_matches(['"', '\'']);
        let plain = !end.is_empty() && end.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        plain.then(|| end.to_owned())
    });
    words.collect()
}

fn plain(text: &str) -> String {
    let mut words = text.split_whitespace();
    let first = words.next().unwrap_or_default().to_ascii_uppercase();
    words.fold(first, |mut all, word| {
        all.push(' ');
        all.push_str(word);
        all
    })
}

/// The images that stages begin with or copy from, as far as they can be
/// told: stages and `scratch` are none.
pub(super) fn images(text: &str, args: &BTreeMap<String, String>) -> Vec<String> {
    let mut values: BTreeMap<String, String> = BTreeMap::new();
    let mut stages: Vec<String> = Vec::new();
    let mut found: Vec<String> = Vec::new();
    for instruction in instructions(text) {
        let mut words = instruction.text.split(' ');
        let keyword = words.next().unwrap_or_default();
        let words: Vec<&str> = words.collect();
        let image = match keyword {
            // Only those before the first stage count.
            "ARG" if stages.is_empty() => {
                for word in words {
                    let (name, default) = word.split_once('=').unwrap_or((word, ""));
                    let value = args.get(name).map_or(default, String::as_str);
                    values.insert(name.to_owned(), value.trim_matches(['"', '\'']).to_owned());
                }
                continue;
            }
            "FROM" => {
                let mut rest = words.iter().filter(|word| !word.starts_with("--"));
                let image = rest.next().map(|image| expand(image, &values));
                let is_as = rest.next().is_some_and(|w| w.eq_ignore_ascii_case("as"));
                let name = rest.next().filter(|_| is_as).map_or("", |name| name);
                let known = image.filter(|image| !stages.contains(&image.to_lowercase()));
                stages.push(name.to_lowercase());
                known
            }
            "COPY" | "ADD" | "RUN" => {
                let from = words.iter().find_map(|word| {
                    word.strip_prefix("--from=").or_else(|| {
                        let mount = word.strip_prefix("--mount=")?;
                        mount.split(',').find_map(|part| part.strip_prefix("from="))
                    })
                });
                let image = from.map(|image| expand(image, &values));
                image.filter(|image| {
                    image.parse::<usize>().is_err() && !stages.contains(&image.to_lowercase())
                })
            }
            _ => continue,
        };
        let image = image.filter(|image| !image.is_empty() && image != "scratch");
        found.extend(image.filter(|image| !found.contains(image)));
    }
    found
}

/// Replaces `$NAME`, `${NAME}` and `${NAME:-default}`.
fn expand(text: &str, values: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let (inside, left) = match after.strip_prefix('{').and_then(|a| a.split_once('}')) {
            Some(braced) => braced,
            None => {
                let end = after
                    .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                    .unwrap_or(after.len());
                after.split_at(end)
            }
        };
        let (name, default) = inside.split_once(":-").unwrap_or((inside, ""));
        let value = values.get(name).filter(|value| !value.is_empty());
        out.push_str(value.map_or(default, String::as_str));
        rest = left;
    }
    out + rest
}

/// The line of the instruction that an engine names as it begins with it;
/// variables in it may have been replaced.
pub(super) fn line_of(text: &str, step: &str) -> Option<usize> {
    let step = plain(step);
    let all = instructions(text);
    let same = all.iter().find(|instruction| instruction.text == step);
    let keyword = |text: &str| text.split(' ').next().map(str::to_owned);
    let alike = || {
        let mut alike = all.iter().filter(|i| keyword(&i.text) == keyword(&step));
        alike.next().filter(|_| alike.next().is_none())
    };
    same.or_else(alike).map(|instruction| instruction.line)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# syntax=docker/dockerfile:1\nARG VERSION=1\n\
        FROM --platform=linux/amd64 base:${VERSION} AS build\n\
        RUN a \\\n  # why\n  && b\n\
        COPY <<EOF /x\nFROM nothing\nEOF\n\
        FROM build as last\nCOPY --from=tools:2 /a /b\nCOPY --from=0 /c /d\n\
        RUN   exit  3\n";

    #[test]
    fn images_are_found() {
        let none = BTreeMap::new();
        assert_eq!(images(FILE, &none), ["base:1", "tools:2"]);
        let args = BTreeMap::from([("VERSION".to_owned(), "7".to_owned())]);
        assert_eq!(images(FILE, &args)[0], "base:7");
        assert!(images("FROM scratch\n", &none).is_empty());
        assert_eq!(images("FROM ${X:-y}", &none), ["y"]);
    }

    #[test]
    fn lines_are_found() {
        assert_eq!(line_of(FILE, "RUN a && b"), Some(4));
        assert_eq!(line_of(FILE, "RUN exit 3"), Some(13));
        assert_eq!(line_of(FILE, "RUN other"), None);
        assert_eq!(line_of(FILE, "COPY --from=0 /c /d"), Some(12));
        // The only one of its kind, with its variables replaced.
        assert_eq!(line_of("FROM $X\nRUN y", "FROM busybox"), Some(1));
    }

    #[test]
    fn the_escape_can_be_another() {
        let text = "# escape=`\nFROM a\nRUN x `\n  y\nUSER z\n";
        assert_eq!(line_of(text, "RUN x y"), Some(3));
        assert_eq!(line_of(text, "USER z"), Some(5));
    }
}

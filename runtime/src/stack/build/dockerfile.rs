//! The little that must be known of a Dockerfile before it is built
//! (Dockerfile reference): which images it begins with, and in which line an
//! instruction is.

use std::collections::BTreeMap;

/// Bytes of a value at most, of all of them, and how many defaults may be in
/// each other: a Dockerfile may be anybody's.
const LONGEST: usize = 64 << 10;
const ALL: usize = 16 << 20;
const DEPTH: usize = 32;

/// An instruction.
#[derive(Debug, PartialEq, Eq)]
struct Instruction {
    /// Of its first line, from 1.
    line: usize,
    /// All of it on one line, blanks as one space, the keyword in capitals.
    text: String,
    /// Which stage it is in, from 1; 0 before the first.
    stage: usize,
    /// Which of the stage's it is, from 1.
    number: usize,
}

/// The keywords of instructions.
const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// The first line that begins with no keyword: its number, and what it begins with.
/// What comes behind a `<<` may be the text of a here document, and is not looked at.
pub(super) fn unknown(text: &str) -> Option<(usize, String)> {
    let all = instructions(text).into_iter();
    let mut certain = all.take_while(|instruction| !instruction.text.contains("<<"));
    certain.find_map(|instruction| {
        let word = instruction.text.split(' ').next().unwrap_or_default();
        (!KEYWORDS.contains(&word)).then(|| (instruction.line, word.to_owned()))
    })
}

/// The keyword that was meant by a word, if that is likely.
pub(super) fn keyword_like(word: &str) -> Option<&'static str> {
    stack_planner::nearest(word, KEYWORDS.into_iter())
}

/// Splits a Dockerfile into instructions.
fn instructions(text: &str) -> Vec<Instruction> {
    // A mark of the byte order.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let escape = escape(text);
    let mut found: Vec<Instruction> = Vec::new();
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
        let text = plain(&whole);
        let (stage, before) = found
            .last()
            .map_or((0, 0), |last| (last.stage, last.number));
        let (stage, before) = match text.starts_with("FROM ") {
            true => (stage + 1, 0),
            false => (stage, before),
        };
        found.push(Instruction {
            line: number + 1,
            text,
            stage,
            number: before + 1,
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
///
/// # Errors
/// A value is longer, or its defaults are in each other more deeply, than
/// anybody means: the line.
pub(super) fn images(text: &str, args: &BTreeMap<String, String>) -> Result<Vec<String>, String> {
    let mut values = platform();
    let mut size = 0;
    let mut stages: Vec<String> = Vec::new();
    let mut found: Vec<String> = Vec::new();
    for instruction in instructions(text) {
        let mut words = instruction.text.split(' ');
        let keyword = words.next().unwrap_or_default();
        let words: Vec<&str> = words.collect();
        let line = instruction.line;
        let full = |text: &str, values: &BTreeMap<String, String>| {
            let text = expand(text, values, DEPTH).filter(|text| text.len() <= LONGEST);
            text.ok_or_else(|| format!("line {line}: a value is too long, or too deeply nested"))
        };
        let images: Vec<String> = match keyword {
            // Only those before the first stage count.
            "ARG" if stages.is_empty() => {
                for word in words {
                    let (name, default) = match word.split_once('=') {
                        Some((name, default)) => (name, Some(default)),
                        None => (word, None),
                    };
                    let default = default.map(|text| text.trim_matches(['"', '\'']));
                    let default = default.map(|text| full(text, &values)).transpose()?;
                    let value = args.get(name).cloned().or(default);
                    size += value.as_ref().map_or(0, String::len);
                    if size > ALL {
                        return Err(format!("line {line}: all values together are too long"));
                    }
                    values.extend(value.map(|value| (name.to_owned(), value)));
                }
                continue;
            }
            "FROM" => {
                let mut rest = words.iter().filter(|word| !word.starts_with("--"));
                let image = rest.next().map(|image| full(image, &values)).transpose()?;
                let is_as = rest.next().is_some_and(|w| w.eq_ignore_ascii_case("as"));
                let name = rest.next().filter(|_| is_as).map_or("", |name| name);
                let known = image.filter(|image| !stages.contains(&image.to_lowercase()));
                stages.push(name.to_lowercase());
                known.into_iter().collect()
            }
            "COPY" | "ADD" | "RUN" => {
                // What follows its options is the command's.
                let options = words.iter().take_while(|word| word.starts_with("--"));
                let from = options.filter_map(|word| {
                    word.strip_prefix("--from=").or_else(|| {
                        let mount = word.strip_prefix("--mount=")?;
                        mount.split(',').find_map(|part| part.strip_prefix("from="))
                    })
                });
                let is_image = |image: &String| {
                    image.parse::<usize>().is_err() && !stages.contains(&image.to_lowercase())
                };
                let images = from.map(|image| full(image, &values));
                let images: Vec<String> = images.collect::<Result<_, _>>()?;
                images.into_iter().filter(is_image).collect()
            }
            _ => continue,
        };
        for image in images {
            if !image.is_empty() && image != "scratch" && !found.contains(&image) {
                found.push(image);
            }
        }
    }
    Ok(found)
}

/// The option of `RUN` that engines other than BuildKit do not know.
const SECURITY: &str = "--security=";

/// A Dockerfile without this option of `RUN`, each line as long as it was: with
/// `privileged`, each `RUN` is what the option asks for.
///
/// # Errors
/// One asks for what it is not given: the line.
pub(super) fn without_security(content: &[u8], privileged: bool) -> Result<Vec<u8>, usize> {
    let text = String::from_utf8_lossy(content);
    let mut content = content.to_vec();
    if !text.contains(SECURITY) {
        return Ok(content);
    }
    // Bytes, which may be no text, have the same lines.
    let ends = content
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'\n');
    let mut starts: Vec<usize> = [0].into_iter().chain(ends.map(|(at, _)| at + 1)).collect();
    starts.push(content.len());
    for instruction in instructions(&text) {
        let options = instruction.text.strip_prefix("RUN ").unwrap_or_default();
        let options = options.split(' ').take_while(|word| word.starts_with("--"));
        let mut from = starts[instruction.line - 1];
        for option in options.filter(|option| option.starts_with(SECURITY)) {
            if !privileged && !option.ends_with("=sandbox") {
                return Err(instruction.line);
            }
            let mut places = content[from..].windows(option.len());
            if let Some(at) = places.position(|bytes| bytes == option.as_bytes()) {
                from += at;
                content[from..from + option.len()].fill(b' ');
            }
        }
    }
    Ok(content)
}

/// Does a `RUN` mount something of the context?
pub(super) fn mounts_context(text: &str) -> bool {
    instructions(text).iter().any(|instruction| {
        let options = instruction.text.strip_prefix("RUN ").unwrap_or_default();
        let options = options.split(' ').take_while(|word| word.starts_with("--"));
        let mut mounts = options.filter_map(|option| option.strip_prefix("--mount="));
        mounts.any(|mount| {
            let mut parts = mount.split(',');
            let is_bind = |part: &str| !part.starts_with("type=") || part == "type=bind";
            parts.all(|part| is_bind(part) && !part.starts_with("from="))
        })
    })
}

/// The values that every build has (Dockerfile reference, "Automatic platform
/// ARGs in the global scope").
fn platform() -> BTreeMap<String, String> {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let mut values = BTreeMap::new();
    for kind in ["TARGET", "BUILD"] {
        for (name, value) in [
            ("PLATFORM", format!("linux/{architecture}")),
            ("OS", "linux".to_owned()),
            ("ARCH", architecture.to_owned()),
        ] {
            values.insert(format!("{kind}{name}"), value);
        }
    }
    values
}

/// Replaces `$NAME` and `${NAME}`, also with `-`, `:-`, `+` or `:+` and a text.
/// `None`: there are more than `depth` of these in each other, or it becomes too
/// long.
fn expand(text: &str, values: &BTreeMap<String, String>, depth: usize) -> Option<String> {
    let inner = |text: &str| expand(text, values, depth.checked_sub(1)?);
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let (inside, left) = match after.strip_prefix('{') {
            Some(braced) => {
                let end = closing(braced);
                (&braced[..end], braced.get(end + 1..).unwrap_or_default())
            }
            None => after.split_at(after.find(|c| !is_name(c)).unwrap_or(after.len())),
        };
        let (name, how) = inside.split_at(inside.find(|c| !is_name(c)).unwrap_or(inside.len()));
        let value = values.get(name);
        let full = value.filter(|value| !value.is_empty());
        if let Some(other) = how.strip_prefix(":-") {
            out += &full.cloned().map_or_else(|| inner(other), Some)?;
        } else if let Some(other) = how.strip_prefix('-') {
            out += &value.cloned().map_or_else(|| inner(other), Some)?;
        } else if let Some(other) = how.strip_prefix(":+") {
            out += &full.map_or_else(|| Some(String::new()), |_| inner(other))?;
        } else if let Some(other) = how.strip_prefix('+') {
            out += &value.map_or_else(|| Some(String::new()), |_| inner(other))?;
        } else {
            out.push_str(value.map_or("", String::as_str));
        }
        if out.len() > LONGEST {
            return None;
        }
        rest = left;
    }
    Some(out + rest)
}

/// Where the brace is that closes the one before the text; its end, if there is
/// none.
fn closing(text: &str) -> usize {
    let mut open = 1;
    for (at, c) in text.char_indices() {
        match c {
            '{' => open += 1,
            '}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return at;
        }
    }
    text.len()
}

/// The line of the instruction that an engine names as it begins with it;
/// variables in it may have been replaced. `at` tells those from each other
/// that say the same: the stage, if there are several, and which of its
/// instructions it is.
pub(super) fn line_of(text: &str, step: &str, at: Option<(Option<usize>, usize)>) -> Option<usize> {
    let step = plain(step);
    let all = instructions(text);
    let is_there = |i: &&&Instruction| {
        at.is_some_and(|(stage, number)| {
            number == i.number && stage.is_none_or(|stage| stage == i.stage)
        })
    };
    let same: Vec<_> = all.iter().filter(|i| i.text == step).collect();
    let same = same.iter().find(is_there).or(same.first()).copied();
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

    #[test]
    fn words_that_are_no_keywords_are_found() {
        let found = |text| unknown(text).map(|(line, word)| (line, keyword_like(&word)));
        assert_eq!(unknown(FILE), None);
        assert_eq!(
            found("FROM a\n\nrnu \\\n# x\n\n b\n"),
            Some((3, Some("RUN")))
        );
        assert_eq!(found("FROM a\n&& x\n"), Some((2, None)));
        assert_eq!(found("FROM a\nRUN 3<<E-F\nxyz\nE-F\nxyz\n"), None);
        assert_eq!(unknown("from a\r\nRun a \\\r\n  && b\r\n"), None);
    }

    const FILE: &str = "# syntax=docker/dockerfile:1\nARG VERSION=1\n\
        FROM --platform=linux/amd64 base:${VERSION} AS build\n\
        RUN a \\\n  # why\n  && b\n\
        COPY <<EOF /x\nFROM nothing\nEOF\n\
        FROM build as last\nCOPY --from=tools:2 /a /b\nCOPY --from=0 /c /d\n\
        RUN   exit  3\n";

    #[test]
    fn images_are_found() {
        let none = BTreeMap::new();
        assert_eq!(images(FILE, &none).unwrap(), ["base:1", "tools:2"]);
        let args = BTreeMap::from([("VERSION".to_owned(), "7".to_owned())]);
        assert_eq!(images(FILE, &args).unwrap()[0], "base:7");
        assert!(images("FROM scratch\n", &none).unwrap().is_empty());
        assert_eq!(images("FROM ${X:-y}", &none).unwrap(), ["y"]);
    }

    #[test]
    fn names_of_images_are_put_together() {
        let set = BTreeMap::from([("SET".to_owned(), "1".to_owned())]);
        let found = |text: &str| images(text, &set).unwrap();
        let arg = "ARG SET\nARG EMPTY=\nARG UNSET\nARG MADE=\"x:${SET}\"\n";
        for (from, image) in [
            ("$MADE", "x:1"),
            ("a${EMPTY:-b}${EMPTY-c}${UNSET-d}", "abd"),
            ("a${SET:+b}${EMPTY+c}${EMPTY:+d}${UNSET+e}", "abc"),
            ("${UNSET:-${SET:+y}}:2", "y:2"),
            ("x${UNSET", "x"),
        ] {
            assert_eq!(found(&format!("{arg}FROM {from}\n")), [image]);
        }
        assert!(found("FROM a-$TARGETOS\n")[0].ends_with("-linux"));
        assert_eq!(found("\u{feff}FROM a\n"), ["a"]);
    }

    #[test]
    fn what_would_take_all_memory_is_an_error() {
        let none = BTreeMap::new();
        let nested = |depth| format!("FROM {}b{}\n", "${a:-".repeat(depth), "}".repeat(depth));
        assert_eq!(images(&nested(20), &none).unwrap(), ["b"]);
        assert!(
            images(&nested(20_000), &none)
                .unwrap_err()
                .contains("line 1")
        );
        let doubled = |n| format!("ARG a{n}=$a{0}$a{0}\n", n - 1);
        let bomb: String = (1..60).map(doubled).collect();
        assert!(images(&format!("ARG a0=xx\n{bomb}"), &none).is_err());
        let many = "ARG b=$a\n".repeat(20_000);
        let text = format!("ARG a={}\n{many}", "x".repeat(1000));
        assert!(images(&text, &none).unwrap_err().contains("together"));
    }

    #[test]
    fn all_options_of_an_instruction_count_and_no_words_of_its_command() {
        let text = "FROM a\nRUN --mount=from=b,target=/b --mount=type=bind,from=c,target=/c \\\n  \
            tool --from=d\nCOPY --chown=1 --from=e /x --from=f\n";
        assert_eq!(
            images(text, &BTreeMap::new()).unwrap(),
            ["a", "b", "c", "e"]
        );
    }

    #[test]
    fn one_of_the_same_instructions_is_told_from_the_others() {
        let text = "ARG X\nFROM a AS one\nRUN x\nUSER y\nRUN x\nFROM b\nRUN x\n";
        let line = |at| line_of(text, "RUN x", at);
        assert_eq!(line(None), Some(3));
        assert_eq!(line(Some((Some(1), 4))), Some(5));
        assert_eq!(line(Some((Some(2), 2))), Some(7));
        assert_eq!(line(Some((None, 4))), Some(5));
        // What the engine counts may be something else.
        assert_eq!(line(Some((None, 9))), Some(3));
    }

    #[test]
    fn lines_are_found() {
        assert_eq!(line_of(FILE, "RUN a && b", None), Some(4));
        assert_eq!(line_of(FILE, "RUN exit 3", None), Some(13));
        assert_eq!(line_of(FILE, "RUN other", None), None);
        assert_eq!(line_of(FILE, "COPY --from=0 /c /d", None), Some(12));
        // The only one of its kind, with its variables replaced.
        assert_eq!(line_of("FROM $X\nRUN y", "FROM busybox", None), Some(1));
    }

    #[test]
    fn what_each_run_has_anyway_is_no_option() {
        let text = "FROM a\nRUN --mount=type=ssh \\\n  --security=insecure x --security=insecure\n\
            RUN echo --security=insecure\nrun --security=sandbox y\n";
        let expected = text.replacen("--security=insecure", &" ".repeat(19), 1);
        let expected = expected.replace("--security=sandbox", &" ".repeat(18));
        let given = without_security(text.as_bytes(), true).unwrap();
        assert_eq!(String::from_utf8(given).unwrap(), expected);
        assert_eq!(without_security(text.as_bytes(), false), Err(2));
        let sandbox = b"FROM \xff\nRUN --security=sandbox y\n";
        let given = without_security(sandbox, false).unwrap();
        assert_eq!(given, b"FROM \xff\nRUN                    y\n");
    }

    #[test]
    fn mounts_of_the_context_are_told_from_others() {
        for (run, is_one) in [
            ("--mount=type=bind,source=a,target=/a x", true),
            ("--network=none --mount=target=/a x", true),
            ("--mount=type=bind,from=b,target=/a x", false),
            ("--mount=type=cache,target=/a x", false),
            ("x --mount=type=bind", false),
        ] {
            assert_eq!(
                mounts_context(&format!("FROM a\nRUN {run}\n")),
                is_one,
                "{run}"
            );
        }
    }

    #[test]
    fn the_escape_can_be_another() {
        let text = "# escape=`\nFROM a\nRUN x `\n  y\nUSER z\n";
        assert_eq!(line_of(text, "RUN x y", None), Some(3));
        assert_eq!(line_of(text, "USER z", None), Some(5));
    }
}

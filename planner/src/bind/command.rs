//! `command` and `entrypoint`: a text is split into words as a shell would,
//! without running anything.

use super::{Bound, unfit};
use crate::diagnostic::{Problem, Report, codes};
use crate::tree::{Node, Path, Value};

/// A list of words; `None` when nothing is written. An empty text is an empty list.
pub(super) fn command(node: Node, path: &Path, report: &mut Report) -> Bound {
    let text = match &node.value {
        Value::Null => return Ok(None),
        Value::String(text) => text,
        _ => return Ok(Some(node.value)),
    };
    let words = match split(text) {
        Ok(words) => words,
        Err(reason) => {
            let message = format!("`{path}` cannot be split into words: {reason}");
            let mut problem = unfit(&node, codes::BAD_COMMAND, message);
            problem.help = Some("write a list: `[\"sh\", \"-c\", \"…\"]` runs a shell".to_owned());
            return Err(problem);
        }
    };
    if let Some(operator) = words.cut {
        let message = format!("`{path}` ends at `{operator}`: no shell runs it");
        let problem =
            Problem::warning(codes::CUT_COMMAND, message).on(&node, "the rest is dropped");
        report.push(problem.help("quote it, or write [\"sh\", \"-c\", \"…\"]"));
    }
    let items = words
        .list
        .into_iter()
        .map(|word| Node::string(word, node.span));
    Ok(Some(Value::Sequence(items.collect())))
}

#[derive(Debug)]
struct Words {
    list: Vec<String>,
    /// The operator the text was cut at.
    cut: Option<char>,
}

/// Splits at white space outside quotes. A backslash takes the next character
/// as it is (`t` and `n` are tab and line feed), except in single quotes.
fn split(text: &str) -> Result<Words, &'static str> {
    let mut words = Words {
        list: Vec::new(),
        cut: None,
    };
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut escaped = false;
    for c in text.chars() {
        if escaped {
            let c = match c {
                't' => '\t',
                'n' => '\n',
                c => c,
            };
            word.get_or_insert_default().push(c);
            escaped = false;
            continue;
        }
        match (c, quote) {
            ('\\', Some('\'')) => word.get_or_insert_default().push(c),
            ('\\', _) => escaped = true,
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, Some(open)) if c == open => quote = None,
            (c, Some(_)) => word.get_or_insert_default().push(c),
            (' ' | '\t' | '\r' | '\n', None) => words.list.extend(word.take()),
            (';' | '&' | '|' | '<' | '>', None) => {
                if c == '>'
                    && word
                        .as_ref()
                        .is_some_and(|word| word.starts_with(|c: char| c.is_ascii_digit()))
                {
                    word = None;
                }
                words.cut = Some(c);
                break;
            }
            ('(' | ')', None) => return Err("a parenthesis must be quoted"),
            (c, None) => word.get_or_insert_default().push(c),
        }
    }
    if escaped || quote.is_some() {
        return Err("a quote is not closed");
    }
    words.list.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn words() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            ("  sleep   infinity ", &["sleep", "infinity"]),
            (
                "sh -c 'echo \"a b\" \\n'",
                &["sh", "-c", "echo \"a b\" \\n"],
            ),
            (r#"a "b \" c" d\ e """#, &["a", "b \" c", "d e", ""]),
            ("echo $HOME #x", &["echo", "$HOME", "#x"]),
            ("a=b'c d'e", &["a=bc de"]),
        ];
        for (text, wanted) in cases {
            assert_eq!(split(text).unwrap().list, *wanted, "{text}");
        }
    }

    #[test]
    fn operators_end_the_command() {
        let words = split("echo a && rm b").unwrap();
        assert_eq!(
            (words.list, words.cut),
            (vec!["echo".to_owned(), "a".to_owned()], Some('&'))
        );
        assert_eq!(split("run 2>file").unwrap().list, ["run"]);
        assert!(split("echo $(date)").is_err());
        assert!(split("echo 'a").is_err());
    }
}

//! Text of a shell to commands and their words.

use super::ConvertError;

/// Stands for a dollar sign that the shell would leave alone.
pub(super) const DOLLAR: char = '\u{1}';

/// One command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Command {
    /// Line it starts on, counted from 1.
    pub(super) line: usize,
    /// Its words; `$` starts a variable, [`DOLLAR`] does not.
    pub(super) words: Vec<String>,
}

/// A text whose dollar signs are no variables.
pub(super) fn literal(text: &str) -> String {
    let plain = text.chars().filter(|c| *c != DOLLAR);
    plain.map(|c| if c == '$' { DOLLAR } else { c }).collect()
}

/// The commands of a text: lines, and what `;`, `&&`, `||`, `|` and `&`
/// separate. Comments and prompts are left out.
pub(super) fn split(text: &str) -> Result<Vec<Command>, ConvertError> {
    let text = text.replace("\r\n", "\n").replace(DOLLAR, "");
    let mut commands = Vec::new();
    for (line, part) in parts(&text) {
        let part = part.trim();
        let part = part.strip_prefix("$ ").unwrap_or(part);
        if part.is_empty() {
            continue;
        }
        let words = shell_words::split(part)
            .map_err(|_| ConvertError(format!("line {line}: a quote is not closed")))?;
        if !words.is_empty() {
            commands.push(Command { line, words });
        }
    }
    Ok(commands)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quote {
    None,
    Single,
    Double,
}

/// The text of each command and the line it starts on.
fn parts(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let (mut line, mut start) = (1, 1);
    let mut part = String::new();
    let mut quote = Quote::None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\n' {
            line += 1;
        }
        match (quote, c) {
            (Quote::Single, '\'') | (Quote::Double, '"') => {
                quote = Quote::None;
                part.push(c);
            }
            (Quote::Single, '$') => part.push(DOLLAR),
            (Quote::Single, _) => part.push(c),
            (_, '\\') => match chars.next() {
                Some('$') => part.push(DOLLAR),
                Some('\n') => {
                    line += 1;
                    part.push(' ');
                }
                Some(next) => part.extend(['\\', next]),
                None => {}
            },
            (Quote::Double, _) => part.push(c),
            (Quote::None, '\'') => {
                quote = Quote::Single;
                part.push(c);
            }
            (Quote::None, '"') => {
                quote = Quote::Double;
                part.push(c);
            }
            (Quote::None, '$') if chars.peek() == Some(&'(') => {
                part.push_str(&shell_words::quote(&substitution(&mut chars)));
            }
            (Quote::None, '#') if part.is_empty() || part.ends_with(char::is_whitespace) => {
                while chars.next_if(|c| *c != '\n').is_some() {}
            }
            (Quote::None, '\n' | ';' | '&' | '|') => {
                found.push((start, std::mem::take(&mut part)));
                start = line;
            }
            (Quote::None, _) => part.push(c),
        }
        if part.trim().is_empty() {
            start = line;
        }
    }
    found.push((start, part));
    found
}

/// `$(…)`, which is one word whatever is in it.
fn substitution(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> String {
    let mut out = String::from("$");
    let mut open = 0usize;
    for c in chars.by_ref() {
        out.push(c);
        match c {
            '(' => open += 1,
            ')' => open = open.saturating_sub(1),
            _ => {}
        }
        if open == 0 {
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Command, DOLLAR, split};

    fn words(text: &str) -> Vec<Vec<String>> {
        split(text)
            .unwrap()
            .into_iter()
            .map(|command| command.words)
            .collect()
    }

    #[test]
    fn commands_are_told_apart() {
        let text = "# first\n$ docker run \\\n  -e 'A=b c' \\\r\n  nginx # end\n\ndocker pull x && docker run \"a;b\" ; echo\n";
        let found = split(text).unwrap();
        assert_eq!(
            found[0],
            Command {
                line: 2,
                words: vec![
                    "docker".into(),
                    "run".into(),
                    "-e".into(),
                    "A=b c".into(),
                    "nginx".into()
                ]
            }
        );
        assert_eq!(found[1].line, 6);
        assert_eq!(found[2].words, ["docker", "run", "a;b"]);
        assert_eq!(found.len(), 4);
        assert!(split("docker run 'x").is_err());
    }

    #[test]
    fn dollars_are_variables_only_where_the_shell_says_so() {
        assert_eq!(
            words("a $X \"$Y\" '$Z' \\$W x#y"),
            [[
                "a",
                "$X",
                "$Y",
                &format!("{DOLLAR}Z"),
                &format!("{DOLLAR}W"),
                "x#y"
            ]]
        );
    }
}

//! Words of instructions as Docker reads them: quotes, backslashes and variables.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

/// Values by name.
pub(super) type Variables = BTreeMap<String, String>;

/// Words, parted by blanks. What a variable stands for is not parted.
pub(super) fn split(text: &str, env: &Variables) -> Result<Vec<String>, String> {
    let mut reader = Reader::new(text, env);
    let mut words = Vec::new();
    while let Some(c) = reader.rest.peek() {
        if c.is_whitespace() {
            reader.rest.next();
        } else {
            words.push(reader.word(char::is_whitespace)?);
        }
    }
    Ok(words)
}

/// All of it as one word.
pub(super) fn whole(text: &str, env: &Variables) -> Result<String, String> {
    Reader::new(text, env).word(|_| false)
}

struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
    env: &'a Variables,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str, env: &'a Variables) -> Reader<'a> {
        Reader {
            rest: text.chars().peekable(),
            env,
        }
    }

    /// A word; what ends it is left.
    fn word(&mut self, ends: fn(char) -> bool) -> Result<String, String> {
        let mut word = String::new();
        let mut quote = None;
        while let Some(&c) = self.rest.peek() {
            if quote.is_none() && ends(c) {
                break;
            }
            self.rest.next();
            match (quote, c) {
                (Some(open), c) if c == open => quote = None,
                (None | Some('"'), '\\') => {
                    let next = self.rest.next().ok_or("it ends with a backslash")?;
                    word.push(next);
                }
                (None | Some('"'), '$') => word.push_str(&self.variable()?),
                (None, '"' | '\'') => quote = Some(c),
                (None | Some(_), c) => word.push(c),
            }
        }
        match quote {
            Some(_) => Err("a quote is not closed".to_owned()),
            None => Ok(word),
        }
    }

    /// What comes after `$`.
    fn variable(&mut self) -> Result<String, String> {
        let braces = self.rest.next_if_eq(&'{').is_some();
        let name = self.name();
        let value = self.env.get(&name).cloned();
        if !braces {
            // A `$` alone is one.
            let alone = name.is_empty().then(|| "$".to_owned());
            return Ok(alone.or(value).unwrap_or_default());
        }
        if name.is_empty() {
            return Err("`${` has no name".to_owned());
        }
        let colon = self.rest.next_if_eq(&':').is_some();
        let value = value.filter(|value| !colon || !value.is_empty());
        let how = self.rest.next_if(|c| "-+?".contains(*c));
        let other = match how {
            Some(_) => self.word(|c| c == '}')?,
            None => String::new(),
        };
        if self.rest.next() != Some('}') || (colon && how.is_none()) {
            return Err(format!(
                "`${{{name}` is none of ${{N}}, ${{N:-x}}, ${{N:+x}} and ${{N:?x}}"
            ));
        }
        match how {
            Some('-') => Ok(value.unwrap_or(other)),
            Some('+') => Ok(value.map_or_else(String::new, |_| other)),
            Some(_) => value.ok_or_else(|| format!("{name} is not set: {other}")),
            None => Ok(value.unwrap_or_default()),
        }
    }

    /// A name, or digits, or nothing.
    fn name(&mut self) -> String {
        let mut name = String::new();
        let digits = self.rest.peek().is_some_and(char::is_ascii_digit);
        let is_of_it = |c: &char| match digits {
            true => c.is_ascii_digit(),
            false => c.is_ascii_alphanumeric() || *c == '_',
        };
        while let Some(c) = self.rest.next_if(is_of_it) {
            name.push(c);
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env() -> Variables {
        let pairs = [("A", "one two"), ("EMPTY", "")];
        pairs.map(|(n, v)| (n.to_owned(), v.to_owned())).into()
    }

    #[test]
    fn words_are_parted_before_variables_are_known() {
        let words = |text: &str| split(text, &env()).unwrap();
        assert_eq!(
            words(r#"a b="c d" '$A' "$A" $A"#),
            ["a", "b=c d", "$A", "one two", "one two"]
        );
        assert_eq!(words(r#"  x\ y "" \$A"#), ["x y", "", "$A"]);
    }

    #[test]
    fn a_variable_may_have_a_substitute() {
        for (text, wanted) in [
            ("$A", "one two"),
            ("x${A}y", "xone twoy"),
            ("$NONE.", "."),
            ("${NONE:-a b}", "a b"),
            ("${NONE-$A}", "one two"),
            ("${EMPTY:-x}${EMPTY-y}", "x"),
            ("${A:+x}${NONE:+y}${EMPTY+z}", "xz"),
            ("${NONE:-${EMPTY:-'}'}}", "}"),
            ("100$ $", "100$ $"),
        ] {
            assert_eq!(whole(text, &env()).as_deref(), Ok(wanted), "{text}");
        }
        for bad in [
            "${A",
            "${",
            "${}",
            "${A:x}",
            "${A%x}",
            "${NONE:?no}",
            "'a",
            "a\\",
        ] {
            assert!(whole(bad, &env()).is_err(), "{bad}");
        }
    }
}

//! The words of a command to flags, image and command.

use super::flags::{self, Flag};

/// A command line, taken apart.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    /// Known flags in their order, with their values.
    pub(super) flags: Vec<(&'static str, String)>,
    /// Words that are no flags and come after them: image and command.
    pub(super) rest: Vec<String>,
    /// Flags that nobody knows.
    pub(super) unknown: Vec<String>,
}

impl Arguments {
    /// Takes the words behind `run`. A flag that is not known is taken to have
    /// no value unless it is written with `=`.
    pub(super) fn new(words: &[String]) -> Self {
        let mut found = Self::default();
        let mut words = words.iter().peekable();
        while let Some(word) = words.next() {
            if word == "--" {
                found.rest.extend(words.cloned());
                break;
            }
            if let Some(name) = word.strip_prefix("--") {
                let (name, value) = match name.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (name, None),
                };
                match flags::long(name) {
                    Some(flag) => found.flag(flag, value, &mut words),
                    None => found.unknown.push(word.clone()),
                }
            } else if word.len() > 1 && word.starts_with('-') {
                found.letters(&word[1..], &mut words);
            } else {
                found.rest.push(word.clone());
                found.rest.extend(words.cloned());
                break;
            }
        }
        found
    }

    fn flag<'a>(
        &mut self,
        flag: Flag,
        value: Option<String>,
        words: &mut impl Iterator<Item = &'a String>,
    ) {
        let value = match (flag.value, value) {
            (true, Some(value)) => value,
            (true, None) => words.next().cloned().unwrap_or_default(),
            (false, Some(value)) => value,
            (false, None) => "true".to_owned(),
        };
        self.flags.push((flag.long, value));
    }

    /// `-it`, `-p80:80`, `-p=80:80`, `-dp 80:80`.
    fn letters<'a>(&mut self, text: &str, words: &mut impl Iterator<Item = &'a String>) {
        for (at, c) in text.char_indices() {
            let Some(flag) = flags::letter(c) else {
                self.unknown.push(format!("-{c}"));
                continue;
            };
            if !flag.value {
                self.flag(flag, None, words);
                continue;
            }
            let after = &text[at + c.len_utf8()..];
            let value =
                (!after.is_empty()).then(|| after.strip_prefix('=').unwrap_or(after).to_owned());
            return self.flag(flag, value, words);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Arguments;

    #[test]
    fn all_ways_to_write_a_flag() {
        let words = "-itd -p80:80 -p=81:81 -dp 82:82 --name x --env=A=b --privileged=false --new=1 --rm -- nginx -c x";
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        let found = Arguments::new(&words);
        let of = |name: &str| -> Vec<&str> {
            found
                .flags
                .iter()
                .filter(|(n, _)| *n == name)
                .map(|(_, v)| v.as_str())
                .collect()
        };
        assert_eq!(of("publish"), ["80:80", "81:81", "82:82"]);
        assert_eq!(
            (of("interactive"), of("detach")),
            (vec!["true"], vec!["true", "true"])
        );
        assert_eq!((of("env"), of("privileged")), (vec!["A=b"], vec!["false"]));
        assert_eq!(found.unknown, ["--new=1"]);
        assert_eq!(found.rest, ["nginx", "-c", "x"]);
    }
}

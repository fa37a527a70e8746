//! `stack.lock`: which digest every image reference of a stack stands for.
//!
//! One line per reference, sorted, so that two branches that add images merge
//! without conflicts:
//!
//! ```yaml
//! version: 1
//! images:
//!   nginx:1.27: sha256:3f1c…
//!   redis: sha256:91a2…
//! ```
//!
//! A digest is the one that the tag leads to: of the index when the image is
//! for several platforms, so that the same lock serves all of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::budget::Budget;
use crate::diagnostic::{Files, Position, Report};
use crate::tree::{Node, Value};
use crate::yaml;

/// Name of the file beside the stack file.
pub const LOCK_FILE: &str = "stack.lock";

const HEAD: &str = "# Made by `stack lock`; belongs into version control. `stack lock --update`\n\
                    # looks up what the tags lead to today.\n";

/// Digests by reference as written in the stack file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    /// `sha256:` and 64 hexadecimal digits, by reference.
    pub images: BTreeMap<String, String>,
}

/// How a stack and its lock differ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drift {
    /// References that the lock does not have, with their services.
    pub missing: BTreeMap<String, BTreeSet<String>>,
    /// References of the lock that no service has.
    pub unused: BTreeSet<String>,
}

impl Drift {
    /// There is no difference.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unused.is_empty()
    }
}

impl Lock {
    /// Reads the file.
    ///
    /// # Errors
    /// What is wrong with it, with the line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut files, mut report) = (Files::default(), Report::default());
        let path = std::path::Path::new(LOCK_FILE);
        let file = files.add(path, text.into());
        let documents = yaml::parse(text, file, &mut Budget::default(), &mut report);
        if let Some(first) = report
            .finish(&files)
            .into_iter()
            .find(|found| found.is_error())
        {
            let at = first.labels.first().map_or(0, |label| label.span.start);
            return Err(format!(
                "line {}: {}",
                Position::of(text, at).line,
                first.message
            ));
        }
        let Some([root]) = documents.as_deref() else {
            return Err("it is not one document".to_owned());
        };
        match root.get("version").and_then(Node::as_int) {
            Some(1) => {}
            Some(other) => return Err(format!("version {other} is not known here, only 1 is")),
            None => return Err("`version: 1` is missing".to_owned()),
        }
        let mut lock = Self::default();
        let entries = match root.get("images").map(|images| &images.value) {
            Some(Value::Mapping(entries)) => entries,
            None | Some(Value::Null) => return Ok(lock),
            Some(_) => return Err("`images` must be a mapping".to_owned()),
        };
        for (reference, node) in entries {
            let digest = node.as_str().unwrap_or_default();
            if !is_digest(digest) {
                let line = Position::of(text, node.value_place().start as usize).line;
                return Err(format!(
                    "line {line}: {reference} needs `sha256:` and 64 hexadecimal digits"
                ));
            }
            lock.images.insert(reference.clone(), digest.to_owned());
        }
        Ok(lock)
    }

    /// The file's text.
    pub fn to_text(&self) -> String {
        let mut out = format!("{HEAD}version: 1\nimages:");
        if self.images.is_empty() {
            out.push_str(" {}");
        }
        out.push('\n');
        for (reference, digest) in &self.images {
            // A reference is plain in YAML; what is not one is not resolved.
            out.push_str(&format!("  {reference}: {digest}\n"));
        }
        out
    }

    /// The lock without these references.
    #[must_use]
    pub fn without(mut self, references: &BTreeSet<String>) -> Lock {
        self.images
            .retain(|reference, _| !references.contains(reference));
        self
    }

    /// How the lock differs from what a stack needs.
    pub fn drift(&self, needed: &BTreeMap<String, BTreeSet<String>>) -> Drift {
        let missing = needed
            .iter()
            .filter(|(reference, _)| !self.images.contains_key(*reference));
        let unused = self
            .images
            .keys()
            .filter(|reference| !needed.contains_key(*reference));
        Drift {
            missing: missing.map(|(r, s)| (r.clone(), s.clone())).collect(),
            unused: unused.cloned().collect(),
        }
    }

    /// `reference@digest` by reference.
    pub fn pins(&self) -> BTreeMap<String, String> {
        let pin = |(reference, digest): (&String, &String)| {
            (reference.clone(), format!("{reference}@{digest}"))
        };
        self.images.iter().map(pin).collect()
    }
}

/// Is this `sha256:` and 64 hexadecimal digits?
fn is_digest(text: &str) -> bool {
    let hex = |b: u8| b.is_ascii_digit() || matches!(b, b'a'..=b'f');
    text.strip_prefix("sha256:")
        .is_some_and(|digits| digits.len() == 64 && digits.bytes().all(hex))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock() -> Lock {
        let digest = |n: &str| format!("sha256:{}", n.repeat(64));
        Lock {
            images: BTreeMap::from([
                ("redis".to_owned(), digest("a")),
                ("127.0.0.1:5000/x/nginx:1.27".to_owned(), digest("0")),
            ]),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for lock in [lock(), Lock::default()] {
            assert_eq!(Lock::parse(&lock.to_text()), Ok(lock));
        }
        let text = lock().to_text();
        let lines: Vec<&str> = text.lines().skip(4).collect();
        assert!(
            lines[0].starts_with("  127.0.0.1:5000/x/nginx:1.27: sha256:000"),
            "{text}"
        );
        assert!(lines[1].starts_with("  redis: sha256:aaa"), "{text}");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let error = |text: &str| Lock::parse(text).unwrap_err();
        assert!(error("").contains("document"));
        assert!(error("images: {}").contains("version"));
        assert!(error("version: 2").contains("only 1"));
        assert!(error("version: 1\nimages:\n  a: md5:0\n").contains("line 3: a needs"));
        let conflict = "version: 1\nimages:\n<<<<<<< one\n  a: sha256:0\n";
        assert!(error(conflict).starts_with("line "), "{}", error(conflict));
    }

    #[test]
    fn drift_goes_both_ways() {
        let service = BTreeSet::from(["web".to_owned()]);
        let needed = BTreeMap::from([
            ("redis".to_owned(), service.clone()),
            ("redis:8".to_owned(), service.clone()),
        ]);
        let drift = lock().drift(&needed);
        assert_eq!(
            drift.missing,
            BTreeMap::from([("redis:8".to_owned(), service)])
        );
        assert_eq!(
            drift.unused.iter().collect::<Vec<_>>(),
            ["127.0.0.1:5000/x/nginx:1.27"]
        );
        assert!(Lock::default().drift(&BTreeMap::new()).is_empty());
    }
}

//! One change of one attribute, as data.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::class::Class;

/// What is shown instead of a secret.
pub const HIDDEN: &str = "(hidden)";

/// A change of one attribute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// As the stack file calls it: `environment.DEBUG`, `ports[0]`. What was
    /// removed from a list has the index it had.
    pub attribute: String,
    /// The old value as the stack file would write it; `None`: there was
    /// none. [`HIDDEN`] stands for a secret.
    pub from: Option<String>,
    /// The new value; `None`: there is none any more.
    pub to: Option<String>,
    /// What it takes.
    pub class: Class,
    /// Where the new value is written, when that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The file, as it was given to the loader.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// Names of what changed, for one line: `image, environment.DEBUG changed`.
pub(super) fn names(changes: &[Change]) -> String {
    const MOST: usize = 3;
    let shown: Vec<&str> = changes
        .iter()
        .take(MOST)
        .map(|change| change.attribute.as_str())
        .collect();
    match changes.len().saturating_sub(MOST) {
        0 if shown.is_empty() => "only attributes without effect changed".to_owned(),
        0 => format!("{} changed", shown.join(", ")),
        more => format!("{} and {more} more changed", shown.join(", ")),
    }
}

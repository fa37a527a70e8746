//! What is wrong, where, and what to do about it.

pub mod catalog;
pub mod codes;
mod files;
mod lines;
mod place;
mod report;

use std::ops::Range;
use std::path::{Path, PathBuf};

pub use catalog::{CATALOG, Explanation, explain};
pub(crate) use files::Files;
pub(crate) use lines::Lines;
pub use place::Position;
pub(crate) use report::{Problem, Report};

/// One finding about the stack's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Stable code, e.g. `E0401`; see [`codes`].
    pub code: &'static str,
    /// Whether the stack can be used all the same.
    pub severity: Severity,
    /// One sentence without a full stop.
    pub message: String,
    /// Places, the most important first. Empty when no line is to blame.
    pub labels: Vec<Label>,
    /// What to do.
    pub help: Option<String>,
}

impl Diagnostic {
    /// The stack cannot be used.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// Does it point into this file?
    pub fn is_in(&self, file: &Path) -> bool {
        self.labels.iter().any(|label| label.file == file)
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Warning,
    /// The stack cannot be used.
    Error,
}

/// A place in a file and what to say about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The file, as it was given to the loader.
    pub file: PathBuf,
    /// Bytes in the file.
    pub span: Range<usize>,
    /// A few words; may be empty.
    pub text: String,
}

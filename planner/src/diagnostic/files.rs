//! The texts that were read, kept for showing lines of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Diagnostic;
use crate::tree::Span;

/// Files between a place and the command line that are named at most.
const MOST_STEPS: usize = 8;

/// All files read so far; a file's index is what spans name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Files {
    files: Vec<(PathBuf, Arc<str>)>,
    /// Who asked first for a file that the user did not name on the command line.
    asked: BTreeMap<u32, (Span, &'static str)>,
}

impl Files {
    /// Adds a file and returns its index. The same path with the same text is kept once.
    pub(crate) fn add(&mut self, path: &Path, text: Arc<str>) -> u32 {
        let known = self.files.iter().position(|(p, t)| p == path && *t == text);
        let index = known.unwrap_or_else(|| {
            self.files.push((path.to_path_buf(), text));
            self.files.len() - 1
        });
        u32::try_from(index).unwrap_or(u32::MAX)
    }

    /// Remembers that the text at `at` brought `file` in; `how` is said about it.
    pub(crate) fn brought_in(&mut self, file: u32, at: Span, how: &'static str) {
        if !at.is_none() && at.file != file {
            self.asked.entry(file).or_insert((at, how));
        }
    }

    /// The places that brought in the file of `span`, nearest first.
    pub(crate) fn way_to(&self, span: Span) -> impl Iterator<Item = (Span, &'static str)> {
        let mut file = span.file;
        let way = std::iter::from_fn(move || {
            let step = self.asked.get(&file).copied()?;
            file = step.0.file;
            Some(step)
        });
        way.take(MOST_STEPS)
    }

    pub(crate) fn path(&self, span: Span) -> Option<&Path> {
        self.files
            .get(span.file as usize)
            .map(|(path, _)| path.as_path())
    }

    pub(crate) fn index(&self, path: &Path) -> Option<u32> {
        let index = self.files.iter().position(|(p, _)| p == path)?;
        u32::try_from(index).ok()
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|(path, _)| path.as_path())
    }

    /// Findings in the order of their first places; those without one come first.
    pub(crate) fn sort(&self, found: &mut [Diagnostic]) {
        found.sort_by_key(|finding| {
            let label = finding.labels.first()?;
            let file = self.files.iter().position(|(path, _)| *path == label.file);
            Some((file, label.span.start, label.span.end))
        });
    }

    pub(crate) fn text_at(&self, span: Span) -> Option<&str> {
        self.files
            .get(span.file as usize)?
            .1
            .get(span.start as usize..span.end as usize)
    }

    /// The whole text of a file by its index.
    pub(crate) fn text_of(&self, file: u32) -> Option<&str> {
        self.files.get(file as usize).map(|(_, text)| &**text)
    }

    pub(crate) fn text(&self, path: &Path) -> Option<&str> {
        self.files
            .iter()
            .find(|(p, _)| p == path)
            .map(|(_, text)| &**text)
    }

    /// The narrowest span for `part` inside the scalar at `span`.
    pub(crate) fn narrow(&self, span: Span, part: &str) -> Span {
        let Some(offset) = self.text_at(span).and_then(|text| text.find(part)) else {
            return span;
        };
        let start = span.start + u32::try_from(offset).unwrap_or(0);
        let end = start + u32::try_from(part.len()).unwrap_or(0);
        if part.is_empty() {
            span
        } else {
            Span {
                file: span.file,
                start,
                end,
            }
        }
    }
}

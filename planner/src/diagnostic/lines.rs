//! Line numbers of places.

use std::collections::BTreeMap;
use std::path::Path;

use super::Files;
use crate::tree::Span;

/// Finds lines; each file is counted through once.
pub(crate) struct Lines<'a> {
    files: &'a Files,
    starts: BTreeMap<u32, Vec<usize>>,
}

impl Files {
    pub(crate) fn lines(&self) -> Lines<'_> {
        Lines {
            files: self,
            starts: BTreeMap::new(),
        }
    }
}

impl<'a> Lines<'a> {
    /// The file and the line, counted from 1, of a place in a file.
    pub(crate) fn place(&mut self, span: Span) -> Option<(&'a Path, usize)> {
        let path = self.files.path(span)?;
        let starts = match self.starts.entry(span.file) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let text = self.files.text_of(span.file)?;
                let after = text.match_indices('\n').map(|(at, _)| at + 1);
                entry.insert(std::iter::once(0).chain(after).collect())
            }
        };
        let line = starts.partition_point(|start| *start <= span.start as usize);
        Some((path, line))
    }
}

//! The way to a directory of an archive, along the symbolic links that the same
//! archive has, as if its root were `/`.

use std::collections::HashMap;

use super::LayerError;
use super::path::NAME_MAX;
use crate::erofs::{NodeId, ROOT, Tree};

/// As many symbolic links as the kernel follows in one path.
const LINKS: usize = 40;
/// Names on one way, those of links included.
const STEPS: usize = 4096;

/// Names that are still ahead.
pub(super) struct Way {
    /// The last one is next.
    ahead: Vec<Vec<u8>>,
    /// From the root down.
    dirs: Vec<NodeId>,
    links: usize,
    steps: usize,
}

impl Way {
    /// From the root.
    pub(super) fn new(names: &[&[u8]]) -> Way {
        Way {
            ahead: names.iter().rev().map(|name| name.to_vec()).collect(),
            dirs: vec![ROOT],
            links: 0,
            steps: 0,
        }
    }

    /// The directory that was reached.
    pub(super) fn here(&self) -> NodeId {
        self.dirs.last().copied().unwrap_or(ROOT)
    }

    /// The way goes on in this directory.
    pub(super) fn enter(&mut self, dir: NodeId) {
        self.dirs.push(dir);
    }

    /// The next name that is no link; what is there is to be entered. `links`: where
    /// symbolic links lead.
    ///
    /// # Errors
    /// There are too many links on the way, or one names what can have no name.
    pub(super) fn next(
        &mut self,
        tree: &Tree,
        links: &HashMap<NodeId, Vec<u8>>,
    ) -> Result<Option<Vec<u8>>, LayerError> {
        while let Some(name) = self.ahead.pop() {
            self.steps += 1;
            if name == b".." {
                // The root's parent is the root.
                if self.dirs.len() > 1 {
                    self.dirs.pop();
                }
                continue;
            }
            let there = tree.child(self.here(), &name);
            let Some(target) = there.and_then(|id| links.get(&id)) else {
                return Ok(Some(name));
            };
            self.links += 1;
            if self.links > LINKS || self.steps > STEPS {
                return Err(LayerError::bad(
                    "too many symbolic links on the way to a file",
                ));
            }
            if target.starts_with(b"/") {
                self.dirs.truncate(1);
            }
            for part in target.rsplit(|byte| *byte == b'/') {
                if part.len() > NAME_MAX {
                    return Err(LayerError::bad("a name too long in a symbolic link"));
                }
                if !part.is_empty() && part != b"." {
                    self.ahead.push(part.to_vec());
                }
            }
        }
        Ok(None)
    }
}

//! From an image's layers to the files that a VM gets.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::erofs::Reader;
use crate::implied::correct;
use crate::layer::LayerError;
use crate::merge::merge;
use crate::record::LayerFile;

/// Most files of an image: a VM has few slots for disks.
pub(crate) const MAX_FILES: usize = 8;

/// The layers of an image, lowest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stack {
    layers: Vec<Digest>,
}

/// What [`Stack::build`] made.
#[derive(Debug)]
pub(crate) struct Built {
    /// Lowest first.
    pub files: Vec<LayerFile>,
    /// Files whose content is in a merged file now.
    pub replaced: BTreeSet<LayerFile>,
}

impl Stack {
    /// The stack of these layers.
    ///
    /// A layer that comes twice counts once, as the upper one: what the
    /// lower one adds or hides, the upper one adds or hides again.
    pub(crate) fn new(diff_ids: &[Digest]) -> Stack {
        let mut layers: Vec<Digest> = Vec::new();
        for digest in diff_ids.iter().rev() {
            if !layers.contains(digest) {
                layers.push(digest.clone());
            }
        }
        layers.reverse();
        Stack { layers }
    }

    /// The chain id of all layers.
    pub(crate) fn id(&self) -> Digest {
        self.chain(self.layers.len())
    }

    // OCI image specification, config.md, "Layer ChainID".
    fn chain(&self, count: usize) -> Digest {
        let mut layers = self.layers[..count].iter();
        let first = layers.next().cloned().unwrap_or_else(|| Digest::of(b""));
        layers.fold(first, |chain, layer| {
            Digest::of(format!("{chain} {layer}").as_bytes())
        })
    }

    // How many of the lowest layers are one file: none when all fit, never
    // one alone.
    fn merged(&self, root: &Path) -> usize {
        let there = |count: usize| LayerFile::Chain(self.chain(count)).path(root).exists();
        let count = match self.layers.len().checked_sub(MAX_FILES) {
            None => return 0,
            Some(0) => 0,
            Some(over) => over + 1,
        };
        // One more, when that made room for the file of directories before.
        let more = one_more(count);
        if !(count > 0 && there(count)) && there(more) {
            more
        } else {
            count
        }
    }

    /// Layers that must be in the store before [`Stack::build`].
    pub(crate) fn needed(&self, root: &Path) -> Vec<Digest> {
        let count = self.merged(root);
        match count > 0 && LayerFile::Chain(self.chain(count)).path(root).exists() {
            true => self.layers[count..].to_vec(),
            false => self.layers.clone(),
        }
    }

    /// Merges what has to be merged and returns the files. Blocks.
    ///
    /// # Errors
    /// A layer is damaged, or the disk is full.
    pub(crate) fn build(&self, root: &Path) -> Result<Built, LayerError> {
        let tmp = root.join("tmp");
        let paths = |files: &[LayerFile]| -> Vec<PathBuf> {
            files.iter().map(|file| file.path(root)).collect()
        };
        let mut count = self.merged(root);
        let single = self.layers[count..].iter().cloned().map(LayerFile::Layer);
        let mut files: Vec<LayerFile> = single.collect();
        let parts = |count: usize| -> Vec<LayerFile> {
            self.layers[..count]
                .iter()
                .cloned()
                .map(LayerFile::Layer)
                .collect()
        };
        if count > 0 {
            let chain = LayerFile::Chain(self.chain(count));
            if !chain.path(root).exists() {
                merge(&paths(&parts(count)), &tmp, &chain.path(root))?;
            }
            files.insert(0, chain);
        }
        files = visible(files, root)?;
        let mut replaced = BTreeSet::new();
        let directories = LayerFile::Directories(self.id());
        if correct(&paths(&files), &tmp, &directories.path(root))? {
            if files.len() == MAX_FILES {
                // There are so many only when none was left out.
                count = one_more(count);
                let chain = LayerFile::Chain(self.chain(count));
                merge(&paths(&files[..2]), &tmp, &chain.path(root))?;
                replaced.extend(files.splice(..2, [chain]));
            }
            files.push(directories);
        }
        replaced.extend(parts(count));
        Ok(Built { files, replaced })
    }
}

// How many layers are one file when one file less is wanted.
fn one_more(merged: usize) -> usize {
    merged.max(1) + 1
}

// Leaves out layers with nothing in them, and those below a root directory
// that hides them: overlayfs does not look for that mark on a root.
fn visible(files: Vec<LayerFile>, root: &Path) -> Result<Vec<LayerFile>, LayerError> {
    let mut seen = Vec::new();
    for (n, file) in files.into_iter().enumerate().rev() {
        let reader = Reader::open(&file.path(root))?;
        let top = reader.root()?;
        let full = reader.inodes() > 1;
        // A root needs one layer at least.
        let last = top.opaque || n == 0;
        if full || (last && seen.is_empty()) {
            seen.push(file);
        }
        if last {
            break;
        }
    }
    seen.reverse();
    Ok(seen)
}

#[cfg(test)]
mod tests;

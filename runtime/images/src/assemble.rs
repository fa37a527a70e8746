//! From an image's layers to the files that a VM gets.

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
    /// Layers whose content is in a merged file now.
    pub merged: Vec<LayerFile>,
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
        let over = self.layers.len().saturating_sub(MAX_FILES);
        if over == 0 {
            return 0;
        }
        // One more than needed made room for the file of directories.
        let there = |count: &usize| LayerFile::Chain(self.chain(*count)).path(root).exists();
        let count = over + 1;
        [count, count + 1].into_iter().find(there).unwrap_or(count)
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
        let directories = LayerFile::Directories(self.id());
        if correct(&paths(&files), &tmp, &directories.path(root))? {
            if files.len() == MAX_FILES {
                // There are so many only when none was left out.
                count = count.max(1) + 1;
                let chain = LayerFile::Chain(self.chain(count));
                merge(&paths(&files[..2]), &tmp, &chain.path(root))?;
                files.splice(..2, [chain]);
            }
            files.push(directories);
        }
        Ok(Built {
            files,
            merged: parts(count),
        })
    }
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

//! From an image's layers to the files that a VM gets.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::erofs::Reader;
use crate::implied::correct;
use crate::layer::LayerError;
use crate::merge::{Part, merge};
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
    /// Files that nothing can be seen of.
    pub hidden: Vec<LayerFile>,
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
        let there = |count: usize| self.is_merged(count, root);
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

    // Are the lowest layers there as one file that each can be made from?
    fn is_merged(&self, count: usize, root: &Path) -> bool {
        let chain = self.chain(count);
        let recipe = |layer| LayerFile::recipe_in(root, &chain, layer).exists();
        self.layers[..count].iter().all(recipe)
            && LayerFile::Chain(chain.clone()).path(root).exists()
    }

    // The layer files below, as parts of the file of `count` layers.
    fn parts(&self, from: usize, count: usize, root: &Path) -> Vec<Part> {
        let chain = self.chain(count);
        let layer = |layer: &Digest| Part {
            image: LayerFile::Layer(layer.clone()).path(root),
            recipes: vec![(
                LayerFile::recipe(root, layer),
                LayerFile::recipe_in(root, &chain, layer),
            )],
        };
        let mut parts = Vec::new();
        if from > 0 {
            let lower = self.chain(from);
            let recipes = self.layers[..from].iter().map(|layer| {
                (
                    LayerFile::recipe_in(root, &lower, layer),
                    LayerFile::recipe_in(root, &chain, layer),
                )
            });
            parts.push(Part {
                recipes: recipes.collect(),
                image: LayerFile::Chain(lower).path(root),
            });
        }
        parts.extend(self.layers[from..count].iter().map(layer));
        parts
    }

    /// Layers that must be in the store before [`Stack::build`].
    pub(crate) fn needed(&self, root: &Path) -> Vec<Digest> {
        let count = self.merged(root);
        match count > 0 && self.is_merged(count, root) {
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
        if count > 0 {
            let chain = LayerFile::Chain(self.chain(count));
            if !self.is_merged(count, root) {
                merge(&self.parts(0, count, root), &tmp, &chain.path(root))?;
            }
            files.insert(0, chain);
        }
        let all = files.clone();
        files = visible(files, root)?;
        let unseen = |file: &LayerFile| !files.contains(file);
        let hidden = all.into_iter().filter(unseen).collect();
        let mut replaced = BTreeSet::new();
        let directories = LayerFile::Directories(self.id());
        if correct(&paths(&files), &tmp, &directories.path(root))? {
            if files.len() == MAX_FILES {
                // There are so many only when none was left out.
                let before = count;
                count = one_more(count);
                let chain = LayerFile::Chain(self.chain(count));
                merge(&self.parts(before, count, root), &tmp, &chain.path(root))?;
                replaced.extend(files.splice(..2, [chain]));
            }
            files.push(directories);
        }
        replaced.extend(self.layers[..count].iter().cloned().map(LayerFile::Layer));
        Ok(Built {
            files,
            hidden,
            replaced,
        })
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

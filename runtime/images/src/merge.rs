//! Several layers as one image: the lowest ones of an image that has more
//! than a VM has slots for.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::erofs::{
    Content, Contents, Entry, Extent, Inode, Kind, NodeId, ROOT, Reader, Tree, finish,
};
use crate::layer::{LayerError, persist, temporary};
use crate::recipe::rebase;

/// Longest target of a symbolic link.
const MAX_LINK: u64 = 4096;

/// Most inodes of a merged image.
const MAX_INODES: u64 = 4_000_000;

const CHUNK: usize = 256 << 10;

/// A file to be merged.
#[derive(Debug)]
pub(crate) struct Part {
    /// The file.
    pub image: PathBuf,
    /// Ways to make archives again from it, and where they go as ways to
    /// make them from the merged file.
    pub recipes: Vec<(PathBuf, PathBuf)>,
}

/// Merges layers, lowest first, into an image that has nothing below it: no
/// whiteouts are left. Blocks until it is on disk.
///
/// # Errors
/// A layer in the store is damaged, or the disk is full.
pub(crate) fn merge(parts: &[Part], tmp: &Path, target: &Path) -> Result<(), LayerError> {
    let readers: Vec<Reader> = parts
        .iter()
        .map(|part| Reader::open(&part.image))
        .collect::<io::Result<_>>()?;
    if readers.iter().map(Reader::inodes).sum::<u64>() > MAX_INODES {
        return Err(LayerError::bad("too many files to merge its layers"));
    }
    let out = temporary(tmp)?;
    let mut tree = Tree::new();
    let mut sources = HashMap::new();
    for (layer, reader) in readers.iter().enumerate() {
        overlay(layer, reader, &mut tree, &mut sources)?;
    }
    let mut contents = Contents::new(out.as_file().try_clone()?, tmp)?;
    copy(&readers, &mut tree, &sources, &mut contents)?;
    let written = finish(&tree, contents)?;
    let moved: HashMap<(usize, u64), u64> = sources
        .iter()
        .filter(|(id, _)| tree.get(**id).is_some())
        .map(|(id, (layer, nid, _))| ((*layer, *nid), written.nid(*id)))
        .collect();
    for (layer, (part, reader)) in parts.iter().zip(&readers).enumerate() {
        for (from, to) in &part.recipes {
            let moved = |nid| moved.get(&(layer, nid)).copied();
            rebase(from, reader, moved, tmp, to)?;
        }
    }
    persist(out, target)
}

// Where the contents of a node are: layer, number of the inode, inode.
type Sources = HashMap<NodeId, (usize, u64, Inode)>;

fn overlay(
    layer: usize,
    reader: &Reader,
    tree: &mut Tree,
    sources: &mut Sources,
) -> Result<(), LayerError> {
    let root = reader.root()?;
    let mut known: HashMap<u64, NodeId> = HashMap::new();
    let mut seen = 1;
    enter(tree, ROOT, &root);
    let mut todo = vec![(ROOT, root)];
    while let Some((dir, inode)) = todo.pop() {
        for Entry { name, nid, .. } in reader.directory(&inode)? {
            // In a damaged image a directory may contain itself.
            seen += 1;
            if seen > MAX_INODES {
                return Err(LayerError::bad("a damaged layer in the store"));
            }
            let child = reader.inode(nid)?;
            if child.is_whiteout() {
                tree.remove(dir, &name);
                continue;
            }
            if child.kind == Kind::Directory {
                let there = tree
                    .child(dir, &name)
                    .filter(|id| tree.children(*id).is_some());
                let id = there.unwrap_or_else(|| {
                    let empty = Content::Directory(BTreeMap::new());
                    tree.place(dir, &name, child.attributes.clone(), empty)
                });
                enter(tree, id, &child);
                todo.push((id, child));
                continue;
            }
            // Further names of a file, unless its first one is gone.
            if child.links > 1
                && let Some(id) = known
                    .get(&nid)
                    .copied()
                    .filter(|id| tree.get(*id).is_some())
            {
                tree.link(dir, &name, id);
                continue;
            }
            let content = match child.kind {
                Kind::File => Content::File(Extent::default()),
                Kind::Symlink => Content::Symlink(Extent::default()),
                other => Content::Special(other, child.device),
            };
            let id = tree.place(dir, &name, child.attributes.clone(), content);
            known.insert(nid, id);
            sources.insert(id, (layer, nid, child));
        }
    }
    Ok(())
}

// A directory of an upper layer over what is there.
fn enter(tree: &mut Tree, id: NodeId, upper: &Inode) {
    if upper.opaque {
        tree.clear(id);
    }
    if let Some(node) = tree.get_mut(id)
        && !upper.attributes.is_implied()
    {
        node.attributes = upper.attributes.clone();
    }
}

// Contents of what is still there, in the order of the layers.
fn copy(
    readers: &[Reader],
    tree: &mut Tree,
    sources: &Sources,
    contents: &mut Contents,
) -> Result<(), LayerError> {
    let mut buffer = vec![0; CHUNK];
    for id in 0..tree.len() as NodeId {
        let Some((layer, _, inode)) = sources.get(&id) else {
            continue;
        };
        let Some(node) = tree.get_mut(id) else {
            continue;
        };
        let reader = &readers[*layer];
        let xattrs = node.attributes.xattrs.clone();
        match &mut node.content {
            Content::Symlink(extent) => {
                *extent = contents.store(&reader.read(inode, MAX_LINK)?, &xattrs)?;
            }
            Content::File(extent) => {
                let mut writer = contents.begin(inode.size, &xattrs)?;
                while writer.remaining() > 0 {
                    let at = inode.size - writer.remaining();
                    let data = reader.skip_hole(inode, at)?;
                    if data > at {
                        // A stranger's file may be a hole of many TiB.
                        writer.skip(data - at)?;
                        continue;
                    }
                    let len = reader.read_at(inode, at, &mut buffer)?;
                    writer.write_all(&buffer[..len])?;
                }
                *extent = writer.end()?;
            }
            Content::Directory(_) | Content::Special(..) => {}
        }
    }
    Ok(())
}

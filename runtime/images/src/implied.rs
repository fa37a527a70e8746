//! Directories that an archive implies but does not name.
//!
//! A layer may hold `a/b` without an entry for `a`. If a lower layer has the
//! directory, its owner, mode and time are meant; but overlayfs shows those
//! of the uppermost layer, where the directory had to be made up. So an
//! image whose layers do that gets one more file on top, with nothing but
//! directories as they should be. (Docker shows the made-up ones, containerd
//! and `umoci` the right ones.)

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::erofs::{
    Attributes, Content, Contents, Entry, Inode, Kind, NodeId, ROOT, Reader, Tree, finish,
};
use crate::layer::{LayerError, persist, temporary};

/// Writes the directories that the layers (lowest first) get wrong to
/// `target`; `false` when there are none. Blocks.
///
/// # Errors
/// A layer in the store is damaged, or the disk is full.
pub(crate) fn correct(layers: &[PathBuf], tmp: &Path, target: &Path) -> Result<bool, LayerError> {
    if layers.len() < 2 {
        return Ok(false);
    }
    let mut readers = Vec::new();
    for path in layers.iter().rev() {
        readers.push(Reader::open(path)?);
    }
    let tree = compare(&readers)?;
    if tree.len() == 1 {
        return Ok(false);
    }
    if !target.exists() {
        let out = temporary(tmp)?;
        let contents = Contents::new(out.as_file().try_clone()?, tmp)?;
        finish(&tree, contents)?;
        persist(out, target)?;
    }
    Ok(true)
}

// One directory as several layers have it, uppermost first.
struct Merged<'a> {
    parts: Vec<(&'a Reader, Inode)>,
    // Names from the root, with the attributes that each should have.
    path: Vec<(Vec<u8>, Attributes)>,
}

fn compare(readers: &[Reader]) -> Result<Tree, LayerError> {
    let mut tree = Tree::new();
    let roots: io::Result<Vec<_>> = readers.iter().map(|r| Ok((r, r.root()?))).collect();
    let mut todo = vec![Merged {
        parts: roots?,
        path: Vec::new(),
    }];
    // Each directory of each layer is entered once.
    let mut left: u64 = readers.iter().map(Reader::inodes).sum();
    while let Some(dir) = todo.pop() {
        left = left
            .checked_sub(1)
            .ok_or_else(|| LayerError::bad("a damaged layer in the store"))?;
        let mut lists = Vec::new();
        for (reader, inode) in &dir.parts {
            lists.push((*reader, reader.directory(inode)?));
        }
        // What only the lowest one has is right as it is.
        let names: BTreeMap<&[u8], ()> = lists[..lists.len() - 1]
            .iter()
            .flat_map(|(_, list)| list.iter().filter(|entry| entry.is_directory))
            .map(|entry| (&entry.name[..], ()))
            .collect();
        for name in names.into_keys() {
            let parts = merged(&lists, name)?;
            if parts.len() < 2 {
                continue;
            }
            let shown = &parts[0].1.attributes;
            let mut named = parts.iter().map(|(_, inode)| &inode.attributes);
            let right = named.find(|attributes| !attributes.is_implied());
            let right = right.unwrap_or(shown).clone();
            let wrong = right != *shown;
            let mut path = dir.path.clone();
            path.push((name.to_vec(), right));
            if wrong {
                place(&mut tree, &path);
            }
            todo.push(Merged { parts, path });
        }
    }
    Ok(tree)
}

// The layers that make up a directory: none below a mark that hides them.
fn merged<'a>(
    lists: &[(&'a Reader, Vec<Entry>)],
    name: &[u8],
) -> io::Result<Vec<(&'a Reader, Inode)>> {
    let mut parts = Vec::new();
    for (reader, list) in lists {
        let Ok(at) = list.binary_search_by(|entry| entry.name[..].cmp(name)) else {
            continue;
        };
        let inode = reader.inode(list[at].nid)?;
        if inode.kind != Kind::Directory {
            break;
        }
        let last = inode.opaque;
        parts.push((*reader, inode));
        if last {
            break;
        }
    }
    Ok(parts)
}

fn place(tree: &mut Tree, path: &[(Vec<u8>, Attributes)]) {
    let mut dir: NodeId = ROOT;
    for (name, attributes) in path {
        dir = tree.child(dir, name).unwrap_or_else(|| {
            let empty = Content::Directory(BTreeMap::new());
            tree.place(dir, name, attributes.clone(), empty)
        });
    }
}

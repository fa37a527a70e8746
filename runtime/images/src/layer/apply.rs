//! Puts the entries of an archive into a tree.

use std::collections::HashMap;
use std::io::Read;

use super::entry::{Entry, What};
use super::path::{self, Place, shown};
use super::sparse::{self, Map};
use super::tarball::{Tarball, copy};
use super::way::Way;
use super::{LayerError, Limits};
use crate::erofs::{Attributes, Content, Contents, NodeId, ROOT, Tree};
use crate::recipe::Notes;

/// Reads a whole archive.
///
/// Rules where archives disagree with file systems: the last entry of a name
/// counts; a directory over a directory keeps its children; a path below a
/// symbolic link of the same archive is where that leads, within the root; one below
/// anything else that is no directory replaces that by one. Links of lower layers are
/// not known here and hidden by the directory, as with Docker's and containerd's
/// overlays.
///
/// Gives the notes about the archive.
///
/// # Errors
/// The archive is broken, hostile or beyond a limit.
pub(super) fn apply<R: Read>(
    source: R,
    limits: &Limits,
    tree: &mut Tree,
    contents: &mut Contents,
    notes: Notes,
) -> Result<Notes, LayerError> {
    let mut archive = Tarball::new(source, limits, notes);
    let mut layer = Layer {
        tree,
        contents,
        limits,
        links: HashMap::new(),
        memory: 0,
        logical: 0,
    };
    while let Some((entry, map)) = archive.next()? {
        layer.entry(entry, map.as_ref(), &mut archive)?;
    }
    archive.drain()
}

struct Layer<'a> {
    tree: &'a mut Tree,
    contents: &'a mut Contents,
    limits: &'a Limits,
    // Where symbolic links lead. A node's number is never used again.
    links: HashMap<NodeId, Vec<u8>>,
    // Bytes of names and attributes that were ever kept.
    memory: u64,
    // Bytes of files as they seem, holes included.
    logical: u64,
}

impl Layer<'_> {
    fn entry<R: Read>(
        &mut self,
        entry: Entry,
        map: Option<&Map>,
        archive: &mut Tarball<R>,
    ) -> Result<(), LayerError> {
        let Entry {
            path,
            what,
            attributes,
            stored,
        } = entry;
        self.remember(path.len() + attributes.xattrs.entries().len())?;
        let (parents, name) = match path::place(&path)? {
            Place::Name(parents, name) => (parents, name),
            Place::Root => {
                if what == What::Directory {
                    self.set(ROOT, attributes);
                }
                return self.leave_out(stored, archive);
            }
            Place::Whiteout(parents, name) => {
                let dir = self.directory(&parents)?;
                self.whiteout(dir, name);
                return self.leave_out(stored, archive);
            }
            Place::Opaque(parents) => {
                let dir = self.directory(&parents)?;
                self.make_opaque(dir);
                return self.leave_out(stored, archive);
            }
            Place::Ignored => return self.leave_out(stored, archive),
        };
        let mut leads = None;
        let content = match what {
            What::Unknown => return self.leave_out(stored, archive),
            What::Directory => {
                let dir = self.directory(&parents)?;
                let id = self.subdirectory(dir, name)?;
                self.set(id, attributes);
                return Ok(());
            }
            What::HardLink(target) => {
                let id = self.target(&path, &target)?;
                let dir = self.directory(&parents)?;
                // Making the directory may have removed the target.
                if self.tree.get(id).is_none() {
                    return Err(LayerError::bad(format!(
                        "{} links into itself",
                        shown(&path)
                    )));
                }
                self.tree.link(dir, name, id);
                return Ok(());
            }
            What::Special(kind, device) => Content::Special(kind, device),
            What::Symlink(target) => {
                self.remember(target.len())?;
                let stored = self.contents.store(&target, &attributes.xattrs)?;
                leads = Some(target);
                Content::Symlink(stored)
            }
            What::File => {
                let size = map.map_or(stored, |map| map.size);
                self.logical = self.logical.saturating_add(size);
                if self.logical > self.limits.logical {
                    return Err(LayerError::bad(format!(
                        "{}: files of more than {} GiB",
                        shown(&path),
                        self.limits.logical >> 30
                    )));
                }
                let feed = archive.feed();
                feed.notes.in_file = true;
                let extent = match map {
                    Some(map) => sparse::store(map, feed, self.contents, &attributes.xattrs)?,
                    None => {
                        let mut writer = self.contents.begin(stored, &attributes.xattrs)?;
                        copy(feed, stored, &mut writer)?;
                        writer.end()?
                    }
                };
                feed.notes.in_file = false;
                Content::File(extent)
            }
        };
        let extent = match &content {
            Content::File(extent) => Some(*extent),
            Content::Directory(_) | Content::Symlink(_) | Content::Special(..) => None,
        };
        let dir = self.directory(&parents)?;
        let id = self.tree.place(dir, name, attributes, content);
        if let Some(target) = leads {
            self.links.insert(id, target);
        }
        let Some(extent) = extent else {
            return Ok(());
        };
        let notes = &mut archive.feed().notes;
        match map {
            None => notes.part(id, &extent, 0, stored)?,
            Some(map) => {
                for region in &map.regions {
                    notes.part(id, &extent, region.offset, region.length)?;
                }
            }
        }
        Ok(())
    }

    fn leave_out<R: Read>(
        &mut self,
        stored: u64,
        archive: &mut Tarball<R>,
    ) -> Result<(), LayerError> {
        copy(archive.feed(), stored, &mut std::io::sink())
    }

    fn remember(&mut self, bytes: usize) -> Result<(), LayerError> {
        self.memory += bytes as u64;
        if self.memory > self.limits.memory {
            return Err(LayerError::bad("too many bytes of names and attributes"));
        }
        Ok(())
    }

    fn set(&mut self, id: NodeId, attributes: Attributes) {
        if let Some(node) = self.tree.get_mut(id) {
            node.attributes = attributes;
        }
    }

    fn make_opaque(&mut self, id: NodeId) {
        if let Some(node) = self.tree.get_mut(id) {
            node.opaque = true;
        }
    }

    // The directory of these names, made as far as it is missing.
    fn directory(&mut self, names: &[&[u8]]) -> Result<NodeId, LayerError> {
        let mut way = Way::new(names);
        while let Some(name) = way.next(self.tree, &self.links)? {
            let dir = self.subdirectory(way.here(), &name)?;
            way.enter(dir);
        }
        Ok(way.here())
    }

    fn subdirectory(&mut self, dir: NodeId, name: &[u8]) -> Result<NodeId, LayerError> {
        let there = self
            .tree
            .child(dir, name)
            .and_then(|id| Some((id, self.tree.get(id)?)));
        let mut hides = false;
        if let Some((id, node)) = there {
            if matches!(node.content, Content::Directory(_)) {
                return Ok(id);
            }
            // A whiteout of the layer itself: what was below stays hidden.
            hides = node.content.is_whiteout();
        }
        if self.tree.len() as u64 >= self.limits.entries {
            return Err(LayerError::bad(format!(
                "more than {} files",
                self.limits.entries
            )));
        }
        let attributes = match hides {
            true => Attributes {
                mode: 0o755,
                ..Attributes::default()
            },
            false => Attributes::implied(),
        };
        let id = self.tree.place(
            dir,
            name,
            attributes,
            Content::Directory(Default::default()),
        );
        if hides {
            self.make_opaque(id);
        }
        Ok(id)
    }

    // Whiteouts are about lower layers: what this layer has stays.
    fn whiteout(&mut self, dir: NodeId, name: &[u8]) {
        match self.tree.child(dir, name) {
            None => {
                self.tree
                    .place(dir, name, Attributes::default(), Content::WHITEOUT);
            }
            Some(id) if self.tree.children(id).is_some() => self.make_opaque(id),
            Some(_) => {}
        }
    }

    // What a hard link leads to.
    fn target(&self, path: &[u8], target: &[u8]) -> Result<NodeId, LayerError> {
        let refuse = |why: &str| {
            let (path, target) = (shown(path), shown(target));
            LayerError::bad(format!("hard link {path} to {target}: {why}"))
        };
        let mut names = path::components(target).map_err(|_| refuse("it leads out of the root"))?;
        let last = names.pop();
        let mut way = Way::new(&names);
        while let Some(name) = way.next(self.tree, &self.links)? {
            let dir = self.tree.child(way.here(), &name);
            way.enter(dir.ok_or_else(|| refuse("there is no such file"))?);
        }
        let id = match last {
            None => ROOT,
            Some(name) => self
                .tree
                .child(way.here(), name)
                .ok_or_else(|| refuse("there is no such file"))?,
        };
        let node = self
            .tree
            .get(id)
            .ok_or_else(|| refuse("there is no such file"))?;
        match &node.content {
            Content::Directory(_) => Err(refuse("that is a directory")),
            content if content.is_whiteout() => Err(refuse("there is no such file")),
            _ => Ok(id),
        }
    }
}

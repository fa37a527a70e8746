//! The tree in memory: names, attributes, and where contents are.

use std::collections::BTreeMap;

use super::data::Extent;
use super::format::{Kind, Xattrs};

/// A node of the tree, an inode to be.
pub(crate) type NodeId = u32;

/// The root directory.
pub(crate) const ROOT: NodeId = 0;

/// Everything about a file but its contents.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Attributes {
    /// Permission bits, 12 of them.
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    /// Seconds since the epoch.
    pub mtime: i64,
    pub mtime_nsec: u32,
    pub xattrs: Xattrs,
}

impl Attributes {
    // A time that no archive has marks them.
    const IMPLIED_NSEC: u32 = 1;

    /// Attributes of a directory that is implied by what it contains.
    pub(crate) fn implied() -> Attributes {
        Attributes {
            mode: 0o755,
            mtime_nsec: Attributes::IMPLIED_NSEC,
            ..Attributes::default()
        }
    }

    pub(crate) fn is_implied(&self) -> bool {
        *self == Attributes::implied()
    }
}

/// What a node is.
#[derive(Debug)]
pub(crate) enum Content {
    Directory(BTreeMap<Box<[u8]>, NodeId>),
    File(Extent),
    Symlink(Extent),
    /// Kind and encoded device number; pipes and sockets have 0.
    Special(Kind, u32),
}

impl Content {
    /// An overlayfs whiteout: the device 0:0.
    pub(crate) const WHITEOUT: Content = Content::Special(Kind::Char, 0);

    pub(crate) fn is_whiteout(&self) -> bool {
        matches!(self, Content::Special(Kind::Char, 0))
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Content::Directory(_) => Kind::Directory,
            Content::File(_) => Kind::File,
            Content::Symlink(_) => Kind::Symlink,
            Content::Special(kind, _) => *kind,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Node {
    pub attributes: Attributes,
    pub content: Content,
    /// Names that lead here.
    pub links: u32,
    /// Hides what lower layers have in this directory.
    pub opaque: bool,
}

/// A tree of files.
#[derive(Debug)]
pub(crate) struct Tree {
    // A node that lost its last name leaves a gap.
    nodes: Vec<Option<Node>>,
}

impl Tree {
    pub(crate) fn new() -> Tree {
        let attributes = Attributes {
            mode: 0o755,
            ..Attributes::default()
        };
        let content = Content::Directory(BTreeMap::new());
        Tree {
            nodes: vec![Some(Node {
                attributes,
                content,
                links: 1,
                opaque: false,
            })],
        }
    }

    /// A node that is in the tree.
    pub(crate) fn get(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.nodes.get_mut(id as usize)?.as_mut()
    }

    /// All nodes, in the order of their making.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        (0..)
            .zip(&self.nodes)
            .filter_map(|(id, node)| Some((id, node.as_ref()?)))
    }

    /// Nodes ever made.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn children(&self, dir: NodeId) -> Option<&BTreeMap<Box<[u8]>, NodeId>> {
        match &self.get(dir)?.content {
            Content::Directory(children) => Some(children),
            _ => None,
        }
    }

    pub(crate) fn child(&self, dir: NodeId, name: &[u8]) -> Option<NodeId> {
        self.children(dir)?.get(name).copied()
    }

    /// Puts a new node at a name; what had the name before is gone.
    pub(crate) fn place(
        &mut self,
        dir: NodeId,
        name: &[u8],
        attributes: Attributes,
        content: Content,
    ) -> NodeId {
        let id = self.nodes.len() as NodeId;
        self.nodes.push(Some(Node {
            attributes,
            content,
            links: 0,
            opaque: false,
        }));
        self.link(dir, name, id);
        id
    }

    /// Gives a node one more name.
    pub(crate) fn link(&mut self, dir: NodeId, name: &[u8], id: NodeId) {
        // Before the old one goes: it may be the same node.
        if let Some(node) = self.get_mut(id) {
            node.links += 1;
        }
        if let Some(Node {
            content: Content::Directory(children),
            ..
        }) = self.get_mut(dir)
            && let Some(old) = children.insert(name.into(), id)
        {
            self.unlink(old);
        }
    }

    /// Takes a name away.
    pub(crate) fn remove(&mut self, dir: NodeId, name: &[u8]) {
        if let Some(Node {
            content: Content::Directory(children),
            ..
        }) = self.get_mut(dir)
            && let Some(old) = children.remove(name)
        {
            self.unlink(old);
        }
    }

    /// Takes everything out of a directory.
    pub(crate) fn clear(&mut self, dir: NodeId) {
        if let Some(Node {
            content: Content::Directory(children),
            ..
        }) = self.get_mut(dir)
        {
            for (_, old) in std::mem::take(children) {
                self.unlink(old);
            }
        }
    }

    // Not recursive: depth is the archive's choice.
    fn unlink(&mut self, id: NodeId) {
        let mut gone = vec![id];
        while let Some(id) = gone.pop() {
            let Some(node) = self.get_mut(id) else {
                continue;
            };
            node.links -= 1;
            if node.links > 0 {
                continue;
            }
            if let Some(Node {
                content: Content::Directory(children),
                ..
            }) = self.nodes[id as usize].take()
            {
                gone.extend(children.into_values());
            }
        }
    }
}

//! The end of an image: directories, inodes and the super block.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

use super::data::{Contents, Extent};
use super::format::{
    BLOCK, DIRENT, INODE, Kind, Layout, RawInode, SLOT, SUPER_OFFSET, Super, Xattrs,
};
use super::tree::{Content, Node, NodeId, ROOT, Tree};

/// The attribute by which overlayfs knows an opaque directory.
pub(super) const OPAQUE: &[u8] = b"trusted.overlay.opaque";

/// Inode 0 would be taken for a deleted file by readers of directories.
const FIRST_SLOT: u64 = 2;

/// What an image became.
#[derive(Debug)]
pub(crate) struct Written {
    nids: Vec<u64>,
    /// Tails of all files, those that are in no directory any more included.
    pub spill: File,
}

impl Written {
    /// The number of a node's inode.
    pub(crate) fn nid(&self, id: NodeId) -> u64 {
        self.nids[id as usize]
    }
}

/// Writes what is missing behind the contents.
///
/// # Errors
/// Those of the file, or the image would be larger than EROFS can be.
pub(crate) fn finish(tree: &Tree, contents: Contents) -> io::Result<Written> {
    let (out, spill, first_block) = contents.finish()?;
    let mut plan = Plan::new(tree.len(), first_block);
    for (id, node) in tree.iter() {
        let parent = plan.parents.get(id as usize).copied().unwrap_or(ROOT);
        let xattrs = xattrs(node);
        let tail = match &node.content {
            Content::Directory(children) => {
                for child in children.values() {
                    if let Some(slot) = plan.parents.get_mut(*child as usize) {
                        *slot = id;
                    }
                }
                plan.directory(id, children, parent, &xattrs)
            }
            Content::File(extent) | Content::Symlink(extent) => extent.tail_len(),
            Content::Special(..) => 0,
        };
        plan.place(id, INODE + xattrs.disk_bytes() + tail);
    }
    let meta_block = plan.next_block;
    let blocks = u32::try_from(meta_block + plan.meta.blocks())
        .map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    out.set_len(u64::from(blocks) * BLOCK)?;

    directories(tree, &plan, &out, first_block)?;
    for (id, node) in tree.iter() {
        let bytes = inode(tree, &plan, id, node, &spill)?;
        out.write_all_at(&bytes, meta_block * BLOCK + plan.nid(id) * SLOT)?;
    }
    let root = plan.nid(ROOT) as u16;
    let inodes = tree.iter().count() as u64;
    let head = Super {
        inodes,
        blocks,
        meta_block: meta_block as u32,
        root,
    };
    out.write_all_at(&head.encode(), SUPER_OFFSET)?;
    Ok(Written {
        nids: plan.nids,
        spill,
    })
}

fn xattrs(node: &Node) -> Xattrs {
    let mut xattrs = node.attributes.xattrs.clone();
    if node.opaque {
        // A value of one byte is never too large.
        let _ = xattrs.push(OPAQUE, b"y");
    }
    xattrs
}

// Where everything goes.
struct Plan {
    // By node: number, parent (of directories), first block and size of the
    // entries (of directories), whether their end is behind the inode.
    nids: Vec<u64>,
    parents: Vec<NodeId>,
    dirs: BTreeMap<NodeId, Dir>,
    next_block: u64,
    meta: Meta,
}

#[derive(Clone, Copy)]
struct Dir {
    block: u64,
    size: u64,
    inline: bool,
}

impl Dir {
    fn blocks(&self) -> u64 {
        if self.inline {
            self.size / BLOCK
        } else {
            self.size.div_ceil(BLOCK)
        }
    }
}

impl Plan {
    fn new(nodes: usize, next_block: u64) -> Plan {
        Plan {
            nids: vec![0; nodes],
            parents: vec![ROOT; nodes],
            dirs: BTreeMap::new(),
            next_block,
            meta: Meta::new(),
        }
    }

    fn nid(&self, id: NodeId) -> u64 {
        self.nids[id as usize]
    }

    // Returns the bytes that go behind the inode.
    fn directory(
        &mut self,
        id: NodeId,
        children: &BTreeMap<Box<[u8]>, NodeId>,
        parent: NodeId,
        xattrs: &Xattrs,
    ) -> usize {
        let entries = sorted(children, id, parent);
        let mut size = 0;
        let mut last = 0;
        for block in in_blocks(&entries) {
            size += BLOCK;
            last = block.iter().map(|(name, _)| DIRENT + name.len()).sum();
        }
        size = size - BLOCK + last as u64;
        let tail = (size % BLOCK) as usize;
        let inline = tail > 0 && INODE + xattrs.disk_bytes() + tail <= BLOCK as usize;
        let dir = Dir {
            block: self.next_block,
            size,
            inline,
        };
        self.next_block += dir.blocks();
        self.dirs.insert(id, dir);
        if inline { tail } else { 0 }
    }

    fn place(&mut self, id: NodeId, bytes: usize) {
        self.nids[id as usize] = self.meta.place(bytes as u64);
    }
}

// Slots of the inode area. What stands behind an inode must not cross a
// block, so blocks have gaps, and later inodes that fit go there.
struct Meta {
    // Blocks by their free slots, all at their end.
    open: Vec<Vec<u64>>,
    blocks: u64,
}

const SLOTS: u64 = BLOCK / SLOT;

impl Meta {
    fn new() -> Meta {
        let mut open = vec![Vec::new(); SLOTS as usize + 1];
        open[(SLOTS - FIRST_SLOT) as usize].push(0);
        Meta { open, blocks: 1 }
    }

    // `fsck.erofs` reads a little behind every inode, so there is something
    // behind the last one.
    fn blocks(&self) -> u64 {
        let last = self.blocks - 1;
        let open = self.open.iter().any(|blocks| blocks.contains(&last));
        if open { self.blocks } else { self.blocks + 1 }
    }

    // Returns the first slot.
    fn place(&mut self, bytes: u64) -> u64 {
        let wanted = bytes.div_ceil(SLOT);
        if wanted > SLOTS {
            let first = self.blocks;
            self.blocks += wanted.div_ceil(SLOTS);
            self.reopen(self.blocks - 1, (SLOTS - wanted % SLOTS) % SLOTS);
            return first * SLOTS;
        }
        let fitting = self.open[wanted as usize..].iter_mut().zip(wanted..);
        let (block, free) = fitting
            .filter_map(|(blocks, free)| Some((blocks.pop()?, free)))
            .next()
            .unwrap_or_else(|| {
                self.blocks += 1;
                (self.blocks - 1, SLOTS)
            });
        self.reopen(block, free - wanted);
        block * SLOTS + SLOTS - free
    }

    fn reopen(&mut self, block: u64, free: u64) {
        // Two slots are the smallest inode.
        if free >= 2 {
            self.open[free as usize].push(block);
        }
    }
}

// All entries in byte order, as the kernel's binary search wants them.
fn sorted(
    children: &BTreeMap<Box<[u8]>, NodeId>,
    id: NodeId,
    parent: NodeId,
) -> Vec<(&[u8], NodeId)> {
    let mut entries: Vec<(&[u8], NodeId)> =
        children.iter().map(|(name, id)| (&name[..], *id)).collect();
    for (name, id) in [(&b"."[..], id), (&b".."[..], parent)] {
        let at = entries.partition_point(|(other, _)| *other < name);
        entries.insert(at, (name, id));
    }
    entries
}

fn in_blocks<'a, 'b>(
    mut entries: &'b [(&'a [u8], NodeId)],
) -> impl Iterator<Item = &'b [(&'a [u8], NodeId)]> {
    std::iter::from_fn(move || {
        let mut used = 0;
        let fits = |(name, _): &&(&[u8], NodeId)| {
            used += DIRENT + name.len();
            used <= BLOCK as usize
        };
        let count = entries.iter().take_while(fits).count();
        let (block, rest) = entries.split_at(count);
        entries = rest;
        (count > 0).then_some(block)
    })
}

fn encode_block(tree: &Tree, plan: &Plan, block: &[(&[u8], NodeId)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(BLOCK as usize);
    let mut name_at = DIRENT * block.len();
    for (name, id) in block {
        let kind = tree.get(*id).map_or(Kind::File, |node| node.content.kind());
        out.extend(plan.nid(*id).to_le_bytes());
        out.extend((name_at as u16).to_le_bytes());
        out.extend([kind.dirent(), 0]);
        name_at += name.len();
    }
    for (name, _) in block {
        out.extend_from_slice(name);
    }
    out
}

// Whole blocks of directories, in the order in which they were planned.
fn directories(tree: &Tree, plan: &Plan, out: &File, first_block: u64) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, out);
    out.seek(SeekFrom::Start(first_block * BLOCK))?;
    for (id, dir) in &plan.dirs {
        let Some(children) = tree.children(*id).filter(|_| dir.blocks() > 0) else {
            continue;
        };
        let entries = sorted(children, *id, plan.parents[*id as usize]);
        for block in in_blocks(&entries).take(dir.blocks() as usize) {
            let mut bytes = encode_block(tree, plan, block);
            bytes.resize(BLOCK as usize, 0);
            out.write_all(&bytes)?;
        }
    }
    out.flush()
}

// An inode with all that stands behind it.
fn inode(tree: &Tree, plan: &Plan, id: NodeId, node: &Node, spill: &File) -> io::Result<Vec<u8>> {
    let xattrs = xattrs(node);
    let (layout, size, place, tail) = match &node.content {
        Content::Directory(children) => {
            let dir = plan.dirs[&id];
            let entries = sorted(children, id, plan.parents[id as usize]);
            let last = in_blocks(&entries).last().filter(|_| dir.inline);
            let tail = last
                .map(|block| encode_block(tree, plan, block))
                .unwrap_or_default();
            let layout = if dir.inline {
                Layout::Inline
            } else {
                Layout::Plain
            };
            (layout, dir.size, dir.block as u32, tail)
        }
        Content::File(extent) | Content::Symlink(extent) => {
            let tail = read_tail(extent, spill)?;
            let layout = if extent.tail.is_some() {
                Layout::Inline
            } else {
                Layout::Plain
            };
            (layout, extent.size, extent.block, tail)
        }
        Content::Special(_, device) => (Layout::Plain, 0, *device, Vec::new()),
    };
    let subdirectories = |children: &BTreeMap<Box<[u8]>, NodeId>| {
        let is_dir = |id: &&NodeId| tree.children(**id).is_some();
        children.values().filter(is_dir).count() as u32
    };
    let raw = RawInode {
        layout,
        xattr_bytes: xattrs.disk_bytes(),
        mode: node.content.kind().bits() | node.attributes.mode,
        size,
        place,
        number: id + 1,
        uid: node.attributes.uid,
        gid: node.attributes.gid,
        mtime: node.attributes.mtime,
        mtime_nsec: node.attributes.mtime_nsec,
        links: match &node.content {
            Content::Directory(children) => 2 + subdirectories(children),
            _ => node.links,
        },
    };
    let mut out = raw.encode().to_vec();
    out.extend(xattrs.encode());
    out.extend(tail);
    Ok(out)
}

fn read_tail(extent: &Extent, spill: &File) -> io::Result<Vec<u8>> {
    let mut tail = vec![0; extent.tail_len()];
    if let Some(at) = extent.tail {
        spill.read_exact_at(&mut tail, at)?;
    }
    Ok(tail)
}

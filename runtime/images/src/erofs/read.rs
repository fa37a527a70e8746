//! Reads images that this module wrote. A file in the store may have been
//! damaged, so nothing in it is believed without a check.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::format::{
    BLOCK, DIRENT, INODE, Kind, Layout, RawInode, SLOT, SUPER, SUPER_OFFSET, Super, Xattrs, u16_at,
    u64_at,
};
use super::tree::Attributes;
use super::write::OPAQUE;

/// An open image.
#[derive(Debug)]
pub(crate) struct Reader {
    file: File,
    head: Super,
}

/// An inode of an image.
#[derive(Debug, Clone)]
pub(crate) struct Inode {
    pub kind: Kind,
    /// Without the mark of an opaque directory.
    pub attributes: Attributes,
    pub opaque: bool,
    /// Bytes.
    pub size: u64,
    /// Encoded device number of a special file.
    pub device: u32,
    pub links: u32,
    layout: Layout,
    block: u32,
    tail_at: u64,
}

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub name: Vec<u8>,
    /// Number of its inode.
    pub nid: u64,
    pub is_directory: bool,
}

impl Inode {
    /// Is this an overlayfs whiteout?
    pub(crate) fn is_whiteout(&self) -> bool {
        self.kind == Kind::Char && self.device == 0
    }

    /// Bytes that are not beside the inode.
    fn in_blocks(&self) -> u64 {
        match self.layout {
            Layout::Plain => self.size,
            Layout::Inline => self.size - self.size % BLOCK,
        }
    }
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("damaged image in the store: {what}"),
    )
}

impl Reader {
    /// Opens an image.
    ///
    /// # Errors
    /// Those of the file; `InvalidData` when it is not an image of ours.
    pub(crate) fn open(path: &Path) -> io::Result<Reader> {
        let file = File::open(path)?;
        let mut raw = [0; SUPER];
        file.read_exact_at(&mut raw, SUPER_OFFSET)?;
        let head = Super::decode(&raw).ok_or_else(|| damaged("super block"))?;
        if file.metadata()?.len() < u64::from(head.blocks) * BLOCK {
            return Err(damaged("it is cut off"));
        }
        Ok(Reader { file, head })
    }

    /// Inodes of the image.
    pub(crate) fn inodes(&self) -> u64 {
        self.head.inodes
    }

    /// The root directory.
    ///
    /// # Errors
    /// As [`Reader::inode`].
    pub(crate) fn root(&self) -> io::Result<Inode> {
        self.inode(u64::from(self.head.root))
    }

    /// An inode by number.
    ///
    /// # Errors
    /// Those of the file; `InvalidData` when there is none.
    pub(crate) fn inode(&self, nid: u64) -> io::Result<Inode> {
        let at = nid
            .checked_mul(SLOT)
            .and_then(|offset| offset.checked_add(u64::from(self.head.meta_block) * BLOCK))
            .ok_or_else(|| damaged("inode number"))?;
        let mut raw = [0; INODE];
        self.file.read_exact_at(&mut raw, at)?;
        let raw = RawInode::decode(&raw).ok_or_else(|| damaged("inode"))?;
        let kind = Kind::from_mode(raw.mode).ok_or_else(|| damaged("type"))?;
        let mut disk = vec![0; raw.xattr_bytes];
        self.file.read_exact_at(&mut disk, at + INODE as u64)?;
        let (opaque, xattrs) = without_mark(Xattrs::decode(&disk));
        Ok(Inode {
            kind,
            attributes: Attributes {
                mode: raw.mode & 0o7777,
                uid: raw.uid,
                gid: raw.gid,
                mtime: raw.mtime,
                mtime_nsec: raw.mtime_nsec,
                xattrs,
            },
            opaque,
            size: raw.size,
            device: raw.place,
            links: raw.links,
            layout: raw.layout,
            block: raw.place,
            tail_at: at + (INODE + raw.xattr_bytes) as u64,
        })
    }

    /// Fills the buffer from `at` on; returns how much there was.
    ///
    /// # Errors
    /// Those of the file.
    pub(crate) fn read_at(&self, inode: &Inode, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let tail = inode.in_blocks();
        let end = if at < tail { tail } else { inode.size };
        let len = end.saturating_sub(at).min(buffer.len() as u64) as usize;
        let place = if at < tail {
            u64::from(inode.block) * BLOCK + at
        } else {
            inode.tail_at + (at - tail)
        };
        self.file.read_exact_at(&mut buffer[..len], place)?;
        Ok(len)
    }

    /// Where from `at` on there may be something else than zeros: a hole of the file is
    /// one of the image. A file system that tells of none has none.
    ///
    /// # Errors
    /// Those of the file.
    pub(crate) fn skip_hole(&self, inode: &Inode, at: u64) -> io::Result<u64> {
        let in_blocks = inode.in_blocks();
        if at >= in_blocks {
            return Ok(at);
        }
        let start = u64::from(inode.block) * BLOCK;
        match rustix::fs::seek(&self.file, SeekFrom::Data(start + at)) {
            Ok(data) => Ok(data.saturating_sub(start).clamp(at, in_blocks)),
            // Only a hole is left.
            Err(Errno::NXIO) => Ok(in_blocks),
            Err(Errno::INVAL) => Ok(at),
            Err(error) => Err(error.into()),
        }
    }

    /// All of a short file, or the target of a link.
    ///
    /// # Errors
    /// Those of the file; `InvalidData` above `limit` bytes.
    pub(crate) fn read(&self, inode: &Inode, limit: u64) -> io::Result<Vec<u8>> {
        if inode.size > limit {
            return Err(damaged("size"));
        }
        let mut out = vec![0; inode.size as usize];
        let mut at = 0;
        while at < out.len() {
            at += self.read_at(inode, at as u64, &mut out[at..])?;
        }
        Ok(out)
    }

    /// The entries of a directory in byte order, without `.` and `..`.
    ///
    /// # Errors
    /// Those of the file; `InvalidData` when it is damaged.
    pub(crate) fn directory(&self, inode: &Inode) -> io::Result<Vec<Entry>> {
        if inode.kind != Kind::Directory {
            return Err(damaged("not a directory"));
        }
        let mut entries = Vec::new();
        let mut block = [0; BLOCK as usize];
        let mut at = 0;
        while at < inode.size {
            let len = self.read_at(inode, at, &mut block)?;
            parse_block(&block[..len], &mut entries).ok_or_else(|| damaged("directory"))?;
            at += BLOCK;
        }
        Ok(entries)
    }
}

fn parse_block(block: &[u8], entries: &mut Vec<Entry>) -> Option<()> {
    let name_at = |entry: usize| usize::from(u16_at(block, entry * DIRENT + 8));
    if block.len() < DIRENT {
        return None;
    }
    let count = name_at(0) / DIRENT;
    if count * DIRENT > block.len() {
        return None;
    }
    for entry in 0..count {
        let end = if entry + 1 < count {
            name_at(entry + 1)
        } else {
            block.len()
        };
        let name = block.get(name_at(entry)..end)?;
        let name = name
            .split(|byte| *byte == 0)
            .next()
            .filter(|name| !name.is_empty())?;
        if name != b"." && name != b".." {
            entries.push(Entry {
                name: name.to_vec(),
                nid: u64_at(block, entry * DIRENT),
                is_directory: block[entry * DIRENT + 10] == Kind::Directory.dirent(),
            });
        }
    }
    Some(())
}

fn without_mark(xattrs: Xattrs) -> (bool, Xattrs) {
    let mut rest = Xattrs::default();
    let mut opaque = false;
    for (name, value) in xattrs.iter() {
        if name == OPAQUE {
            opaque = true;
        } else {
            // It was there, so it fits.
            let _ = rest.push(&name, value);
        }
    }
    (opaque, if opaque { rest } else { xattrs })
}

//! The on-disk structures (Linux `fs/erofs/erofs_fs.h`). All little-endian.

/// Bytes of a block.
pub(crate) const BLOCK: u64 = 4096;

/// Inodes are numbered by their place, in units of this many bytes.
pub(super) const SLOT: u64 = 32;

/// Bytes of an extended inode, the kind with an mtime of its own.
pub(super) const INODE: usize = 64;

/// Bytes of a directory entry without its name.
pub(super) const DIRENT: usize = 12;

/// Where the super block is.
pub(super) const SUPER_OFFSET: u64 = 1024;

/// Bytes of the super block.
pub(super) const SUPER: usize = 128;

const MAGIC: u32 = 0xE0F5_E1E2;
const COMPAT_MTIME: u32 = 2;
const XATTR_HEADER: usize = 12;

/// Type bits of `st_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Fifo,
    Char,
    Directory,
    Block,
    File,
    Symlink,
    Socket,
}

impl Kind {
    const ALL: [Kind; 7] = [
        Kind::Fifo,
        Kind::Char,
        Kind::Directory,
        Kind::Block,
        Kind::File,
        Kind::Symlink,
        Kind::Socket,
    ];

    /// `S_IFMT` bits.
    pub(crate) fn bits(self) -> u16 {
        match self {
            Kind::Fifo => 0o010_000,
            Kind::Char => 0o020_000,
            Kind::Directory => 0o040_000,
            Kind::Block => 0o060_000,
            Kind::File => 0o100_000,
            Kind::Symlink => 0o120_000,
            Kind::Socket => 0o140_000,
        }
    }

    pub(super) fn from_mode(mode: u16) -> Option<Kind> {
        Kind::ALL
            .into_iter()
            .find(|kind| kind.bits() == mode & 0o170_000)
    }

    /// `EROFS_FT_*` of a directory entry.
    pub(super) fn dirent(self) -> u8 {
        match self {
            Kind::File => 1,
            Kind::Directory => 2,
            Kind::Char => 3,
            Kind::Block => 4,
            Kind::Fifo => 5,
            Kind::Socket => 6,
            Kind::Symlink => 7,
        }
    }
}

/// How contents are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// All in blocks.
    Plain = 0,
    /// The last, partial block follows the inode.
    Inline = 2,
}

/// What the super block says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Super {
    pub inodes: u64,
    pub blocks: u32,
    pub meta_block: u32,
    pub root: u16,
}

impl Super {
    pub(super) fn encode(&self) -> [u8; SUPER] {
        let mut out = [0; SUPER];
        put(&mut out, 0, &MAGIC.to_le_bytes());
        put(&mut out, 8, &COMPAT_MTIME.to_le_bytes());
        out[12] = BLOCK.trailing_zeros() as u8;
        put(&mut out, 14, &self.root.to_le_bytes());
        put(&mut out, 16, &self.inodes.to_le_bytes());
        put(&mut out, 36, &self.blocks.to_le_bytes());
        put(&mut out, 40, &self.meta_block.to_le_bytes());
        out
    }

    /// `None` for anything this module does not write.
    pub(super) fn decode(raw: &[u8; SUPER]) -> Option<Super> {
        let ours = u32_at(raw, 0) == MAGIC
            && raw[12] == BLOCK.trailing_zeros() as u8
            && u32_at(raw, 80) == 0;
        ours.then(|| Super {
            inodes: u64_at(raw, 16),
            blocks: u32_at(raw, 36),
            meta_block: u32_at(raw, 40),
            root: u16_at(raw, 14),
        })
    }
}

/// An extended inode.
#[derive(Debug, Clone, Copy)]
pub(super) struct RawInode {
    pub layout: Layout,
    pub xattr_bytes: usize,
    pub mode: u16,
    pub size: u64,
    /// First block of the contents, or the encoded device number.
    pub place: u32,
    pub number: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: i64,
    pub mtime_nsec: u32,
    pub links: u32,
}

impl RawInode {
    pub(super) fn encode(&self) -> [u8; INODE] {
        let mut out = [0; INODE];
        let format = 1 | (self.layout as u16) << 1;
        let icount = match self.xattr_bytes {
            0 => 0,
            bytes => ((bytes - XATTR_HEADER) / 4 + 1) as u16,
        };
        put(&mut out, 0, &format.to_le_bytes());
        put(&mut out, 2, &icount.to_le_bytes());
        put(&mut out, 4, &self.mode.to_le_bytes());
        put(&mut out, 8, &self.size.to_le_bytes());
        put(&mut out, 16, &self.place.to_le_bytes());
        put(&mut out, 20, &self.number.to_le_bytes());
        put(&mut out, 24, &self.uid.to_le_bytes());
        put(&mut out, 28, &self.gid.to_le_bytes());
        put(&mut out, 32, &self.mtime.to_le_bytes());
        put(&mut out, 40, &self.mtime_nsec.to_le_bytes());
        put(&mut out, 44, &self.links.to_le_bytes());
        out
    }

    /// `None` for anything this module does not write.
    pub(super) fn decode(raw: &[u8; INODE]) -> Option<RawInode> {
        let layout = match u16_at(raw, 0) {
            1 => Layout::Plain,
            5 => Layout::Inline,
            _ => return None,
        };
        let xattr_bytes = match u16_at(raw, 2) {
            0 => 0,
            count => XATTR_HEADER + 4 * (usize::from(count) - 1),
        };
        Some(RawInode {
            layout,
            xattr_bytes,
            mode: u16_at(raw, 4),
            size: u64_at(raw, 8),
            place: u32_at(raw, 16),
            number: u32_at(raw, 20),
            uid: u32_at(raw, 24),
            gid: u32_at(raw, 28),
            mtime: u64_at(raw, 32).cast_signed(),
            mtime_nsec: u32_at(raw, 40),
            links: u32_at(raw, 44),
        })
    }
}

/// Device number as the kernel's `new_encode_dev` packs it.
pub(crate) fn device(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major & 0xfff) << 8 | (minor & 0xf_ff00) << 12
}

/// Extended attributes of one inode, encoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Xattrs(Box<[u8]>);

/// Most bytes of one inode's attributes; Linux stops a single value there.
pub(crate) const MAX_XATTRS: usize = 64 << 10;

impl Xattrs {
    /// Adds an attribute and tells whether EROFS has a place for it: the
    /// names are `user.*`, `trusted.*`, `security.*` and POSIX ACLs. `None`
    /// when the sum gets too large.
    pub(crate) fn push(&mut self, name: &[u8], value: &[u8]) -> Option<bool> {
        let Some((index, suffix)) = split(name) else {
            return Some(false);
        };
        let (Ok(name_len), Ok(value_len)) =
            (u8::try_from(suffix.len()), u16::try_from(value.len()))
        else {
            return None;
        };
        let mut all = std::mem::take(&mut self.0).into_vec();
        all.extend([name_len, index]);
        all.extend(value_len.to_le_bytes());
        all.extend_from_slice(suffix);
        all.extend_from_slice(value);
        all.resize(all.len().next_multiple_of(4), 0);
        let fits = all.len() <= MAX_XATTRS;
        self.0 = all.into();
        fits.then_some(true)
    }

    /// Encoded entries.
    pub(crate) fn entries(&self) -> &[u8] {
        &self.0
    }

    /// Bytes behind the inode.
    pub(super) fn disk_bytes(&self) -> usize {
        if self.0.is_empty() {
            0
        } else {
            XATTR_HEADER + self.0.len()
        }
    }

    /// What stands behind the inode: header and entries.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.disk_bytes());
        if !self.0.is_empty() {
            out.resize(XATTR_HEADER, 0);
            out.extend_from_slice(&self.0);
        }
        out
    }

    pub(super) fn decode(disk: &[u8]) -> Xattrs {
        Xattrs(disk.get(XATTR_HEADER..).unwrap_or_default().into())
    }

    /// Full names and values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Vec<u8>, &[u8])> {
        let mut rest = &self.0[..];
        std::iter::from_fn(move || {
            let (head, after) = rest.split_at_checked(4)?;
            let name = after.get(..usize::from(head[0]))?;
            let end = name.len() + usize::from(u16_at(head, 2));
            let value = after.get(name.len()..end)?;
            rest = after.get(end.next_multiple_of(4)..).unwrap_or_default();
            let prefix = PREFIXES.iter().find(|(index, ..)| *index == head[1])?.1;
            Some(([prefix, name].concat(), value))
        })
    }
}

// Index, prefix, and whether the prefix is the whole name.
const PREFIXES: [(u8, &[u8], bool); 5] = [
    (1, b"user.", false),
    (2, b"system.posix_acl_access", true),
    (3, b"system.posix_acl_default", true),
    (4, b"trusted.", false),
    (6, b"security.", false),
];

fn split(name: &[u8]) -> Option<(u8, &[u8])> {
    PREFIXES.iter().find_map(|(index, prefix, whole)| {
        let suffix = name.strip_prefix(*prefix)?;
        (suffix.is_empty() == *whole).then_some((*index, suffix))
    })
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    out[at..at + bytes.len()].copy_from_slice(bytes);
}

pub(super) fn u16_at(raw: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([raw[at], raw[at + 1]])
}

fn u32_at(raw: &[u8], at: usize) -> u32 {
    u32::from(u16_at(raw, at)) | u32::from(u16_at(raw, at + 2)) << 16
}

pub(super) fn u64_at(raw: &[u8], at: usize) -> u64 {
    u64::from(u32_at(raw, at)) | u64::from(u32_at(raw, at + 4)) << 32
}

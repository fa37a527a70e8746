//! The FUSE kernel ABI, version 7 (Linux, `include/uapi/linux/fuse.h`):
//! little-endian, every structure as a sequence of numbers.

pub(crate) mod op;

/// Bytes of a request's header.
pub(crate) const HEADER: usize = 40;
/// Bytes of an answer's header.
pub(crate) const OUT_HEADER: usize = 16;
/// Bytes of `fuse_write_in`.
pub(crate) const WRITE_IN: usize = 40;

/// Minor version that is spoken.
pub(crate) const MINOR: u32 = 36;

/// `FUSE_INIT` flags.
pub(crate) mod init {
    pub(crate) const ASYNC_READ: u32 = 1 << 0;
    pub(crate) const POSIX_LOCKS: u32 = 1 << 1;
    pub(crate) const BIG_WRITES: u32 = 1 << 5;
    pub(crate) const FLOCK_LOCKS: u32 = 1 << 10;
    pub(crate) const AUTO_INVAL_DATA: u32 = 1 << 12;
    pub(crate) const DO_READDIRPLUS: u32 = 1 << 13;
    pub(crate) const READDIRPLUS_AUTO: u32 = 1 << 14;
    pub(crate) const PARALLEL_DIROPS: u32 = 1 << 18;
    pub(crate) const MAX_PAGES: u32 = 1 << 22;
    pub(crate) const HANDLE_KILLPRIV_V2: u32 = 1 << 28;
    pub(crate) const INIT_EXT: u32 = 1 << 30;
    /// Of the second word; our guest's kernel alone has it (`kernel/patches`):
    /// it asks less.
    pub(crate) const QUIET: u32 = 1 << 31;
}

/// `FUSE_SETATTR` valid bits.
pub(crate) mod setattr {
    pub(crate) const MODE: u32 = 1 << 0;
    pub(crate) const UID: u32 = 1 << 1;
    pub(crate) const GID: u32 = 1 << 2;
    pub(crate) const SIZE: u32 = 1 << 3;
    pub(crate) const ATIME: u32 = 1 << 4;
    pub(crate) const MTIME: u32 = 1 << 5;
    pub(crate) const ATIME_NOW: u32 = 1 << 7;
    pub(crate) const MTIME_NOW: u32 = 1 << 8;
    pub(crate) const KILL_SUIDGID: u32 = 1 << 11;
}

/// Flag of attributes that our guest's kernel alone knows: as long as they hold,
/// there is no `security.capability`.
const NO_CAPABILITY: u32 = 1 << 31;
/// `FOPEN_DIRECT_IO`.
pub(crate) const OPEN_DIRECT_IO: u32 = 1 << 0;
/// `FOPEN_KEEP_CACHE`.
pub(crate) const OPEN_KEEP_CACHE: u32 = 1 << 1;
/// `FOPEN_NOFLUSH`: nobody is told of close(2).
pub(crate) const OPEN_NOFLUSH: u32 = 1 << 5;
/// `FUSE_WRITE_KILL_SUIDGID`.
pub(crate) const WRITE_KILL_SUIDGID: u32 = 1 << 2;
/// `FUSE_RELEASE_FLOCK_UNLOCK`.
pub(crate) const RELEASE_FLOCK_UNLOCK: u32 = 1 << 1;
/// `FUSE_LK_FLOCK`.
pub(crate) const LOCK_FLOCK: u32 = 1;

/// A request's header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    pub(crate) opcode: u32,
    pub(crate) unique: u64,
    pub(crate) node: u64,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) pid: u32,
}

impl Header {
    /// `None`: it is too short.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Header> {
        if bytes.len() < HEADER {
            return None;
        }
        let mut args = Args(bytes);
        let (_length, opcode) = (args.u32().ok()?, args.u32().ok()?);
        Some(Header {
            opcode,
            unique: args.u64().ok()?,
            node: args.u64().ok()?,
            uid: args.u32().ok()?,
            gid: args.u32().ok()?,
            pid: args.u32().ok()?,
        })
    }
}

/// A request's arguments, taken one after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Args<'a>(pub(crate) &'a [u8]);

/// Result with an error number.
pub(crate) type Res<T> = Result<T, i32>;

impl<'a> Args<'a> {
    pub(crate) fn bytes(&mut self, length: usize) -> Res<&'a [u8]> {
        let (now, rest) = self.0.split_at_checked(length).ok_or(libc::EINVAL)?;
        self.0 = rest;
        Ok(now)
    }

    pub(crate) fn u32(&mut self) -> Res<u32> {
        let bytes = self.bytes(4)?.try_into().map_err(|_| libc::EINVAL)?;
        Ok(u32::from_le_bytes(bytes))
    }

    pub(crate) fn u64(&mut self) -> Res<u64> {
        let bytes = self.bytes(8)?.try_into().map_err(|_| libc::EINVAL)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Bytes up to a NUL, without it.
    pub(crate) fn string(&mut self) -> Res<&'a [u8]> {
        let end = self
            .0
            .iter()
            .position(|byte| *byte == 0)
            .ok_or(libc::EINVAL)?;
        let text = self.bytes(end)?;
        self.bytes(1)?;
        Ok(text)
    }

    /// A name in a directory: never a path, never a way up.
    pub(crate) fn name(&mut self) -> Res<&'a [u8]> {
        let name = self.string()?;
        check_name(name)?;
        Ok(name)
    }
}

/// A name in a directory.
pub(crate) fn check_name(name: &[u8]) -> Res<()> {
    match name {
        b"" | b"." | b".." => Err(libc::EINVAL),
        _ if name.contains(&b'/') || name.contains(&0) => Err(libc::EINVAL),
        _ if name.len() > 255 => Err(libc::ENAMETOOLONG),
        _ => Ok(()),
    }
}

/// An answer being written.
#[derive(Debug, Default)]
pub(crate) struct Out(pub(crate) Vec<u8>);

impl Out {
    pub(crate) fn u16(mut self, value: u16) -> Out {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(crate) fn u32(mut self, value: u32) -> Out {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(crate) fn u64(mut self, value: u64) -> Out {
        self.0.extend(value.to_le_bytes());
        self
    }

    /// `fuse_attr`.
    pub(crate) fn attr(self, attr: &Attr) -> Out {
        self.u64(attr.ino)
            .u64(attr.size)
            .u64(attr.blocks)
            .u64(attr.atime.0 as u64)
            .u64(attr.mtime.0 as u64)
            .u64(attr.ctime.0 as u64)
            .u32(attr.atime.1)
            .u32(attr.mtime.1)
            .u32(attr.ctime.1)
            .u32(attr.mode)
            .u32(attr.nlink)
            .u32(attr.uid)
            .u32(attr.gid)
            .u32(attr.rdev)
            .u32(4096)
            .u32(if attr.no_capability { NO_CAPABILITY } else { 0 })
    }

    /// `fuse_attr_out`.
    pub(crate) fn attr_out(self, attr: &Attr, cache_ms: u64) -> Out {
        self.u64(cache_ms / 1000)
            .u32((cache_ms % 1000 * 1_000_000) as u32)
            .u32(0)
            .attr(attr)
    }

    /// `fuse_entry_out`. Node 0: there is no such entry.
    pub(crate) fn entry_out(self, node: u64, attr: &Attr, (name_ms, attr_ms): (u64, u64)) -> Out {
        let nanoseconds = |ms: u64| (ms % 1000 * 1_000_000) as u32;
        self.u64(node)
            .u64(0)
            .u64(name_ms / 1000)
            .u64(attr_ms / 1000)
            .u32(nanoseconds(name_ms))
            .u32(nanoseconds(attr_ms))
            .attr(attr)
    }
}

/// Attributes as the guest sees them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Attr {
    pub(crate) ino: u64,
    pub(crate) size: u64,
    pub(crate) blocks: u64,
    /// Seconds, nanoseconds.
    pub(crate) atime: (i64, u32),
    pub(crate) mtime: (i64, u32),
    pub(crate) ctime: (i64, u32),
    pub(crate) mode: u32,
    pub(crate) nlink: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) rdev: u32,
    /// Owner and group are those of whoever looks.
    pub(crate) is_lookers: bool,
    /// It is known to have no `security.capability`.
    pub(crate) no_capability: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in [&b"..\0"[..], b".\0", b"\0", b"a/b\0", b"/\0", b"no end"] {
            assert!(Args(name).name().is_err(), "{name:?}");
        }
        assert_eq!(Args(b"...\0rest").name().unwrap(), b"...");
        assert!(Args(&[b'x'; 300]).name().is_err());
    }

    #[test]
    fn structures_have_the_kernels_sizes() {
        let attr = Attr::default();
        assert_eq!(Out::default().attr(&attr).0.len(), 88);
        assert_eq!(Out::default().attr_out(&attr, 0).0.len(), 104);
        assert_eq!(Out::default().entry_out(1, &attr, (1500, 20)).0.len(), 128);
    }
}

//! Owner, mode and kind of a file as guests see them.
//!
//! What the host cannot have from us is kept in an extended attribute of the
//! file, [`OVERRIDE`]: `mode uid gid rdev`, mode in octal with the file's kind.
//! In a volume all of it counts, and everything but directories is a plain
//! file on the host. On the user's own files the owner and the bits setuid,
//! setgid and sticky count; they are there once a guest has set one of them.

use std::os::fd::AsFd;

use rustix::fs::{Mode, Statx, XattrFlags};

use super::Fs;
use super::permission::{Turns, get_attribute, own, remove_attribute, set_attribute, turn};
use super::resolve::{Found, by_descriptor, errno, is_kind};
use crate::fuse::{Attr, Header, Res};
use crate::spec::Kind;

/// The attribute's name.
pub(super) const OVERRIDE: &str = "user.stack.stat";
/// A guest's `security.capability` on the host.
const CAPABILITY: &[u8] = b"user.stack.x.security.capability";
/// Bytes of the names of a file's attributes that are looked at.
const LIST: usize = 1024;

/// Bits that never go to the host: a program would run as the user there. Those that the
/// user's own directory has stay there.
const SPECIAL: u32 = 0o7000;

/// What somebody has read and writes back changed, nobody else changes meanwhile.
static TURNS: Turns = Turns::new();

/// What the attribute says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    /// With the file's kind.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) rdev: u32,
}

impl Stat {
    fn parse(bytes: &[u8]) -> Option<Stat> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut words = text.split(' ');
        Some(Stat {
            mode: u32::from_str_radix(words.next()?, 8).ok()?,
            uid: words.next()?.parse().ok()?,
            gid: words.next()?.parse().ok()?,
            rdev: words.next()?.parse().ok()?,
        })
    }

    fn text(self) -> String {
        format!("{:o} {} {} {}", self.mode, self.uid, self.gid, self.rdev)
    }
}

/// Reads the attribute.
pub(super) fn read(fd: impl AsFd) -> Option<Stat> {
    let mut buffer = [0; 64];
    let length = get_attribute(fd, OVERRIDE.as_bytes(), &mut buffer).ok()?;
    Stat::parse(buffer.get(..length)?)
}

/// Reads the attribute; tells whether there is known to be no capability of a
/// guest's, too.
fn read_both(fd: impl AsFd) -> (Option<Stat>, bool) {
    let mut list = [0; LIST];
    let path = by_descriptor(&fd);
    let Ok(length) = rustix::fs::listxattr(path, &mut list[..]) else {
        return (read(fd), false);
    };
    let has = |wanted: &[u8]| {
        list[..length]
            .split(|byte| *byte == 0)
            .any(|name| name == wanted)
    };
    let kept = has(OVERRIDE.as_bytes()).then(|| read(fd)).flatten();
    (kept, !has(CAPABILITY))
}

/// Writes the attribute.
pub(super) fn write(fd: impl AsFd, stat: Stat) -> Res<()> {
    let (name, text) = (OVERRIDE.as_bytes(), stat.text());
    set_attribute(fd, name, text.as_bytes(), XattrFlags::empty())
}

impl Fs {
    /// Kind of a share.
    pub(super) fn kind(&self, share: u32) -> Kind {
        self.shares[share as usize].kind
    }

    /// The attributes that whoever asks sees.
    pub(super) fn attr(&self, share: u32, found: &Found, header: &Header) -> Attr {
        self.attr_of(share, &found.fd, &found.stat, header)
    }

    pub(super) fn attr_of(&self, share: u32, fd: impl AsFd, stat: &Statx, header: &Header) -> Attr {
        let time = |stamp: &rustix::fs::StatxTimestamp| (stamp.tv_sec, stamp.tv_nsec);
        let mode = u32::from(stat.stx_mode);
        let mut attr = Attr {
            ino: self.inode(share, stat),
            size: stat.stx_size,
            blocks: stat.stx_blocks,
            atime: time(&stat.stx_atime),
            mtime: time(&stat.stx_mtime),
            ctime: time(&stat.stx_ctime),
            mode,
            nlink: stat.stx_nlink,
            uid: stat.stx_uid,
            gid: stat.stx_gid,
            rdev: libc::makedev(stat.stx_rdev_major, stat.stx_rdev_minor) as u32,
            is_lookers: false,
            no_capability: false,
        };
        if !self.changes.is_listener(header) {
            self.looker.seen(header.uid);
        }
        let kept = match mode & libc::S_IFMT {
            libc::S_IFREG => {
                let (kept, none) = read_both(fd);
                attr.no_capability = none;
                kept
            }
            libc::S_IFDIR => read(fd),
            _ => None,
        };
        if self.kind(share) == Kind::Volume {
            let kept = kept.unwrap_or(Stat {
                mode: mode & libc::S_IFMT | 0o755,
                uid: 0,
                gid: 0,
                rdev: 0,
            });
            (attr.mode, attr.uid, attr.gid, attr.rdev) = (kept.mode, kept.uid, kept.gid, kept.rdev);
            if !matches!(
                attr.mode & libc::S_IFMT,
                libc::S_IFREG | libc::S_IFDIR | libc::S_IFLNK
            ) {
                (attr.size, attr.blocks) = (0, 0);
            }
            return attr;
        }
        match kept {
            Some(kept) => {
                (attr.uid, attr.gid) = (kept.uid, kept.gid);
                attr.mode = mode & !SPECIAL | kept.mode & SPECIAL;
            }
            // The user's files belong to whoever looks at them: so a service
            // may write to them whatever user it runs as. The guest's kernel
            // asks again before it refuses something.
            None if own(stat) => {
                (attr.uid, attr.gid) = (header.uid, header.gid);
                attr.is_lookers = true;
            }
            None => {}
        }
        attr
    }

    /// One number per file of the VM's whole file system.
    fn inode(&self, share: u32, stat: &Statx) -> u64 {
        let dev = u64::from(stat.stx_dev_major) << 20 | u64::from(stat.stx_dev_minor);
        let first = *self.devices.get(share as usize).unwrap_or(&dev);
        let elsewhere = if dev == first { 0 } else { dev << 40 };
        stat.stx_ino ^ (u64::from(share) << 56) ^ elsewhere
    }

    /// Gives a new file of a volume its attributes. `parent`: its directory.
    pub(super) fn born(
        &self,
        fd: impl AsFd,
        parent: &Found,
        mode: u32,
        rdev: u32,
        header: &Header,
    ) -> Res<()> {
        let above = read(&parent.fd);
        let mut stat = Stat {
            mode,
            uid: header.uid,
            gid: header.gid,
            rdev,
        };
        if let Some(above) = above.filter(|above| above.mode & libc::S_ISGID != 0) {
            stat.gid = above.gid;
            if mode & libc::S_IFMT == libc::S_IFDIR {
                stat.mode |= libc::S_ISGID;
            }
        }
        write(fd, stat)
    }

    /// Changes mode or owner.
    pub(super) fn change(
        &self,
        share: u32,
        fd: impl AsFd,
        stat: &Statx,
        header: &Header,
        mode: Option<u32>,
        owner: (Option<u32>, Option<u32>),
    ) -> Res<()> {
        let fd = fd.as_fd();
        let _turn = TURNS.take(stat);
        let stat = &super::resolve::stat(fd)?;
        let now = self.attr_of(share, fd, stat, header);
        let owner_changes = owner.0.is_some() || owner.1.is_some();
        let mut wanted = Stat {
            mode: mode.map_or(now.mode, |mode| now.mode & libc::S_IFMT | mode & 0o7777),
            uid: owner.0.unwrap_or(now.uid),
            gid: owner.1.unwrap_or(now.gid),
            rdev: now.rdev,
        };
        // chown(2): the bits do not survive a change of owner.
        if owner_changes && mode.is_none() && now.mode & libc::S_IFMT == libc::S_IFREG {
            wanted.mode = without_privileges(wanted.mode);
        }
        if self.kind(share) == Kind::Volume {
            return write(fd, wanted);
        }
        if u32::from(stat.stx_mode) & libc::S_IFMT == libc::S_IFLNK {
            // A link has no attribute of ours, and nobody asks who owns it.
            return match mode {
                Some(_) => Err(libc::EOPNOTSUPP),
                None => Ok(()),
            };
        }
        let mut host = 0;
        if is_kind(stat, libc::S_IFDIR) {
            host = u32::from(stat.stx_mode) & SPECIAL;
        }
        if mode.is_some() {
            host &= wanted.mode;
            let bits = Mode::from_raw_mode(wanted.mode & 0o777 | host);
            let _turn = turn(stat);
            rustix::fs::chmod(by_descriptor(fd), bits).map_err(errno)?;
        }
        let kept = read(fd);
        let special = wanted.mode & SPECIAL != kept.map_or(host, |kept| kept.mode & SPECIAL);
        let same = |kept: Stat| (kept.uid, kept.gid) == (wanted.uid, wanted.gid);
        if mode.is_some() && !special && kept.is_some_and(same) {
            // All that was to change is the host's.
            return Ok(());
        }
        if owner_changes || special || kept.is_some() {
            if kept.is_none() && !owner_changes {
                // Only the bits: the owner stays whoever looks.
                (wanted.uid, wanted.gid) = (now.uid, now.gid);
            }
            return match write(fd, wanted) {
                // FIFOs and sockets take no attribute.
                Err(libc::EPERM) if own(stat) => Ok(()),
                other => other,
            };
        }
        Ok(())
    }

    /// Somebody without privileges writes to the file: setuid and setgid go.
    pub(super) fn kill_privileges(&self, share: u32, fd: impl AsFd) -> Res<()> {
        let fd = fd.as_fd();
        let less = |kept: Stat| {
            let mode = without_privileges(kept.mode);
            (mode != kept.mode).then_some(Stat { mode, ..kept })
        };
        if read(fd).and_then(less).is_some() {
            let _turn = TURNS.take(&super::resolve::stat(fd)?);
            if let Some(less) = read(fd).and_then(less) {
                write(fd, less)?;
            }
        }
        let capability = self.host_attribute(share, b"security.capability")?;
        match remove_attribute(fd, &capability) {
            Err(libc::ENODATA | libc::EOPNOTSUPP) => Ok(()),
            other => other,
        }
    }
}

fn without_privileges(mode: u32) -> u32 {
    let mut mode = mode & !libc::S_ISUID;
    if mode & 0o010 != 0 {
        mode &= !libc::S_ISGID;
    }
    mode
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_is_read_as_it_was_written() {
        let stat = Stat {
            mode: 0o104_755,
            uid: 999,
            gid: u32::MAX,
            rdev: 0,
        };
        assert_eq!(Stat::parse(stat.text().as_bytes()), Some(stat));
        for bad in [&b""[..], b"1 2 3", b"9 0 0 0", b"\xff"] {
            assert_eq!(Stat::parse(bad), None);
        }
    }

    #[test]
    fn a_capability_is_known_not_to_be_there_only_if_it_is_not() {
        use std::os::fd::AsFd;
        let file = tempfile::tempfile().unwrap();
        let set = |name: &str, value: &[u8]| {
            let path = by_descriptor(file.as_fd());
            rustix::fs::setxattr(path, name, value, XattrFlags::empty()).unwrap();
        };
        assert_eq!(read_both(&file), (None, true));
        let stat = Stat {
            mode: 0o100_644,
            uid: 1,
            gid: 2,
            rdev: 0,
        };
        write(&file, stat).unwrap();
        assert_eq!(read_both(&file), (Some(stat), true));
        set("user.stack.x.security.capability", b"1");
        assert_eq!(read_both(&file), (Some(stat), false));
        // More names than are looked at: nothing is promised.
        for n in 0..10 {
            set(&format!("user.{n}{}", "x".repeat(200)), b"");
        }
        assert_eq!(read_both(&file), (Some(stat), false));
    }

    #[test]
    fn bits_go_as_chown_2_says() {
        assert_eq!(without_privileges(0o106_755), 0o100_755);
        // Without group execute, setgid once meant mandatory locking.
        assert_eq!(without_privileges(0o102_644), 0o102_644);
    }
}

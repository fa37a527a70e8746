//! Making files. In a volume everything but a directory is a plain file on
//! the host; what it is for the guests is in its attribute.
//!
//! `again`: an earlier server took the request and may have carried it out. What is there
//! is then taken for the result where that server has noted that it made it, or was
//! killed in the middle of it ([`Fs::is_ours`]).

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Statx, StatxFlags};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use super::Fs;
use super::journal::Deed;
use super::permission::{NAMES, allowed};
use super::resolve::{
    Found, by_descriptor, errno, identity, is_kind, look, open_name, reopen, stat,
};
use crate::fuse::{Args, Header, Res};
use crate::spec::Kind;

/// Mode of a volume's files and directories on the host.
const FILE: u32 = 0o600;
const DIRECTORY: u32 = 0o700;

/// Now: nanoseconds since the epoch. `RealtimeCoarse` is never later than what a file is
/// made with after it, `Realtime` never earlier than what it was made with before.
pub(super) fn now(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    (now.tv_sec as u64)
        .wrapping_mul(1_000_000_000)
        .wrapping_add(now.tv_nsec as u64)
}

/// When it was made, or has changed last where the file system does not know that.
fn born(stat: &Statx) -> u64 {
    let knows = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::BTIME);
    let time = match knows {
        true => &stat.stx_btime,
        false => &stat.stx_ctime,
    };
    (time.tv_sec as u64)
        .wrapping_mul(1_000_000_000)
        .wrapping_add(time.tv_nsec.into())
}

/// What could not be made whole does not stay.
fn or_remove(made: Res<()>, dir: &Found, name: &[u8], flags: AtFlags) -> Res<()> {
    if made.is_err() {
        let _ = allowed(&dir.fd, NAMES, || {
            rustix::fs::unlinkat(&dir.fd, name, flags)
        });
    }
    made
}

impl Fs {
    fn is_volume(&self, share: u32) -> bool {
        self.kind(share) == Kind::Volume
    }

    /// Notes that this request is about to make something.
    pub(super) fn note_making(&self, header: &Header, again: bool) -> Res<()> {
        match self.begun(header, again) {
            // What was noted first holds: it may be there since.
            Some(Deed::Making(_) | Deed::Made) => Ok(()),
            _ => self.begin(header, Deed::Making(now(ClockId::RealtimeCoarse))),
        }
    }

    /// Notes that this request has made it, whoever is killed from now on. What cannot be
    /// noted does not stay.
    fn note_made(&self, header: &Header, dir: &Found, name: &[u8], flags: AtFlags) -> Res<()> {
        or_remove(self.begin(header, Deed::Made), dir, name, flags)
    }

    /// What is there was made by this request, which an earlier server took. If that was
    /// killed before it could note it, it is what has come between its note and this
    /// server; in a volume, what has no attribute yet.
    fn is_ours(&self, header: &Header, volume: bool, found: &Found, again: bool) -> bool {
        let known = self.earlier.get(&header.unique);
        let since = match (self.begun(header, again), known) {
            (Some(Deed::Made), _) => return true,
            (_, Some(Deed::Making(since))) => *since,
            _ => u64::MAX,
        };
        again
            && ((since..=self.since).contains(&born(&found.stat))
                || volume && super::meta::read(&found.fd).is_none())
    }

    pub(super) fn mkdir(&self, header: &Header, mut args: Args<'_>, again: bool) -> Res<Vec<u8>> {
        let (mode, _umask) = (args.u32()?, args.u32()?);
        let name = args.name()?;
        let share = self.writable(header.node)?;
        let dir = self.find_dir(header.node)?;
        let volume = self.is_volume(share);
        let bits = if volume { DIRECTORY } else { mode & 0o777 };
        let bits = Mode::from_raw_mode(bits);
        self.note_making(header, again)?;
        let made = allowed(&dir.fd, NAMES, || rustix::fs::mkdirat(&dir.fd, name, bits));
        match made {
            Ok(()) => self.note_made(header, &dir, name, AtFlags::REMOVEDIR)?,
            Err(Errno::EXIST) if again => {}
            Err(error) => return Err(errno(error)),
        }
        let found = look(&dir.fd, name)?;
        if made.is_err() && !self.is_ours(header, volume, &found, again) {
            return Err(libc::EEXIST);
        }
        if volume && (made.is_ok() || super::meta::read(&found.fd).is_none()) {
            let born = self.born(&found.fd, &dir, libc::S_IFDIR | mode & 0o7777, 0, header);
            or_remove(born, &dir, name, AtFlags::REMOVEDIR)?;
        }
        self.told(header, header.node, name, &found)
    }

    pub(super) fn mknod(&self, header: &Header, mut args: Args<'_>, again: bool) -> Res<Vec<u8>> {
        let (mode, rdev) = (args.u32()?, args.u32()?);
        let (_umask, _padding) = (args.u32()?, args.u32()?);
        let name = args.name()?;
        let share = self.writable(header.node)?;
        let dir = self.find_dir(header.node)?;
        if self.is_volume(share) {
            self.plain(&dir, name, mode, rdev, header, again)?;
        } else {
            let kind = match mode & libc::S_IFMT {
                0 | libc::S_IFREG => FileType::RegularFile,
                libc::S_IFIFO => FileType::Fifo,
                libc::S_IFSOCK => FileType::Socket,
                // A device of the host is nothing for a guest.
                _ => return Err(libc::EPERM),
            };
            let bits = Mode::from_raw_mode(mode & 0o777);
            self.note_making(header, again)?;
            let made = allowed(&dir.fd, NAMES, || {
                rustix::fs::mknodat(&dir.fd, name, kind, bits, 0)
            });
            self.made(header, &dir, name, made, again)?;
        }
        self.told(header, header.node, name, &look(&dir.fd, name)?)
    }

    /// Something was made in the user's own files, or not.
    fn made(
        &self,
        header: &Header,
        dir: &Found,
        name: &[u8],
        made: Result<(), Errno>,
        again: bool,
    ) -> Res<()> {
        match made {
            Ok(()) => self.note_made(header, dir, name, AtFlags::empty()),
            Err(Errno::EXIST) if self.is_ours(header, false, &look(&dir.fd, name)?, again) => {
                Ok(())
            }
            Err(error) => Err(errno(error)),
        }
    }

    /// Makes a volume's plain file.
    fn plain(
        &self,
        dir: &Found,
        name: &[u8],
        mode: u32,
        rdev: u32,
        header: &Header,
        again: bool,
    ) -> Res<OwnedFd> {
        let mode = if mode & libc::S_IFMT == 0 {
            mode | libc::S_IFREG
        } else {
            mode
        };
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        self.note_making(header, again)?;
        let file = match open_name(&dir.fd, name, flags, FILE) {
            Ok(file) => {
                self.note_made(header, dir, name, AtFlags::empty())?;
                file
            }
            Err(libc::EEXIST) if again => {
                let found = look(&dir.fd, name)?;
                if !self.is_ours(header, true, &found, again) {
                    return Err(libc::EEXIST);
                }
                reopen(&found, OFlags::RDWR)?
            }
            Err(error) => return Err(error),
        };
        let born = self.born(&file, dir, mode & (libc::S_IFMT | 0o7777), rdev, header);
        or_remove(born, dir, name, AtFlags::empty())?;
        Ok(file)
    }

    pub(super) fn symlink(&self, header: &Header, mut args: Args<'_>, again: bool) -> Res<Vec<u8>> {
        let name = args.name()?;
        let target = args.string()?;
        let share = self.writable(header.node)?;
        let dir = self.find_dir(header.node)?;
        if self.is_volume(share) {
            let file = self.plain(&dir, name, libc::S_IFLNK | 0o777, 0, header, again)?;
            let written = match rustix::io::pwrite(&file, target, 0) {
                Ok(length) if length == target.len() => Ok(()),
                Ok(_) => Err(libc::ENOSPC),
                Err(error) => Err(errno(error)),
            };
            or_remove(written, &dir, name, AtFlags::empty())?;
        } else {
            self.note_making(header, again)?;
            let made = allowed(&dir.fd, NAMES, || {
                rustix::fs::symlinkat(target, &dir.fd, name)
            });
            self.made(header, &dir, name, made, again)?;
        }
        self.told(header, header.node, name, &look(&dir.fd, name)?)
    }

    pub(super) fn link(&self, header: &Header, mut args: Args<'_>, again: bool) -> Res<Vec<u8>> {
        let old = args.u64()?;
        let name = args.name()?;
        let share = self.writable(header.node)?;
        if self.writable(old)? != share {
            return Err(libc::EXDEV);
        }
        let dir = self.find_dir(header.node)?;
        let found = self.find(old)?;
        if is_kind(&found.stat, libc::S_IFDIR) {
            return Err(libc::EPERM);
        }
        let path = by_descriptor(&found.fd);
        let (cwd, follow) = (rustix::fs::CWD, AtFlags::SYMLINK_FOLLOW);
        let made = allowed(&dir.fd, NAMES, || {
            rustix::fs::linkat(cwd, &path, &dir.fd, name, follow)
        });
        let there = look(&dir.fd, name);
        match made {
            Ok(()) => {}
            // Whoever made it, it is what was asked for.
            Err(Errno::EXIST)
                if again
                    && there
                        .as_ref()
                        .is_ok_and(|there| identity(&there.stat) == identity(&found.stat)) => {}
            Err(error) => return Err(errno(error)),
        }
        self.told(header, header.node, name, &there?)
    }

    /// What has come between the guest's look and its request is opened only if it is
    /// a file that it may open for sure. Else the guest's kernel looks again, and decides.
    fn is_openable(
        &self,
        header: &Header,
        (share, found): (u32, &Found),
        flags: u32,
        again: bool,
    ) -> bool {
        let attr = self.attr(share, found, header);
        let half = self.is_volume(share) && super::meta::read(&found.fd).is_none();
        if !is_kind(&found.stat, libc::S_IFREG) || attr.mode & libc::S_IFMT != libc::S_IFREG {
            return false;
        }
        let mut wanted = match flags as i32 & libc::O_ACCMODE {
            libc::O_RDONLY => 4,
            libc::O_WRONLY => 2,
            _ => 6,
        };
        if flags & libc::O_TRUNC as u32 != 0 {
            wanted |= 2;
        }
        let bits = match () {
            () if attr.uid == header.uid => attr.mode >> 6,
            () if attr.gid == header.gid => attr.mode >> 3,
            () => attr.mode,
        };
        // What this request itself has made may be closed for everybody.
        again || !half && bits & wanted == wanted
    }

    pub(super) fn create(&self, header: &Header, mut args: Args<'_>, again: bool) -> Res<Vec<u8>> {
        let (flags, mode) = (args.u32()?, args.u32()?);
        let (_umask, _open_flags) = (args.u32()?, args.u32()?);
        let name = args.name()?;
        let share = self.writable(header.node)?;
        let dir = self.find_dir(header.node)?;
        let volume = self.is_volume(share);
        let bits = if volume { FILE } else { mode & 0o777 };
        let exclusive = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        self.make_room()?;
        // The guest does not look first whether it is there: that it is says
        // nothing about who has made it.
        let alone = flags & libc::O_EXCL as u32 != 0;
        if alone {
            self.note_making(header, again)?;
        }
        let made = self.with_room(|| open_name(&dir.fd, name, exclusive, bits));
        let found = match made {
            Ok(fd) => {
                let noted = || match alone {
                    true => self.begin(header, Deed::Made),
                    false => Ok(()),
                };
                let born = || match volume {
                    true => self.born(&fd, &dir, libc::S_IFREG | mode & 0o7777, 0, header),
                    false => Ok(()),
                };
                or_remove(noted().and_then(|()| born()), &dir, name, AtFlags::empty())?;
                let stat = stat(&fd)?;
                Found { fd, stat }
            }
            Err(libc::EEXIST) if again || !alone => {
                let found = look(&dir.fd, name)?;
                if alone && !self.is_ours(header, volume, &found, again) {
                    return Err(libc::EEXIST);
                }
                if !self.is_openable(header, (share, &found), flags, again) {
                    return Err(if alone { libc::EEXIST } else { libc::ESTALE });
                }
                let fd = reopen(&found, OFlags::RDWR)?;
                if volume && again && super::meta::read(&fd).is_none() {
                    self.born(&fd, &dir, libc::S_IFREG | mode & 0o7777, 0, header)?;
                }
                if flags & libc::O_TRUNC as u32 != 0 {
                    rustix::fs::ftruncate(&fd, 0).map_err(errno)?;
                }
                let stat = stat(&fd)?;
                Found { fd, stat }
            }
            Err(error) => return Err(error),
        };
        let (node, out) = self.told_as(header, header.node, name, &found)?;
        self.created(node, found.fd, true);
        Ok(out.u64(node).u32(0).u32(0).0)
    }
}

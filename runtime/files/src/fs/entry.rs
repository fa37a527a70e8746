//! Looking names up; attributes.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Timespec, Timestamps};

use super::resolve::{Found, by_descriptor, errno, identity, is_kind, look};
use super::tree::{ROOT, Tree};
use super::{Fs, changes};
use crate::fuse::{Args, Attr, Header, Out, Res, setattr};
use crate::spec::Kind;

/// `UTIME_NOW`, `UTIME_OMIT`.
const NOW: i64 = libc::UTIME_NOW;
const OMIT: i64 = libc::UTIME_OMIT;

/// The made-up directory above the shares.
fn root_attr(shares: usize) -> Attr {
    Attr {
        ino: ROOT,
        mode: libc::S_IFDIR | 0o755,
        nlink: 2 + shares as u32,
        ..Attr::default()
    }
}

impl Fs {
    pub(super) fn lookup(&self, header: &Header, mut args: Args<'_>) -> Res<Vec<u8>> {
        let name = args.name()?;
        if header.node == ROOT
            && let Some(node) = changes::file(name)
        {
            let attr = Fs::changes_attr(node);
            return Ok(Out::default().entry_out(node, &attr, (1000, 1000)).0);
        }
        if header.node == ROOT {
            let share = std::str::from_utf8(name)
                .ok()
                .and_then(|name| name.parse().ok());
            let share = share.filter(|share: &u32| (*share as usize) < self.shares.len());
            let share = share.ok_or(libc::ENOENT)?;
            let node = Tree::root_of(share);
            let mut found = self.find(node).map_err(|_| libc::ENOENT)?;
            if self.watch(share, node, &found.fd) {
                found.stat = super::resolve::stat(&found.fd)?;
            }
            let attr = self.attr(share, &found, header);
            let times = (
                self.name_ms(header, share, node),
                self.attr_ms(header, (share, node, node), &attr),
            );
            return Ok(Out::default().entry_out(node, &attr, times).0);
        }
        let dir = self.find_dir(header.node)?;
        let share = self.tree().share(header.node)?;
        self.watch(share, header.node, &dir.fd);
        match self.with_room(|| look(&dir.fd, name)) {
            // There is none, and for a while there will be none.
            Err(libc::ENOENT) => match self.absent_ms(header, share, name)? {
                0 => Err(libc::ENOENT),
                ms => Ok(Out::default().entry_out(0, &Attr::default(), (ms, 0)).0),
            },
            found => self.told(header, header.node, name, &found?),
        }
    }

    /// How long the guest may rely on a name's being absent.
    fn absent_ms(&self, header: &Header, share: u32, name: &[u8]) -> Res<u64> {
        if self.changes.is_listener(header) {
            return Ok(0);
        }
        let told = match self.is_told(share, header.node) {
            true => self.changes.absent(header.node, name),
            false => None,
        };
        self.note(told.clone().flatten())?;
        let lease = &self.held[share as usize];
        Ok(self.common.leases.grant(lease, told.is_some()))
    }

    /// Tells the guest of a file under this name.
    pub(super) fn told(
        &self,
        header: &Header,
        parent: u64,
        name: &[u8],
        found: &Found,
    ) -> Res<Vec<u8>> {
        let (_, out) = self.told_as(header, parent, name, found)?;
        Ok(out.0)
    }

    pub(super) fn told_as(
        &self,
        header: &Header,
        parent: u64,
        name: &[u8],
        found: &Found,
    ) -> Res<(u64, Out)> {
        let (share, node) = {
            let mut tree = self.tree();
            let share = tree.share(parent)?;
            let identity = identity(&found.stat);
            let (node, records) = tree.found(header.unique, (parent, name), share, identity)?;
            self.note(records)?;
            (share, node)
        };
        let directory = is_kind(&found.stat, libc::S_IFDIR);
        let stat = match directory && self.watch(share, node, &found.fd) {
            true => super::resolve::stat(&found.fd)?,
            false => found.stat,
        };
        let attr = self.attr_of(share, &found.fd, &stat, header);
        let times = (
            self.name_ms(header, share, parent),
            self.attr_ms(header, (share, parent, node), &attr),
        );
        Ok((node, Out::default().entry_out(node, &attr, times)))
    }

    pub(super) fn getattr(&self, header: &Header) -> Res<Vec<u8>> {
        if header.node == ROOT {
            return Ok(Out::default()
                .attr_out(&root_attr(self.shares.len()), 1000)
                .0);
        }
        if changes::is_file(header.node) {
            let attr = Fs::changes_attr(header.node);
            return Ok(Out::default().attr_out(&attr, 1000).0);
        }
        let share = self.tree().share(header.node)?;
        let attr = match self
            .open_stat(header.node)
            .filter(|_| self.kind(share) != Kind::File)
        {
            Some((file, stat)) => self.attr_of(share, &*file, &stat, header),
            None => self.attr(share, &self.find(header.node)?, header),
        };
        let ms = self.node_ms(header, share, header.node, &attr);
        Ok(Out::default().attr_out(&attr, ms).0)
    }

    pub(super) fn setattr(&self, header: &Header, mut args: Args<'_>) -> Res<Vec<u8>> {
        let (valid, _padding) = (args.u32()?, args.u32()?);
        let (_handle, size, _owner) = (args.u64()?, args.u64()?, args.u64()?);
        let (atime, mtime, _ctime) = (args.u64()?, args.u64()?, args.u64()?);
        let (atime_ns, mtime_ns, _ctime_ns) = (args.u32()?, args.u32()?, args.u32()?);
        let (mode, _unused, uid, gid) = (args.u32()?, args.u32()?, args.u32()?, args.u32()?);
        let share = self.writable(header.node)?;
        let is = |bit: u32| valid & bit != 0;
        // An open file may have no name any more.
        let open = self.open_stat(header.node);
        let found = match &open {
            Some(_) => None,
            None => Some(self.find(header.node)?),
        };
        let (fd, stat): (BorrowedFd<'_>, _) = match (&open, &found) {
            (Some((file, stat)), _) => (file.as_fd(), *stat),
            (None, Some(found)) => (found.fd.as_fd(), found.stat),
            (None, None) => return Err(libc::ESTALE),
        };
        if is(setattr::SIZE) {
            let file = self.file(header.node, true)?;
            rustix::fs::ftruncate(&*file, size).map_err(errno)?;
            if is(setattr::KILL_SUIDGID) {
                self.kill_privileges(share, fd)?;
            }
        }
        let owner = (
            is(setattr::UID).then_some(uid),
            is(setattr::GID).then_some(gid),
        );
        let mode = is(setattr::MODE).then_some(mode);
        if mode.is_some() || owner != (None, None) {
            self.change(share, fd, &stat, header, mode, owner)?;
        }
        if is(setattr::ATIME | setattr::MTIME) {
            let stamp = |set: bool, now: bool, seconds: u64, nanoseconds: u32| Timespec {
                tv_sec: seconds as i64,
                tv_nsec: match (set, now) {
                    (false, _) => OMIT,
                    (true, true) => NOW,
                    (true, false) => nanoseconds.into(),
                },
            };
            let times = Timestamps {
                last_access: stamp(is(setattr::ATIME), is(setattr::ATIME_NOW), atime, atime_ns),
                last_modification: stamp(
                    is(setattr::MTIME),
                    is(setattr::MTIME_NOW),
                    mtime,
                    mtime_ns,
                ),
            };
            let flags = rustix::fs::AtFlags::empty();
            let path = by_descriptor(fd);
            // A link's own descriptor, too: the path leads to it, not on.
            rustix::fs::utimensat(rustix::fs::CWD, path, &times, flags).map_err(errno)?;
        }
        let stat = super::resolve::stat(fd)?;
        let attr = self.attr_of(share, fd, &stat, header);
        let ms = self.node_ms(header, share, header.node, &attr);
        Ok(Out::default().attr_out(&attr, ms).0)
    }

    pub(super) fn readlink(&self, header: &Header) -> Res<Vec<u8>> {
        let share = self.tree().share(header.node)?;
        let found = self.find(header.node)?;
        if self.kind(share) == Kind::Volume {
            if self.attr(share, &found, header).mode & libc::S_IFMT != libc::S_IFLNK {
                return Err(libc::EINVAL);
            }
            let file = super::resolve::reopen(&found, rustix::fs::OFlags::RDONLY)?;
            let mut target = vec![0; libc::PATH_MAX as usize];
            let length = rustix::io::pread(&file, &mut target, 0).map_err(errno)?;
            target.truncate(length);
            return Ok(target);
        }
        let target = rustix::fs::readlinkat(&found.fd, "", Vec::new()).map_err(errno)?;
        Ok(target.into_bytes())
    }

    pub(super) fn statfs(&self, header: &Header) -> Res<Vec<u8>> {
        let share = self.tree().share(header.node);
        let root = self
            .roots
            .get(share.unwrap_or(0) as usize)
            .ok_or(libc::ENOSYS)?;
        let found = rustix::fs::fstatvfs(root).map_err(errno)?;
        let mut out = Out::default()
            .u64(found.f_blocks)
            .u64(found.f_bfree)
            .u64(found.f_bavail)
            .u64(found.f_files)
            .u64(found.f_ffree)
            .u32(found.f_bsize as u32)
            .u32(found.f_namemax as u32)
            .u32(found.f_frsize as u32);
        for _ in 0..7 {
            out = out.u32(0);
        }
        Ok(out.0)
    }
}

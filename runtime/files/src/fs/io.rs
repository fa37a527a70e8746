//! What is in files.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{FallocateFlags, SeekFrom, Timespec, Timestamps};

use super::resolve::errno;
use super::{Fs, changes, guard};
use crate::fuse::{
    Args, HEADER, Header, OPEN_DIRECT_IO, OPEN_KEEP_CACHE, OPEN_NOFLUSH, Out, RELEASE_FLOCK_UNLOCK,
    Res, WRITE_IN, WRITE_KILL_SUIDGID,
};
use crate::server::{Answer, Request};
use crate::spec::Kind;

fn number(error: std::io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

impl Fs {
    pub(super) fn open_file(&self, header: &Header, mut args: Args<'_>) -> Res<Vec<u8>> {
        let flags = args.u32()? as i32;
        if changes::is_file(header.node) {
            let flags = OPEN_DIRECT_IO | OPEN_NOFLUSH;
            return Ok(Out::default().u64(header.node).u32(flags).u32(0).0);
        }
        let share = self.tree().share(header.node)?;
        let write = flags & libc::O_ACCMODE != libc::O_RDONLY;
        if self.kind(share) == Kind::File {
            // The name may stand for another file by now.
            guard(&self.files).remove(&header.node);
        }
        self.file(header.node, write)?;
        self.opened(header.node);
        // Nobody but guests changes what is in a volume, and this one is alone.
        // What the host changes is read anew.
        let keep = match self.kind(share) == Kind::Volume && self.lasts(share) {
            true => OPEN_KEEP_CACHE,
            false => 0,
        };
        Ok(Out::default().u64(header.node).u32(keep).u32(0).0)
    }

    pub(super) fn release(&self, header: &Header, mut args: Args<'_>) -> Res<Vec<u8>> {
        let (_handle, _flags, release) = (args.u64()?, args.u32()?, args.u32()?);
        let owner = args.u64()?;
        if changes::is_file(header.node) {
            self.leave_changes();
            return Ok(Vec::new());
        }
        // Of flock(2), and of open file descriptions (fcntl(2)).
        if release & RELEASE_FLOCK_UNLOCK != 0 {
            self.unlock_everywhere(owner);
        }
        self.closed(header.node);
        Ok(Vec::new())
    }

    pub(super) fn flush(&self, header: &Header, mut args: Args<'_>) -> Res<Vec<u8>> {
        let (_handle, _unused, _padding) = (args.u64()?, args.u32()?, args.u32()?);
        let owner = args.u64()?;
        // close(2) of any descriptor gives up all of a process's locks.
        self.unlock_all(header.node, owner);
        Ok(Vec::new())
    }

    pub(super) fn read(&self, header: &Header, mut args: Args<'_>, answer: Answer) {
        let mut act = || {
            let (_handle, offset, size) = (args.u64()?, args.u64()?, args.u32()?);
            let file = self.file(header.node, false)?;
            let length = size.min(super::LARGEST) as usize;
            let room = answer.data_room();
            answer
                .memory()
                .fill_from(&room, length, &*file, offset)
                .map_err(number)
        };
        match act() {
            Ok(length) => answer.given(length),
            Err(error) => answer.give(Err(error)),
        }
    }

    pub(super) fn write(
        &self,
        header: &Header,
        mut args: Args<'_>,
        request: &Request,
        answer: &Answer,
    ) -> Res<Vec<u8>> {
        if request.bytes.len() < HEADER + WRITE_IN {
            return Err(libc::EINVAL);
        }
        let (_handle, offset, size) = (args.u64()?, args.u64()?, args.u32()?);
        let (how, _owner, flags) = (args.u32()?, args.u64()?, args.u32()?);
        let share = self.writable(header.node)?;
        let file = self.file(header.node, true)?;
        let length = size.min(super::LARGEST) as usize;
        let written = match flags & libc::O_APPEND as u32 != 0 {
            true => self.append(header, share, (request, answer), &file, (offset, length)),
            false => answer
                .memory()
                .to_file(&request.data, length, &*file, offset, false)
                .map_err(number),
        };
        self.stamp(share, &*file);
        if how & WRITE_KILL_SUIDGID != 0 {
            self.kill_privileges(share, &*file)?;
        }
        let written = written?;
        Ok(Out::default().u32(written as u32).u32(0).0)
    }

    /// After a change of a file that others have, too: their kernels tell by its
    /// time that what they have read is old, and the host's clock for files stands
    /// still for some milliseconds.
    pub(super) fn stamp(&self, share: u32, file: impl AsFd) {
        if !self.held[share as usize].is_shared() {
            return;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default();
        let times = Timestamps {
            last_access: Timespec {
                tv_sec: 0,
                tv_nsec: libc::UTIME_OMIT,
            },
            last_modification: Timespec {
                tv_sec: now.as_secs() as i64,
                tv_nsec: now.subsec_nanos().into(),
            },
        };
        // A file of another user takes none.
        let _ = rustix::fs::futimens(file, &times);
    }

    /// A thread waits for the disk, so that nobody else does.
    pub(super) fn fsync(self: &Arc<Self>, header: &Header, mut args: Args<'_>, answer: Answer) {
        let _handle = args.u64();
        let data_only = args.u32().is_ok_and(|flags| flags & 1 != 0);
        match self.file(header.node, false) {
            Ok(file) => self.syncs.take(answer, move || match data_only {
                true => rustix::fs::fdatasync(&*file).map_err(errno),
                false => rustix::fs::fsync(&*file).map_err(errno),
            }),
            Err(error) => answer.give(Err(error)),
        }
    }

    pub(super) fn fsync_dir(self: &Arc<Self>, header: &Header, answer: Answer) {
        match self.dir_file(header.node) {
            Ok(dir) => self
                .syncs
                .take(answer, move || rustix::fs::fsync(&*dir).map_err(errno)),
            Err(error) => answer.give(Err(error)),
        }
    }

    pub(super) fn sync_all(self: &Arc<Self>, answer: Answer) {
        let this = Arc::clone(self);
        self.syncs.take(answer, move || {
            for share in 0..this.shares.len() as u32 {
                if let Ok(dir) = this.dir_file(super::tree::Tree::root_of(share)) {
                    rustix::fs::syncfs(&*dir).map_err(errno)?;
                }
            }
            Ok(())
        });
    }

    pub(super) fn fallocate(&self, header: &Header, mut args: Args<'_>) -> Res<Vec<u8>> {
        let (_handle, offset, length) = (args.u64()?, args.u64()?, args.u64()?);
        let mode = args.u32()?;
        let share = self.writable(header.node)?;
        let file = self.file(header.node, true)?;
        let mode = FallocateFlags::from_bits(mode).ok_or(libc::EOPNOTSUPP)?;
        rustix::fs::fallocate(&*file, mode, offset, length).map_err(errno)?;
        self.stamp(share, &*file);
        Ok(Vec::new())
    }

    pub(super) fn lseek(&self, header: &Header, mut args: Args<'_>) -> Res<Vec<u8>> {
        let (_handle, offset, whence) = (args.u64()?, args.u64()?, args.u32()?);
        let to = match whence as i32 {
            libc::SEEK_DATA => SeekFrom::Data(offset),
            libc::SEEK_HOLE => SeekFrom::Hole(offset),
            _ => return Err(libc::EINVAL),
        };
        // Reads and writes name their place: the position is nobody's.
        let file = self.file(header.node, false)?;
        let found = rustix::fs::seek(&*file, to).map_err(errno)?;
        Ok(Out::default().u64(found).0)
    }

    pub(super) fn copy_range(&self, header: &Header, mut args: Args<'_>) -> Res<Vec<u8>> {
        let (_handle, mut from) = (args.u64()?, args.u64()?);
        let (target, _handle_out, mut to) = (args.u64()?, args.u64()?, args.u64()?);
        let length = args.u64()?.min(64 << 20) as usize;
        let share = self.writable(target)?;
        let (source, target) = (self.file(header.node, false)?, self.file(target, true)?);
        let (from, to) = (Some(&mut from), Some(&mut to));
        let copied = rustix::fs::copy_file_range(&*source, from, &*target, to, length);
        self.stamp(share, &*target);
        Ok(Out::default().u32(copied.map_err(errno)? as u32).u32(0).0)
    }
}

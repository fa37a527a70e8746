//! Directories' lists. Places in them are the host's own, so that they hold
//! when the directory is opened again.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::{FileType, OFlags, RawDir, SeekFrom};

use super::resolve::{errno, look, reopen};
use super::tree::ROOT;
use super::{Fs, guard};
use crate::fuse::{Args, Attr, Header, Out, RELEASE_FLOCK_UNLOCK, Res};
use crate::spec::Kind;

/// Bytes of `fuse_dirent` without the name.
const ENTRY: usize = 24;
/// Bytes of `fuse_entry_out`.
const ENTRY_OUT: usize = 128;
/// Bytes that are read of the host's list at least: more than its largest entry.
const FEWEST: usize = 512;

impl Fs {
    pub(super) fn dir_file(&self, node: u64) -> Res<Arc<OwnedFd>> {
        let found = self.find_dir(node)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        Ok(Arc::new(self.with_room(|| reopen(&found, flags))?))
    }

    pub(super) fn open_dir(&self, header: &Header) -> Res<Vec<u8>> {
        let handle = self.next_handle.fetch_add(1, Ordering::Relaxed);
        if header.node != ROOT {
            let dir = self.dir_file(header.node)?;
            let mut dirs = guard(&self.dirs);
            if dirs.len() >= self.common.room.0 {
                return Err(libc::EMFILE);
            }
            dirs.insert(handle, dir);
        }
        Ok(Out::default().u64(handle).u32(0).u32(0).0)
    }

    pub(super) fn release_dir(&self, mut args: Args<'_>) -> Res<Vec<u8>> {
        guard(&self.dirs).remove(&args.u64()?);
        let (_flags, release, owner) = (args.u32()?, args.u32()?, args.u64()?);
        if release & RELEASE_FLOCK_UNLOCK != 0 {
            self.unlock_everywhere(owner);
        }
        Ok(Vec::new())
    }

    pub(super) fn read_dir(&self, header: &Header, mut args: Args<'_>, plus: bool) -> Res<Vec<u8>> {
        let (handle, offset, size) = (args.u64()?, args.u64()?, args.u32()?);
        let size = size.min(super::LARGEST) as usize;
        if header.node == ROOT {
            return Ok(self.list_shares(offset, size, plus));
        }
        let share = self.tree().share(header.node)?;
        let known = guard(&self.dirs).get(&handle).cloned();
        let dir = match known {
            Some(dir) => dir,
            // An earlier server had it open.
            None => {
                let dir = self.dir_file(header.node)?;
                let mut dirs = guard(&self.dirs);
                if dirs.len() >= self.common.room.0 {
                    return Err(libc::EMFILE);
                }
                dirs.insert(handle, Arc::clone(&dir));
                dir
            }
        };
        self.watch(share, header.node, &*dir);
        let lasts = plus && self.lasts(share);
        rustix::fs::seek(&*dir, SeekFrom::Start(offset)).map_err(errno)?;
        // What does not fit into the answer is read again for the next one: a
        // guest asks for a page at a time, of which attributes are the most.
        let much = if plus { size / 4 } else { size };
        let mut buffer = vec![MaybeUninit::uninit(); much.clamp(FEWEST, 32 << 10)];
        let mut list = RawDir::new(&*dir, &mut buffer);
        let mut out = Vec::new();
        while let Some(entry) = list.next() {
            let entry = entry.map_err(errno)?;
            let name = entry.file_name().to_bytes();
            let dots = matches!(name, b"." | b"..");
            let full = length(name, plus) + out.len() > size;
            if full {
                break;
            }
            if plus {
                // What holds for no time need not be found out.
                match (lasts && !dots).then(|| look(&*dir, name).ok()).flatten() {
                    Some(found) => out.extend(self.told(header, header.node, name, &found)?),
                    // Node 0: nothing is said about it.
                    None => out.extend(Out::default().entry_out(0, &Attr::default(), (0, 0)).0),
                }
            }
            // In a volume the kind is in an attribute, which only a look at
            // the file tells.
            let kind = match (entry.file_type(), self.kind(share)) {
                (FileType::RegularFile, Kind::Volume) => 0,
                (kind, _) => kind.as_raw_mode() >> 12,
            };
            let ino = entry.ino() ^ (u64::from(share) << 56);
            out = put(out, ino, entry.next_entry_cookie(), kind, name);
        }
        Ok(out)
    }

    fn list_shares(&self, offset: u64, size: usize, plus: bool) -> Vec<u8> {
        let mut out = Vec::new();
        for share in (0..self.shares.len() as u64).skip(offset as usize) {
            let name = share.to_string();
            if out.len() + length(name.as_bytes(), plus) > size {
                break;
            }
            if plus {
                out.extend(Out::default().entry_out(0, &Attr::default(), (0, 0)).0);
            }
            out = put(out, ROOT + 1 + share, share + 1, 0, name.as_bytes());
        }
        out
    }
}

fn length(name: &[u8], plus: bool) -> usize {
    let entry = (ENTRY + name.len()).next_multiple_of(8);
    if plus { entry + ENTRY_OUT } else { entry }
}

fn put(out: Vec<u8>, ino: u64, next: u64, kind: u32, name: &[u8]) -> Vec<u8> {
    let mut out = Out(out)
        .u64(ino)
        .u64(next)
        .u32(name.len() as u32)
        .u32(kind)
        .0;
    out.extend(name);
    out.resize(out.len().next_multiple_of(8), 0);
    out
}

//! Open files. A file is opened once for all that have it open in the VM, and
//! again when it is needed: so it does not matter if descriptors run out, or
//! if an earlier server had it open.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::OFlags;

use super::resolve::{is_kind, reopen, stat};
use super::{Fs, guard};
use crate::fuse::Res;

/// The most that [`Room`] is.
const MOST: usize = 16_384;
/// So many times as much this process may have open.
const OTHERS: u64 = 16;

/// By node.
pub(super) type Files = HashMap<u64, Open>;

/// Descriptors of files that one VM may have on the host, and of directories: so
/// that it takes nothing from the others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room(pub(super) usize);

impl Default for Room {
    fn default() -> Room {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let share = limit.map_or(MOST, |limit| (limit / OTHERS) as usize);
        Room(share.clamp(1, MOST))
    }
}

/// A file that the guest has open.
#[derive(Debug, Default)]
pub(super) struct Open {
    read: Option<Arc<OwnedFd>>,
    write: Option<Arc<OwnedFd>>,
    count: u32,
    pub(super) held: bool,
}

impl Open {
    pub(super) fn held(file: OwnedFd) -> Open {
        let file = Arc::new(file);
        // A descriptor that may not write says so itself.
        Open {
            read: Some(Arc::clone(&file)),
            write: Some(file),
            count: 0,
            held: true,
        }
    }

    /// The guest has it open.
    pub(super) fn is_used(&self) -> bool {
        self.count > 0
    }

    fn descriptors(&self) -> usize {
        match (&self.read, &self.write) {
            (None, None) => 0,
            (Some(read), Some(write)) if !Arc::ptr_eq(read, write) => 2,
            (Some(_), _) | (_, Some(_)) => 1,
        }
    }

    pub(super) fn get(&self, write: bool) -> Option<Arc<OwnedFd>> {
        let read = self.read.as_ref().filter(|_| !write);
        self.write.as_ref().or(read).cloned()
    }
}

impl Fs {
    /// The node's file, opened if need be.
    pub(super) fn file(&self, node: u64, write: bool) -> Res<Arc<OwnedFd>> {
        if let Some(file) = guard(&self.files)
            .get(&node)
            .and_then(|open| open.get(write))
        {
            return Ok(file);
        }
        if write {
            self.writable(node)?;
        }
        let found = self.find(node)?;
        if !is_kind(&found.stat, libc::S_IFREG) {
            return Err(libc::EINVAL);
        }
        self.make_room()?;
        let file = Arc::new(self.with_room(|| {
            let flags = if write { OFlags::RDWR } else { OFlags::RDONLY };
            reopen(&found, flags)
        })?);
        self.put(node, write, Arc::clone(&file));
        Ok(file)
    }

    fn put(&self, node: u64, write: bool, file: Arc<OwnedFd>) {
        let mut files = guard(&self.files);
        let open = files.entry(node).or_default();
        *(if write {
            &mut open.write
        } else {
            &mut open.read
        }) = Some(file);
    }

    /// Room for one more descriptor: what can be opened again is closed for it.
    /// `EMFILE`: the guest has too many files open that cannot.
    pub(super) fn make_room(&self) -> Res<()> {
        let mut files = guard(&self.files);
        let Room(most) = self.common.room;
        // Each has two at most.
        if files.len() * 2 < most {
            return Ok(());
        }
        let count = |files: &Files| files.values().map(Open::descriptors).sum::<usize>();
        if count(&files) < most {
            return Ok(());
        }
        self.purge(&mut files);
        match count(&files) < most {
            true => Ok(()),
            false => Err(libc::EMFILE),
        }
    }

    /// Three quarters of the files that the guest may have open are not.
    pub(super) fn has_much_room(&self) -> bool {
        let Room(most) = self.common.room;
        guard(&self.files).len() < most / 4
    }

    /// Closes what can be opened again.
    fn purge(&self, files: &mut Files) {
        for (node, open) in files.iter_mut().filter(|(_, open)| !open.held) {
            let named = open.get(false).is_some_and(|file| {
                let linked = stat(&*file).is_ok_and(|stat| stat.stx_nlink > 0);
                linked && self.tree().place(*node).is_ok()
            });
            if named {
                (open.read, open.write) = (None, None);
            }
        }
    }

    /// Tries again after closing what can be opened again.
    pub(super) fn with_room<T>(&self, act: impl Fn() -> Res<T>) -> Res<T> {
        match act() {
            Err(libc::EMFILE | libc::ENFILE) => {
                self.purge(&mut guard(&self.files));
                act()
            }
            other => other,
        }
    }

    /// The guest has opened the file once more.
    pub(super) fn opened(&self, node: u64) {
        let mut files = guard(&self.files);
        let open = files.entry(node).or_default();
        open.count = open.count.saturating_add(1);
    }

    /// The guest has made and opened it.
    pub(super) fn created(&self, node: u64, file: OwnedFd, write: bool) {
        self.put(node, write, Arc::new(file));
        self.opened(node);
    }

    /// The guest has closed it once.
    pub(super) fn closed(&self, node: u64) {
        let mut files = guard(&self.files);
        let Some(open) = files.get_mut(&node) else {
            return;
        };
        open.count = open.count.saturating_sub(1);
        if open.count == 0 && !open.held {
            files.remove(&node);
        }
    }

    /// What an open file is, without looking for its name.
    pub(super) fn open_stat(&self, node: u64) -> Option<(Arc<OwnedFd>, rustix::fs::Statx)> {
        let file = guard(&self.files).get(&node)?.get(false)?;
        let stat = stat(&*file).ok()?;
        Some((file, stat))
    }
}

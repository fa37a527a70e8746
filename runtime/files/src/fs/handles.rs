//! Open files. A file is opened once for all that have it open in the VM, and
//! again when it is needed: so it does not matter if descriptors run out, or
//! if an earlier server had it open. What cannot be opened again, for it has
//! no name any more, is in the keeper's hands, too.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::OFlags;

use super::resolve::{is_kind, look, reopen, stat};
use super::{Fs, guard};
use crate::fuse::Res;
use crate::link::ToKeeper;

/// A file that the guest has open.
#[derive(Debug, Default)]
pub(super) struct Open {
    read: Option<Arc<OwnedFd>>,
    write: Option<Arc<OwnedFd>>,
    count: u32,
    held: bool,
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

    pub(super) fn is_held(&self) -> bool {
        self.held
    }

    fn get(&self, write: bool) -> Option<Arc<OwnedFd>> {
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

    /// Tries again after closing what can be opened again.
    pub(super) fn with_room<T>(&self, act: impl Fn() -> Res<T>) -> Res<T> {
        match act() {
            Err(libc::EMFILE | libc::ENFILE) => {
                for open in guard(&self.files).values_mut().filter(|open| !open.held) {
                    (open.read, open.write) = (None, None);
                }
                act()
            }
            other => other,
        }
    }

    /// The guest has opened the file once more.
    pub(super) fn opened(&self, node: u64) {
        let mut files: std::sync::MutexGuard<'_, HashMap<u64, Open>> = guard(&self.files);
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

    /// A name of the file is about to go. If the guest may have it open, it is
    /// opened now, while it can be.
    pub(super) fn before_removal(
        &self,
        node: Option<u64>,
        dir: impl AsFd,
        name: &[u8],
    ) -> Option<u64> {
        let node = node?;
        let is_open = guard(&self.files)
            .get(&node)
            .is_some_and(|open| open.count > 0);
        if !is_open && !self.tree().is_recovered(node) {
            return None;
        }
        let found = look(dir, name).ok()?;
        if !is_kind(&found.stat, libc::S_IFREG) || found.stat.stx_nlink > 1 {
            return None;
        }
        self.file(node, true)
            .or_else(|_| self.file(node, false))
            .ok()?;
        Some(node)
    }

    /// It has gone: the keeper gets the file, so that it outlives this server.
    pub(super) fn after_removal(&self, node: Option<u64>) {
        let Some(node) = node else {
            return;
        };
        let mut files = guard(&self.files);
        let Some(open) = files.get_mut(&node).filter(|open| !open.held) else {
            return;
        };
        if let Some(file) = open.get(false) {
            open.held = true;
            let session = self.session;
            self.keeper
                .send(&ToKeeper::Hold { session, node }, Some(file.as_fd()));
        }
    }
}

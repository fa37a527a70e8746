//! Directories that are held open: paths are walked once, and not for each file.

use std::borrow::Borrow;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The directory that was used last, and its name: what follows is mostly in it,
/// too.
pub(super) struct Last<K: ToOwned + ?Sized>(Option<(K::Owned, OwnedFd)>);

impl<K: ToOwned + PartialEq + ?Sized> Last<K> {
    pub(super) fn none() -> Last<K> {
        Last(None)
    }

    /// That of this name; `open` gives another one than last time.
    pub(super) fn or(
        &mut self,
        name: &K,
        open: impl FnOnce() -> io::Result<OwnedFd>,
    ) -> io::Result<&OwnedFd> {
        let dir = match self.0.take() {
            Some((known, dir)) if known.borrow() == name => (known, dir),
            _ => (name.to_owned(), open()?),
        };
        Ok(&self.0.insert(dir).1)
    }
}

/// Opens a directory in which something is to be done.
pub(super) fn open(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, DIRECTORY, Mode::empty())?)
}

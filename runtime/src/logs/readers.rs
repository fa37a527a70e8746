//! Readers that are waited for: nothing is deleted before they had it.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::{ages, inode, rotated};

/// The readers of one log. One that is dropped is one no more.
#[derive(Debug, Default)]
pub struct Readers(Mutex<Vec<Weak<AtomicU64>>>);

impl Readers {
    /// Adds one, which keeps in `place` which file (inode) it has open.
    pub(super) fn add(&self, place: &Arc<AtomicU64>) {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.push(Arc::downgrade(place));
    }

    /// Nobody misses anything when the log, of so many files, is rotated: a
    /// reader needs all files after the one it has open.
    pub(super) fn may_rotate(&self, path: &Path, files: u32) -> bool {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.retain(|place| place.strong_count() > 0);
        if list.is_empty() {
            return true;
        }
        let oldest = ages(path);
        list.iter().filter_map(Weak::upgrade).all(|place| {
            let open = place.load(Ordering::Acquire);
            let found = (0..=oldest).find(|age| inode(&rotated(path, *age)) == open);
            // What it has open may be gone already: then all that is there is
            // after it.
            let age = found.unwrap_or(oldest + 1);
            age < files
        })
    }
}

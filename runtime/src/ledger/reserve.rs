//! Room for removals on a full disk: to forget something takes some blocks,
//! too. A file beside the ledger has them, and goes when they are needed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

/// Bytes: some 250 pages of the ledger.
const SIZE: u64 = 1 << 20;
/// With less room than this the disk counts as full: nothing is kept again.
const ROOM: u64 = 4 * SIZE;

/// The file.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    there: AtomicBool,
}

impl Reserve {
    /// The one of this ledger.
    pub(super) fn of(ledger: &Path) -> Reserve {
        let path = ledger.with_extension("reserve");
        let there = AtomicBool::new(path.exists());
        Reserve { path, there }
    }

    /// Makes the file, if it is not there and there is room again.
    pub(super) fn fill(&self) {
        if self.there.load(Ordering::Relaxed) || !self.is_room() {
            return;
        }
        match self.make() {
            Ok(()) => self.there.store(true, Ordering::Relaxed),
            Err(error) => {
                tracing::debug!(%error, "no room is kept for removals");
                let _ = fs::remove_file(&self.path);
            }
        }
    }

    fn is_room(&self) -> bool {
        let dir = self.path.parent().unwrap_or(Path::new("."));
        statvfs(dir).is_ok_and(|fs| fs.f_bavail.saturating_mul(fs.f_frsize) >= ROOM)
    }

    fn make(&self) -> io::Result<()> {
        let mut file: File = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&self.path)?;
        if fallocate(&file, FallocateFlags::empty(), 0, SIZE).is_err() {
            // Not every file system has it.
            file.write_all(&vec![0; SIZE as usize])?;
        }
        Ok(())
    }

    /// Frees the blocks. `false`: there were none.
    pub(super) fn spend(&self) -> bool {
        self.there.store(false, Ordering::Relaxed);
        fs::remove_file(&self.path).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn the_blocks_are_there_until_they_are_needed() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = dir.path().join("ledger.sqlite");
        let reserve = Reserve::of(&ledger);
        assert!(!reserve.spend());
        reserve.fill();
        let file = dir.path().join("ledger.reserve");
        assert!(fs::metadata(&file).unwrap().blocks() * 512 >= SIZE);
        assert!(Reserve::of(&ledger).spend());
        assert!(!file.exists());
        assert!(!reserve.spend());
        reserve.fill();
        assert!(file.exists());
    }
}

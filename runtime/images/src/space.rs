//! Keeps an image from filling the machine's disk.

use std::fs::File;
use std::io;

/// How often the free space is looked at, in bytes written.
const CHECK_EVERY: u64 = 32 << 20;

/// Space that is left free for the rest of the machine.
const RESERVE: u64 = 64 << 20;

/// Looks at the free space from time to time.
#[derive(Debug, Default)]
pub(crate) struct SpaceGuard {
    unchecked: u64,
}

impl SpaceGuard {
    /// Call before bytes are written to the file.
    ///
    /// # Errors
    /// `StorageFull` when the disk is nearly full.
    pub(crate) fn before_write(&mut self, file: &File, bytes: usize) -> io::Result<()> {
        self.unchecked += bytes as u64;
        if self.unchecked < CHECK_EVERY {
            return Ok(());
        }
        self.unchecked = 0;
        let stat = rustix::fs::fstatvfs(file)?;
        if stat.f_bavail.saturating_mul(stat.f_frsize) < RESERVE {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

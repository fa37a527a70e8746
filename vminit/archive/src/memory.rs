//! File systems that are on no disk.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// Of tmpfs and devtmpfs (statfs(2), as all of these).
const TMPFS: u64 = 0x0102_1994;
const RAMFS: u64 = 0x8584_58f6;
/// Of proc, sysfs, cgroup2, devpts, mqueue, securityfs, debugfs and tracefs.
const MADE_UP: [u64; 8] = [
    0x9fa0,
    0x6265_6572,
    0x6367_7270,
    0x1cd1,
    0x1980_0202,
    0x7363_6673,
    0x6462_6720,
    0x7472_6163,
];

/// What is at the path is the kernel's own, or a directory of devices.
///
/// # Errors
/// It cannot be looked at.
pub(crate) fn is_made_up(path: &Path) -> io::Result<bool> {
    let kind = kind(path)?;
    let has_devices = || {
        let null = fs::symlink_metadata(path.join("null"));
        null.is_ok_and(|meta| {
            let device = meta.rdev();
            let number = (rustix::fs::major(device), rustix::fs::minor(device));
            meta.file_type().is_char_device() && number == (1, 3)
        })
    };
    Ok(MADE_UP.contains(&kind) || kind == TMPFS && has_devices())
}

/// What is at the path is gone when the machine ends.
///
/// # Errors
/// It cannot be looked at.
pub(crate) fn is_fleeting(path: &Path) -> io::Result<bool> {
    let kind = kind(path)?;
    Ok([TMPFS, RAMFS].contains(&kind) || MADE_UP.contains(&kind))
}

fn kind(path: &Path) -> io::Result<u64> {
    // The magic numbers are 32 bits wide, whatever the architecture makes of them.
    Ok((rustix::fs::statfs(path)?.f_type as u64) & 0xffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_own_is_told_from_what_was_written() {
        for own in ["/proc", "/proc/self", "/sys", "/dev"] {
            assert!(is_made_up(Path::new(own)).unwrap(), "{own}");
            assert!(is_fleeting(Path::new(own)).unwrap(), "{own}");
        }
        let shared = Path::new("/dev/shm");
        if shared.is_dir() {
            assert!(!is_made_up(shared).unwrap() && is_fleeting(shared).unwrap());
        }
        assert!(!is_made_up(&std::env::temp_dir()).unwrap());
    }
}

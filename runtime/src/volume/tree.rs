//! Trees of files of any depth: what a guest has made may be deeper than a path
//! is long, than a thread's stack has room for, and than files may be open.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Statx, StatxFlags};

/// Prefix of the names that directories have on their way out.
const UP: &str = ".stack-goes-";

/// Deletes a file or a tree. No link is followed. What is in a directory of the
/// tree's is first moved to its top: so each path is short.
///
/// # Errors
/// Something cannot be deleted. A path that is not there is an error, too.
pub(crate) fn delete(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.is_dir() {
        return fs::remove_file(path);
    }
    let mut moved = 0_u64;
    loop {
        let mut any = false;
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            any = true;
            if !entry.file_type()?.is_dir() {
                fs::remove_file(entry.path())?;
                continue;
            }
            for inner in fs::read_dir(entry.path())? {
                let inner = inner?;
                match inner.file_type()?.is_dir() {
                    true => up(&inner.path(), path, &mut moved)?,
                    false => fs::remove_file(inner.path())?,
                }
            }
            fs::remove_dir(entry.path())?;
        }
        if !any {
            return fs::remove_dir(path);
        }
    }
}

/// Moves a directory into another one.
fn up(from: &Path, top: &Path, moved: &mut u64) -> io::Result<()> {
    use rustix::io::Errno;
    loop {
        let to = top.join(format!("{UP}{moved}"));
        *moved += 1;
        match fs::rename(from, &to) {
            // The name of something else: of a delete that was cut off.
            Err(error)
                if matches!(
                    Errno::from_io_error(&error),
                    Some(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR)
                ) => {}
            done => return done,
        }
    }
}

/// Bytes that a file or a tree takes up on the disk; 0 if there is none. What cannot
/// be looked at does not count, and a file with several names counts once.
pub(crate) fn size(path: &Path) -> u64 {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    let Ok(own) = rustix::fs::statx(rustix::fs::CWD, path, flags, StatxFlags::BASIC_STATS) else {
        return 0;
    };
    let Ok(top) = rustix::fs::open(path, DIRECTORY, Mode::empty()) else {
        return own.stx_blocks * 512;
    };
    own.stx_blocks * 512 + content(top).unwrap_or_else(|(counted, _)| counted)
}

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// What is in a directory. One directory is open at a time: the way back up is `..`,
/// which must lead where it came from, for guests move things meanwhile. An error
/// comes with what was counted until then.
fn content(top: OwnedFd) -> Result<u64, (u64, io::Error)> {
    let mut count = Count::default();
    let mut at = top;
    let mut left = match list(&at, &mut count) {
        Ok(directories) => vec![(identity(&at), directories)],
        Err(error) => return Err((count.bytes, error)),
    };
    while let Some((_, directories)) = left.last_mut() {
        let Some(name) = directories.pop() else {
            left.pop();
            if let Some((above, _)) = left.last() {
                at = match rustix::fs::openat(&at, "..", DIRECTORY, Mode::empty()) {
                    Ok(up) if identity(&up) == *above => up,
                    Ok(_) => return Err((count.bytes, io::Error::other("it was moved"))),
                    Err(error) => return Err((count.bytes, error.into())),
                };
            }
            continue;
        };
        // One that has gone since has no size.
        if let Ok(inner) = rustix::fs::openat(&at, name, DIRECTORY, Mode::empty())
            && let Ok(directories) = list(&inner, &mut count)
        {
            left.push((identity(&inner), directories));
            at = inner;
        }
    }
    Ok(count.bytes)
}

/// What was counted.
#[derive(Default)]
struct Count {
    bytes: u64,
    /// Inodes with several names.
    linked: HashSet<u64>,
}

fn identity(fd: &OwnedFd) -> Option<(u64, u64)> {
    let stat = rustix::fs::fstat(fd).ok()?;
    Some((stat.st_dev, stat.st_ino))
}

/// Counts what is in a directory; gives the directories.
fn list(dir: &OwnedFd, count: &mut Count) -> io::Result<Vec<std::ffi::CString>> {
    let mut directories = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let found: Result<Statx, _> = rustix::fs::statx(dir, name, flags, StatxFlags::BASIC_STATS);
        if let Ok(found) = found {
            let directory = FileType::from_raw_mode(found.stx_mode.into()) == FileType::Directory;
            if directory {
                directories.push(name.to_owned());
            }
            // A volume is on one file system.
            if directory || found.stx_nlink <= 1 || count.linked.insert(found.stx_ino) {
                count.bytes += found.stx_blocks * 512;
            }
        }
    }
    Ok(directories)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_several_names_counts_once() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        fs::write(dir.path().join("one"), vec![1; 1 << 20]).unwrap();
        let one = size(dir.path());
        assert!(one >= 1 << 20);
        for other in ["two", "sub/three"] {
            fs::hard_link(dir.path().join("one"), dir.path().join(other)).unwrap();
        }
        assert!(size(dir.path()) < one + (1 << 20), "{}", size(dir.path()));
    }

    #[test]
    fn a_tree_deeper_than_a_path_is_long_is_counted_and_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        fs::create_dir(&top).unwrap();
        fs::write(top.join("beside"), vec![1; 5000]).unwrap();
        fs::create_dir(top.join(format!("{UP}0"))).unwrap();
        fs::write(top.join(format!("{UP}0/file")), "x").unwrap();
        std::os::unix::fs::symlink(dir.path(), top.join("link")).unwrap();
        fs::write(dir.path().join("other"), "stays").unwrap();
        let mut at = rustix::fs::open(&top, DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..1500 {
            rustix::fs::mkdirat(&at, "deep", Mode::from_raw_mode(0o700)).unwrap();
            at = rustix::fs::openat(&at, "deep", DIRECTORY, Mode::empty()).unwrap();
        }
        let flags = OFlags::CREATE | OFlags::WRONLY;
        let bottom = rustix::fs::openat(&at, "bottom", flags, Mode::from_raw_mode(0o600)).unwrap();
        rustix::io::write(&bottom, &[1; 8192]).unwrap();
        drop((at, bottom));
        assert!(size(&top) >= 5000 + 8192, "{}", size(&top));
        delete(&top).unwrap();
        assert!(!top.exists());
        assert_eq!(
            fs::read_to_string(dir.path().join("other")).unwrap(),
            "stays"
        );
        assert_eq!(size(&top), 0);
        assert!(delete(&top).is_err());
    }
}

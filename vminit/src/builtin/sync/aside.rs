//! Where things lie that are not in their place yet.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, StatxFlags};

use super::{remove, settle};

/// Has a directory for each batch that is on its way: a volume may be that of several
/// containers, and of several services.
const ALL: &str = ".stack-sync";
/// Where other machines may write and no lock tells of them, what has not changed for
/// so long was cut off in the middle.
const STALE: Duration = Duration::from_secs(60 * 60);
/// Others make and remove the directory of all.
const ATTEMPTS: usize = 16;

const DIRECTORY: OFlags = OFlags::DIRECTORY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// An empty directory that goes, with all that is left in it, when this is dropped.
pub(super) struct Aside {
    pub(super) path: PathBuf,
    /// Locked as long as it is in use.
    held: File,
}

impl Aside {
    /// One on the mount that `target` is on or will be on, in the mount's root: what
    /// watches the target sees nothing of it.
    pub(super) fn for_target(target: &Path) -> io::Result<Aside> {
        Aside::within(&root(target)?.join(ALL))
    }

    /// One in `all`, which is made and removed with the others.
    pub(super) fn within(all: &Path) -> io::Result<Aside> {
        let mut made = Aside::make(all);
        for _ in 1..ATTEMPTS {
            if !matches!(&made, Err(error) if is_raced(error)) {
                break;
            }
            made = Aside::make(all);
        }
        made
    }

    fn make(all: &Path) -> io::Result<Aside> {
        match DirBuilder::new().mode(0o700).create(all) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Err(error) if !fs::symlink_metadata(all)?.is_dir() => {
                fs::remove_file(all)?;
                return Err(error);
            }
            _ => {}
        }
        let dir = rustix::fs::open(all, DIRECTORY, Mode::empty())?;
        clear(&dir)?;
        let name = random_name()?;
        rustix::fs::mkdirat(&dir, &name, Mode::RWXU)?;
        let held = File::from(rustix::fs::openat(&dir, &name, DIRECTORY, Mode::empty())?);
        // Not every file system has locks.
        let _ = rustix::fs::flock(&held, FlockOperation::LockExclusive);
        let path = all.join(name);
        // Another batch may have taken it for what was left, before it was locked.
        match fs::symlink_metadata(&path)?.ino() == held.metadata()?.ino() {
            true => Ok(Aside { path, held }),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// The file system that it is on, if [`settle::reserve`] has an effect there.
    pub(super) fn disk(&self) -> Option<File> {
        let disk = self.held.try_clone().ok()?;
        settle::is_on_disk(&disk).then_some(disk)
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
        // Unless there are others.
        let _ = self.path.parent().map(fs::remove_dir);
    }
}

fn is_raced(error: &io::Error) -> bool {
    let kind = error.kind();
    matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists)
}

/// Removes what was cut off in the middle.
fn clear(all: &OwnedFd) -> io::Result<()> {
    for name in remove::names(all)? {
        let Ok(left) = rustix::fs::openat(all, &name, DIRECTORY, Mode::empty()) else {
            continue;
        };
        // Locked until it is gone: nobody takes it for one's own meanwhile.
        let left = File::from(left);
        if is_stale(&left) {
            let _ = remove::inside(all, &name);
        }
    }
    Ok(())
}

/// Is nobody at work in it any more?
fn is_stale(left: &File) -> bool {
    // A disk is this machine's alone.
    if settle::is_on_disk(left) {
        return rustix::fs::flock(left.as_fd(), FlockOperation::NonBlockingLockExclusive).is_ok();
    }
    let changed = left.metadata().and_then(|meta| meta.modified());
    changed.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > STALE))
}

/// The root of the mount that `target` is on or will be on.
fn root(target: &Path) -> io::Result<PathBuf> {
    let mut there = target;
    let mut root = loop {
        match fs::canonicalize(there) {
            Ok(path) if path.is_dir() => break path,
            _ => there = there.parent().unwrap_or(Path::new("/")),
        }
    };
    let mount = mount_of(&root)?;
    while let Some(parent) = root.parent() {
        if mount_of(parent)? != mount {
            break;
        }
        root = parent.to_path_buf();
    }
    Ok(root)
}

fn mount_of(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID)?;
    Ok(stat.stx_mnt_id)
}

/// A short name that nobody else has.
pub(super) fn random_name() -> io::Result<String> {
    let mut name = fs::read_to_string("/proc/sys/kernel/random/uuid")?;
    name.truncate(8);
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_lie_side_by_side_and_leave_nothing() {
        let dir = std::env::temp_dir().join(format!("stack-aside-{}", std::process::id()));
        let all = dir.join("all");
        fs::create_dir_all(all.join("cut-off/0")).unwrap();
        fs::create_dir_all(dir.join("own/0")).unwrap();
        std::os::unix::fs::symlink("../own", all.join("link")).unwrap();
        let old = std::time::SystemTime::now() - 2 * STALE;
        let cut_off = File::open(all.join("cut-off")).unwrap();
        cut_off.set_modified(old).unwrap();
        drop(cut_off);
        let first = Aside::within(&all).unwrap();
        fs::write(first.path.join("a"), "a").unwrap();
        if first.disk().is_some() {
            first.held.set_modified(old).unwrap();
        }
        let second = Aside::within(&all).unwrap();
        let both = first.path.join("a").exists() && second.path.is_dir();
        let left = all.join("cut-off").exists();
        drop(first);
        let one = second.path.is_dir();
        fs::remove_file(all.join("link")).unwrap();
        drop(second);
        let nothing = !all.exists();
        // Something else in the place of all.
        std::os::unix::fs::symlink("own", &all).unwrap();
        let third = Aside::within(&all).unwrap();
        let own = dir.join("own/0").is_dir() && fs::symlink_metadata(&all).unwrap().is_dir();
        drop(third);
        fs::remove_dir_all(&dir).unwrap();
        assert!(both && !left && one && nothing && own);
    }

    #[test]
    fn many_begin_and_end_at_once() {
        let dir = std::env::temp_dir().join(format!("stack-asides-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let all = dir.join("all");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let aside = Aside::within(&all).unwrap();
                        fs::create_dir(aside.path.join("0")).unwrap();
                    }
                });
            }
        });
        let left = all.exists();
        fs::remove_dir_all(&dir).unwrap();
        assert!(!left);
    }
}

//! Where things go.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags};

/// Name of the directory that holds what is not in its place yet.
const ASIDE: &str = ".stack-sync";

/// `path` below `target`; empty is the target itself.
pub(super) fn below(target: &Path, path: &str) -> io::Result<PathBuf> {
    if path.is_empty() {
        return Ok(target.to_path_buf());
    }
    let path = Path::new(path);
    let plain = |part| matches!(part, Component::Normal(_));
    if !path.components().all(plain) {
        return Err(io::Error::other("not a path below the target"));
    }
    Ok(target.join(path))
}

/// Makes the directories that lead to `path`; new ones belong to `owner`.
pub(super) fn make_parents(path: &Path, owner: (u32, u32)) -> io::Result<()> {
    let Some(parent) = path.parent() else {
        return Ok(());
    };
    if fs::metadata(parent).is_ok_and(|meta| meta.is_dir()) {
        return Ok(());
    }
    make_parents(parent, owner)?;
    make_dir(parent, 0o755, owner)
}

/// Makes one directory, also in place of something else.
pub(super) fn make_dir(path: &Path, mode: u32, owner: (u32, u32)) -> io::Result<()> {
    match fs::DirBuilder::new().mode(mode).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // A link to a directory serves as well.
            if fs::metadata(path).is_ok_and(|meta| meta.is_dir()) {
                return Ok(());
            }
            fs::remove_file(path)?;
            fs::DirBuilder::new().mode(mode).create(path)?;
        }
        Err(error) => return Err(error),
    }
    chown(path, Some(owner.0), Some(owner.1))
}

/// An empty directory on the mount that `target` is on or will be on, in the
/// mount's root: what watches the target sees nothing of it.
pub(super) fn aside(target: &Path) -> io::Result<PathBuf> {
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
    let aside = root.join(ASIDE);
    // What was cut off in the middle.
    match fs::remove_dir_all(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::DirBuilder::new().mode(0o700).create(&aside)?;
    Ok(aside)
}

fn mount_of(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID)?;
    Ok(stat.stx_mnt_id)
}

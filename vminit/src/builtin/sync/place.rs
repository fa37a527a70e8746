//! Where things go.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};

/// Where a batch goes.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// Absolute.
    pub path: PathBuf,
    /// As in `ToGuest::Begin`.
    pub exact: bool,
}

impl Default for Target {
    fn default() -> Target {
        Target {
            path: PathBuf::from("/"),
            exact: false,
        }
    }
}

impl Target {
    /// The bits of a mode that the host says.
    pub(super) fn mode_bits(&self) -> u32 {
        if self.exact { 0o7777 } else { 0o777 }
    }

    /// Is there a directory that things can be put into?
    fn has_dir(&self, path: &Path) -> bool {
        let below = path != self.path && path.starts_with(&self.path);
        let meta = match self.exact && below {
            true => fs::symlink_metadata(path),
            false => fs::metadata(path),
        };
        meta.is_ok_and(|meta| meta.is_dir())
    }
}

/// No directory that leads from the target to `path`, which is below it, is a
/// link.
pub(super) fn is_direct(target: &Path, path: &str) -> bool {
    let Some((parent, _)) = path.rsplit_once('/') else {
        return true;
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(target) = rustix::fs::open(target, flags, Mode::empty()) else {
        return false;
    };
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    rustix::fs::openat2(target, parent, flags, Mode::empty(), how).is_ok()
}

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
pub(super) fn make_parents(target: &Target, path: &Path, owner: (u32, u32)) -> io::Result<()> {
    let Some(parent) = path.parent() else {
        return Ok(());
    };
    // What is above a directory may be a link all the same.
    let whole = target.exact && parent != target.path && parent.starts_with(&target.path);
    if !whole && target.has_dir(parent) {
        return Ok(());
    }
    make_parents(target, parent, owner)?;
    match target.has_dir(parent) {
        true => Ok(()),
        false => make_dir(target, parent, 0o755, owner),
    }
}

/// Makes one directory, also in place of something else.
pub(super) fn make_dir(
    target: &Target,
    path: &Path,
    mode: u32,
    owner: (u32, u32),
) -> io::Result<()> {
    match fs::DirBuilder::new().mode(mode).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // A link to a directory serves as well, if it need not be exact.
            if target.has_dir(path) {
                return Ok(());
            }
            fs::remove_file(path)?;
            fs::DirBuilder::new().mode(mode).create(path)?;
        }
        Err(error) => return Err(error),
    }
    chown(path, Some(owner.0), Some(owner.1))
}

//! Moving a file where rename(2) alone cannot.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::{Path, PathBuf};

use super::aside;

/// As rename(2), to another mount below the target (`EXDEV`).
pub(super) fn across(from: &Path, to: &Path) -> io::Result<()> {
    // Others may write to that mount, too.
    let mut beside = to.as_os_str().to_owned();
    beside.push(format!(".stack-sync-{}", aside::random_name()?));
    let beside = PathBuf::from(beside);
    let renamed = copy(from, &beside).and_then(|()| fs::rename(&beside, to));
    if renamed.is_err() {
        let _ = fs::remove_file(&beside);
    }
    renamed
}

/// A file that is itself a mount point (`EBUSY`) gets another content, time and mode.
pub(super) fn fill(from: &Path, to: &Path) -> io::Result<()> {
    let (meta, there) = (fs::symlink_metadata(from)?, fs::metadata(to)?);
    if meta.is_symlink() {
        return Err(io::Error::other("it is a mount point"));
    }
    let mut file = File::options().write(true).truncate(true).open(to)?;
    io::copy(&mut File::open(from)?, &mut file)?;
    if there.mode() != meta.mode() {
        file.set_permissions(meta.permissions())?;
    }
    file.set_modified(meta.modified()?)
}

/// A file or a link with all that matters of it.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let meta = fs::symlink_metadata(from)?;
    if meta.is_symlink() {
        return symlink(fs::read_link(from)?, to);
    }
    fs::copy(from, to)?;
    chown(to, Some(meta.uid()), Some(meta.gid()))?;
    fs::set_permissions(to, meta.permissions())?;
    let file = File::options().write(true).open(to)?;
    file.set_modified(meta.modified()?)
}

//! Removing a directory with what is in it, but nothing that is mounted there:
//! a volume, or files of the host.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Removes the directory at `path`, whatever is put into the place of something
/// in it meanwhile. Mount points stay, with the directories that lead to them,
/// and nothing else.
///
/// # Errors
/// There is a mount point; something cannot be removed.
pub(super) fn directory(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::other("it is the root"));
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = rustix::fs::open(parent, flags, Mode::empty())?;
    match inside(&parent, &CString::new(name.as_bytes())?)? {
        None => Ok(()),
        Some(mounted) if mounted.as_os_str() == name => {
            Err(io::Error::other("it is a mount point"))
        }
        Some(mounted) => Err(io::Error::other(format!(
            "it stays for the sake of what is mounted at {}",
            path.with_file_name(mounted).display()
        ))),
    }
}

/// Removes what `name` is in `parent`. A mount point that stays is given, relative to
/// `parent`.
pub(super) fn inside(parent: &OwnedFd, name: &CStr) -> io::Result<Option<PathBuf>> {
    let own = PathBuf::from(OsStr::from_bytes(name.to_bytes()));
    // A bind mount has the same device as what it is in: only the kernel can tell.
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let removed = match rustix::fs::openat2(parent, name, flags, Mode::empty(), how) {
        Ok(dir) => {
            let mut mounted = None;
            for name in names(&dir)? {
                if let Some(below) = inside(&dir, &name)? {
                    mounted.get_or_insert_with(|| own.join(below));
                }
            }
            if mounted.is_some() {
                return Ok(mounted);
            }
            rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
        }
        // A file or a link.
        Err(Errno::NOTDIR | Errno::LOOP) => rustix::fs::unlinkat(parent, name, AtFlags::empty()),
        Err(error) => Err(error),
    };
    match removed {
        Ok(()) | Err(Errno::NOENT) => Ok(None),
        // The second is what a file says that something is mounted on.
        Err(Errno::XDEV | Errno::BUSY) => Ok(Some(own)),
        Err(error) => Err(error.into()),
    }
}

/// What is in a directory.
pub(super) fn names(dir: &OwnedFd) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let name = entry?.file_name().to_owned();
        if !matches!(name.as_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    Ok(names)
}

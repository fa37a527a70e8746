//! Files below a directory, opened without following a symbolic link. Whoever
//! may write there (a service with a bind mount) can put a link in the place of
//! what was just looked at, and would be given any file of the user otherwise.
//! The directory itself is the user's word, and may be a link.

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat};

/// For directories that are only passed through, or read later.
#[cfg(target_os = "linux")]
const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
#[cfg(not(target_os = "linux"))]
const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

/// A pipe without a writer stops nobody.
const FILE: OFlags = OFlags::NONBLOCK
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// A directory that is held open.
#[derive(Debug)]
pub(crate) struct Dir(OwnedFd);

impl Dir {
    /// The one that everything is below; links on the way are followed.
    pub(crate) fn root(path: &Path) -> io::Result<Dir> {
        Ok(Dir(rustix::fs::open(path, DIRECTORY, Mode::empty())?))
    }

    /// One that is directly in this one.
    pub(crate) fn inside(&self, name: &str) -> io::Result<Dir> {
        let flags = DIRECTORY | OFlags::NOFOLLOW;
        let dir = rustix::fs::openat(&self.0, plain(name)?, flags, Mode::empty())?;
        Ok(Dir(dir))
    }

    /// The directory that the last name of `relative` is in, and that name.
    pub(crate) fn parent<'a>(root: &Path, relative: &'a str) -> io::Result<(Dir, &'a str)> {
        let mut dir = Dir::root(root)?;
        let mut rest = relative;
        while let Some((name, left)) = rest.split_once('/') {
            dir = dir.inside(name)?;
            rest = left;
        }
        Ok((dir, rest))
    }

    /// What is directly in it.
    pub(crate) fn names(&self) -> io::Result<Vec<OsString>> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let readable = rustix::fs::openat(&self.0, ".", flags, Mode::empty())?;
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::new(readable)? {
            let name = CString::from(entry?.file_name()).into_bytes();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name));
            }
        }
        Ok(names)
    }

    /// What this name is.
    pub(crate) fn stat(&self, name: &str) -> io::Result<Stat> {
        let stat = rustix::fs::statat(&self.0, plain(name)?, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(stat)
    }

    /// Where this link leads.
    pub(crate) fn link(&self, name: &str) -> io::Result<OsString> {
        let to = rustix::fs::readlinkat(&self.0, plain(name)?, Vec::new())?;
        Ok(OsString::from_vec(to.into_bytes()))
    }
}

/// Opens the regular file at `relative`, where "" is `root` itself.
pub(crate) fn file(root: &Path, relative: &str) -> io::Result<File> {
    let file = match relative {
        "" => rustix::fs::openat(CWD, root, FILE, Mode::empty())?,
        _ => {
            let (dir, name) = Dir::parent(root, relative)?;
            let flags = FILE | OFlags::NOFOLLOW;
            rustix::fs::openat(&dir.0, plain(name)?, flags, Mode::empty())?
        }
    };
    let mode = rustix::fs::fstat(&file)?.st_mode;
    match FileType::from_raw_mode(mode) {
        FileType::RegularFile => Ok(file.into()),
        _ => Err(io::Error::other("it is no regular file any more")),
    }
}

/// A name that stays in its directory.
fn plain(name: &str) -> io::Result<&str> {
    match name {
        "" | "." | ".." => Err(io::ErrorKind::InvalidInput.into()),
        name if name.contains('/') => Err(io::ErrorKind::InvalidInput.into()),
        name => Ok(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    #[test]
    fn no_link_below_the_root_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (secret, root) = (dir.path().join("secret"), dir.path().join("real"));
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::create_dir(&secret).unwrap();
        fs::write(secret.join("key"), "private").unwrap();
        fs::write(root.join("sub/a"), "text").unwrap();
        symlink("real", dir.path().join("root")).unwrap();
        symlink(&secret, root.join("out")).unwrap();
        symlink(secret.join("key"), root.join("sub/key")).unwrap();
        symlink("a", root.join("sub/b")).unwrap();
        let mode = Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(CWD, root.join("pipe"), mode).unwrap();

        // The root itself may be a link.
        let root = dir.path().join("root");
        let mut text = String::new();
        let mut a = file(&root, "sub/a").unwrap();
        a.read_to_string(&mut text).unwrap();
        assert_eq!(text, "text");
        for bad in [
            "out/key",
            "sub/key",
            "sub/b",
            "sub/../sub/a",
            "../secret/key",
            "pipe",
            "sub",
        ] {
            assert!(file(&root, bad).is_err(), "{bad}");
        }
        assert!(file(&root.join("sub/key"), "").is_ok());

        let (top, _) = Dir::parent(&root, "x").unwrap();
        assert!(top.inside("out").is_err());
        assert_eq!(top.inside("sub").unwrap().names().unwrap().len(), 3);
        assert_eq!(top.link("out").unwrap(), secret.into_os_string());
    }
}

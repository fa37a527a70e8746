//! Paths inside the service's root, which the image wrote and which may
//! hold symbolic links to anywhere: every step is resolved as if the root
//! were `/` (openat2(2), RESOLVE_IN_ROOT).

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// As many symbolic links as the kernel follows in one path.
const LINKS: usize = 40;

/// A directory whose inside is not trusted.
pub(crate) struct Root(File);

impl Root {
    /// Opens the directory.
    pub(crate) fn open(path: impl AsRef<Path>) -> io::Result<Root> {
        File::open(path).map(Root)
    }

    fn open_in(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = path.trim_start_matches('/');
        let path = if path.is_empty() { "." } else { path };
        let flags = flags | OFlags::CLOEXEC;
        rustix::fs::openat2(&self.0, path, flags, Mode::empty(), ResolveFlags::IN_ROOT)
    }

    /// What is at `path`.
    pub(crate) fn existing(&self, path: &str) -> io::Result<Target> {
        Ok(Target(self.open_in(path, OFlags::PATH)?))
    }

    /// The directory at `path`, made with its parents if need be.
    pub(crate) fn directory(&self, path: &str) -> io::Result<Target> {
        self.directory_by(path, LINKS)
    }

    fn directory_by(&self, path: &str, links: usize) -> io::Result<Target> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let mut here = self.open_in("", flags)?;
        let mut so_far = String::new();
        for part in path
            .split('/')
            .filter(|part| !part.is_empty() && *part != ".")
        {
            let parent = so_far.clone();
            so_far = format!("{so_far}/{part}");
            here = match self.open_in(&so_far, flags) {
                Err(Errno::NOENT) => match self.link(&parent, part) {
                    Some(target) if links > 0 => self.directory_by(&target, links - 1)?.0,
                    Some(_) => return Err(Errno::LOOP.into()),
                    None => {
                        let parent = self.open_in(&parent, flags)?;
                        rustix::fs::mkdirat(&parent, part, Mode::from_raw_mode(0o755))?;
                        self.open_in(&so_far, flags)?
                    }
                },
                other => other?,
            };
        }
        Ok(Target(here))
    }

    /// The file at `path`, made empty with its parents if need be.
    pub(crate) fn file(&self, path: &str) -> io::Result<Target> {
        self.file_by(path, LINKS)
    }

    fn file_by(&self, path: &str, links: usize) -> io::Result<Target> {
        if let Ok(found) = self.existing(path) {
            return Ok(found);
        }
        let (parent, name) = path
            .trim_end_matches('/')
            .rsplit_once('/')
            .unwrap_or(("", path));
        let dir = self.directory_by(parent, links)?;
        if let Some(target) = self.link(parent, name) {
            if links == 0 {
                return Err(Errno::LOOP.into());
            }
            return self.file_by(&target, links - 1);
        }
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&dir.0, name, flags, Mode::from_raw_mode(0o644))?;
        self.existing(path)
    }

    /// Where the symbolic link `name` in the directory `parent` leads, as a
    /// path inside the root.
    fn link(&self, parent: &str, name: &str) -> Option<String> {
        let dir = self
            .open_in(parent, OFlags::PATH | OFlags::DIRECTORY)
            .ok()?;
        let target = rustix::fs::readlinkat(&dir, name, Vec::new())
            .ok()?
            .into_string()
            .ok()?;
        if target.starts_with('/') {
            return Some(target);
        }
        Some(format!("{parent}/{target}"))
    }
}

/// Something inside a root, held open.
pub(crate) struct Target(OwnedFd);

impl Target {
    /// A path that leads exactly there, whatever happens to its name.
    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn root() -> (PathBuf, Root) {
        let name = format!(
            "within-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        );
        let dir = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(dir.join("root/etc")).unwrap();
        let root = Root::open(dir.join("root")).unwrap();
        (dir, root)
    }

    fn real(target: &Target) -> PathBuf {
        std::fs::read_link(target.path()).unwrap()
    }

    #[test]
    fn links_do_not_lead_out() {
        let (dir, root) = root();
        symlink("../../../../../../etc", dir.join("root/out")).unwrap();
        symlink("/etc", dir.join("root/abs")).unwrap();
        for path in ["/out/new", "/abs/new", "abs/../abs/new"] {
            assert_eq!(real(&root.file(path).unwrap()), dir.join("root/etc/new"));
        }
        assert_eq!(
            real(&root.directory("/abs/a/b").unwrap()),
            dir.join("root/etc/a/b")
        );
        assert_eq!(real(&root.directory("../../..").unwrap()), dir.join("root"));
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn what_a_dangling_link_names_is_made() {
        let (dir, root) = root();
        symlink("../run/stub/resolv.conf", dir.join("root/etc/resolv.conf")).unwrap();
        let made = root.file("/etc/resolv.conf").unwrap();
        assert_eq!(real(&made), dir.join("root/run/stub/resolv.conf"));
        symlink("/var/lib/data", dir.join("root/data")).unwrap();
        let made = root.directory("/data/inner").unwrap();
        assert_eq!(real(&made), dir.join("root/var/lib/data/inner"));
        symlink("loop", dir.join("root/loop")).unwrap();
        assert!(root.file("/loop").is_err());
        assert!(root.directory("/loop").is_err());
        std::fs::remove_dir_all(dir).unwrap();
    }
}

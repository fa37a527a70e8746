//! What entries' names are relative to.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::Unpack;

/// As many symbolic links as the kernel follows in one path.
const LINKS: usize = 40;

/// Where a stream goes, now that it is known what is there.
pub(super) struct Target {
    /// Where the tree, or what is in it, goes: nothing leads out of it.
    base: PathBuf,
    /// The first part of names stands for the base itself.
    skip: usize,
}

impl Target {
    /// `first`: the first part of the first name; `is_dir`: the tree is a
    /// directory.
    ///
    /// # Errors
    /// The order does not fit what is there.
    pub(super) fn new(order: &Unpack, first: Option<&PathBuf>, is_dir: bool) -> io::Result<Target> {
        let path = end_of_links(&order.path);
        let there = fs::metadata(&path).ok();
        let to_dir = there.as_ref().is_some_and(fs::Metadata::is_dir);
        let not_there = |path: &Path| {
            let message = format!("there is no directory {}", path.display());
            io::Error::new(io::ErrorKind::NotFound, message)
        };
        if !order.tree {
            return match to_dir {
                true => Ok(Target {
                    base: path,
                    skip: 0,
                }),
                false => Err(not_there(&path)),
            };
        }
        let slash = order.path.as_os_str().as_encoded_bytes().ends_with(b"/");
        if slash && there.is_none() && !is_dir {
            return Err(not_there(&path));
        }
        if is_dir && there.is_some() && !to_dir {
            let message = format!("{} is a file, not a directory", path.display());
            return Err(io::Error::new(io::ErrorKind::NotADirectory, message));
        }
        if to_dir && !order.contents {
            let base = match first {
                Some(first) => path.join(first),
                None => path,
            };
            return Ok(Target { base, skip: 1 });
        }
        let parent = path.parent().unwrap_or(Path::new("/"));
        if !parent.is_dir() {
            return Err(not_there(parent));
        }
        Ok(Target {
            base: path,
            skip: 1,
        })
    }

    /// Is this the tree itself?
    pub(super) fn is_base(&self, path: &Path) -> bool {
        path == self.base
    }

    /// Where an entry goes; its directories are made. A symbolic link on the
    /// way there is not followed.
    ///
    /// # Errors
    /// Something else is in the place of a directory.
    pub(super) fn place(&self, parts: &[PathBuf]) -> io::Result<PathBuf> {
        let mut path = self.base.clone();
        let inner = parts.get(self.skip..).unwrap_or_default();
        for part in inner {
            match fs::symlink_metadata(&path) {
                Ok(meta) if meta.is_dir() => {}
                Ok(_) => {
                    let message = format!("{} is not a directory", path.display());
                    return Err(io::Error::new(io::ErrorKind::NotADirectory, message));
                }
                Err(_) => DirBuilder::new().mode(0o755).create(&path)?,
            }
            path.push(part);
        }
        Ok(path)
    }
}

/// Where symbolic links lead, also to what is not there yet.
fn end_of_links(path: &Path) -> PathBuf {
    let mut path = path.to_path_buf();
    for _ in 0..LINKS {
        let Ok(to) = fs::read_link(&path) else {
            break;
        };
        path = path.parent().unwrap_or(Path::new("/")).join(to);
    }
    path
}

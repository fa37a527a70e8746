//! From a stream to a tree.

mod place;
mod target;

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use crate::attributes::Which;
use crate::memory;
use crate::stream::Stream;
use place::{Directory, place, touch};
use target::Target;

/// Longest chain of directories of one entry.
const DEEPEST: usize = 256;

/// Where a stream goes.
#[derive(Debug, Clone, Default)]
pub struct Unpack {
    /// Absolute path. When it is a symbolic link, what that leads to.
    pub path: PathBuf,
    /// The stream has one tree, which is called `path` when there is nothing
    /// yet, or a file; when `path` is a directory it goes into that. Else the
    /// stream is unpacked into `path`, a directory that is there.
    pub tree: bool,
    /// What the tree is called. A stream that has anything else is refused:
    /// whoever wrote it does not choose what is written here. Without it, any
    /// name will do.
    pub name: Option<OsString>,
    /// The tree's contents go into `path` itself, which is made if need be.
    pub contents: bool,
    /// Owners are those of the stream.
    pub owners: bool,
    /// Directories that are there get owners, modes and attributes of the stream,
    /// too: also `path` itself, from the entry `./`.
    pub directories: bool,
    /// Extended attributes and bits of modes that are taken over.
    pub attributes: Which,
    /// What would come to lie in memory is refused: the machine ends with the copy.
    pub lasting: bool,
}

impl Unpack {
    /// Is the entry of the tree that was asked for?
    fn wants(&self, parts: &[PathBuf]) -> bool {
        match &self.name {
            Some(name) if self.tree => parts.first().is_some_and(|first| first == name),
            _ => true,
        }
    }
}

/// Unpacks.
///
/// # Errors
/// The stream is no tar stream, an entry would end up elsewhere or was not asked
/// for, the directory that it goes into is not there, or something cannot be
/// written.
pub fn unpack(order: &Unpack, from: impl Read) -> io::Result<()> {
    let mut stream = Stream::new(from);
    let mut directories: Vec<Directory> = Vec::new();
    let mut target: Option<Target> = None;
    while let Some(mut entry) = stream.next()? {
        entry.mode = order.attributes.mode(entry.mode);
        let parts = parts(&entry.name)?;
        if !order.wants(&parts) {
            let message = format!("{} was not asked for", entry.name.display());
            return Err(io::Error::other(message));
        }
        let target = match &target {
            Some(target) => target,
            None => {
                let is_dir = entry.what == crate::stream::What::Directory;
                target.insert(Target::new(
                    order,
                    parts.first(),
                    is_dir || parts.len() > 1,
                )?)
            }
        };
        let path = target.place(&parts)?;
        if order.lasting && !lasts(&path)? {
            // One of those that are mounted, as /etc/hosts, among others.
            if !parts.is_empty() && is_mounted(&path)? {
                continue;
            }
            return Err(io::Error::other(format!(
                "{} is in memory: it is there only while the container runs, so start it first",
                path.display()
            )));
        }
        place(
            &entry,
            &mut stream.contents(),
            &path,
            target,
            order,
            &mut directories,
        )
        .map_err(|error| about(&entry.name, error))?;
    }
    // Last, as a directory may not be writable.
    for (path, mode, time) in directories.iter().rev() {
        fs::set_permissions(path, Permissions::from_mode(*mode))?;
        touch(path, *time)?;
    }
    Ok(())
}

/// Is what is written at the path on a disk?
fn lasts(path: &Path) -> io::Result<bool> {
    // A file may be mounted itself; a directory that is there is not written to.
    let at = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => return Ok(true),
        Ok(meta) if meta.is_file() => path,
        _ => path.parent().unwrap_or(Path::new("/")),
    };
    Ok(!memory::is_fleeting(at)?)
}

/// A file that is there, in a directory of another file system.
fn is_mounted(path: &Path) -> io::Result<bool> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let (Ok(file), Ok(parent)) = (fs::symlink_metadata(path), fs::metadata(parent)) else {
        return Ok(false);
    };
    Ok(file.is_file() && file.dev() != parent.dev())
}

fn about(name: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", name.display()))
}

/// The names on the way to an entry.
fn parts(name: &Path) -> io::Result<Vec<PathBuf>> {
    let mut parts = Vec::new();
    for component in name.components() {
        match component {
            Component::Normal(part) => parts.push(PathBuf::from(part)),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                let message = format!("the entry {} leads out of its directory", name.display());
                return Err(io::Error::other(message));
            }
        }
    }
    if parts.len() > DEEPEST {
        return Err(io::Error::other("an entry is too deep"));
    }
    Ok(parts)
}

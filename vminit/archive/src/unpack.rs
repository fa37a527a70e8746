//! From a stream to a tree.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, lchown};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps};
use tar::{Archive, Entry, EntryType};

/// Longest chain of directories of one entry.
const DEEPEST: usize = 256;

/// Where a stream goes.
#[derive(Debug, Clone, Default)]
pub struct Unpack {
    /// Absolute path.
    pub path: PathBuf,
    /// The stream has one tree, which is called `path` when there is nothing
    /// yet, or a file; when `path` is a directory it goes into that. Else the
    /// stream is unpacked into `path`, a directory that is there.
    pub tree: bool,
    /// The tree's contents go into `path` itself, which is made if need be.
    pub contents: bool,
    /// Owners are those of the stream.
    pub owners: bool,
}

/// Unpacks.
///
/// # Errors
/// The stream is no tar stream, an entry would end up elsewhere, the
/// directory that it goes into is not there, or something cannot be written.
pub fn unpack(order: &Unpack, from: impl Read) -> io::Result<()> {
    let mut archive = Archive::new(from);
    let mut directories = Vec::new();
    let mut target: Option<Target> = None;
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = entry.path()?.into_owned();
        let parts = parts(&name)?;
        let target = match &target {
            Some(target) => target,
            None => {
                let is_dir = entry.header().entry_type().is_dir();
                target.insert(Target::new(
                    order,
                    parts.first(),
                    is_dir || parts.len() > 1,
                )?)
            }
        };
        let path = target.place(&parts)?;
        place(&mut entry, &path, target, order, &mut directories)
            .map_err(|error| about(&name, error))?;
    }
    // Last, as a directory may not be writable.
    for (path, mode, time) in directories.iter().rev() {
        fs::set_permissions(path, Permissions::from_mode(*mode))?;
        touch(path, *time)?;
    }
    Ok(())
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

/// What entries' names are relative to.
struct Target {
    /// Where the tree, or what is in it, goes: nothing leads out of it.
    base: PathBuf,
    /// The first part of names stands for the base itself.
    skip: usize,
    /// The base was there before: it may be a link to a directory.
    known: bool,
}

impl Target {
    fn new(order: &Unpack, first: Option<&PathBuf>, is_dir: bool) -> io::Result<Target> {
        let path = &order.path;
        let there = fs::metadata(path).ok();
        let to_dir = there.as_ref().is_some_and(fs::Metadata::is_dir);
        let not_there = |path: &Path| {
            let message = format!("there is no directory {}", path.display());
            io::Error::new(io::ErrorKind::NotFound, message)
        };
        if !order.tree {
            let base = path.clone();
            return if to_dir {
                Ok(Target {
                    base,
                    skip: 0,
                    known: true,
                })
            } else {
                Err(not_there(path))
            };
        }
        let slash = path.as_os_str().as_encoded_bytes().ends_with(b"/");
        if slash && there.is_none() && !is_dir {
            return Err(not_there(path));
        }
        if is_dir && there.is_some() && !to_dir {
            let message = format!("{} is a file, not a directory", path.display());
            return Err(io::Error::new(io::ErrorKind::NotADirectory, message));
        }
        if to_dir && !order.contents {
            let base = match first {
                Some(first) => path.join(first),
                None => path.clone(),
            };
            return Ok(Target {
                base,
                skip: 1,
                known: false,
            });
        }
        let parent = path.parent().unwrap_or(Path::new("/"));
        if !parent.is_dir() {
            return Err(not_there(parent));
        }
        Ok(Target {
            base: path.clone(),
            skip: 1,
            known: to_dir,
        })
    }

    /// Where an entry goes; its directories are made. A symbolic link on the
    /// way there is not followed.
    fn place(&self, parts: &[PathBuf]) -> io::Result<PathBuf> {
        let mut path = self.base.clone();
        let inner = parts.get(self.skip..).unwrap_or_default();
        for part in inner {
            match fs::symlink_metadata(&path) {
                Ok(meta) if meta.is_dir() => {}
                Ok(_) if self.known && path == self.base && path.is_dir() => {}
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

type Directory = (PathBuf, u32, u64);

fn place(
    entry: &mut Entry<'_, impl Read>,
    path: &Path,
    target: &Target,
    order: &Unpack,
    directories: &mut Vec<Directory>,
) -> io::Result<()> {
    let kind = entry.header().entry_type();
    let mode = entry.header().mode()? & 0o7777;
    let time = entry.header().mtime()?;
    let there = fs::symlink_metadata(path).ok();
    if kind.is_dir() {
        let is_base = target.known && path == target.base;
        match there {
            Some(meta) if meta.is_dir() || (is_base && path.is_dir()) => {
                // What was there before keeps its attributes.
                return Ok(());
            }
            Some(_) => {
                let message = "a file is in the place of a directory";
                return Err(io::Error::new(io::ErrorKind::NotADirectory, message));
            }
            None => DirBuilder::new().mode(0o700).create(path)?,
        }
        directories.push((path.to_path_buf(), mode, time));
        return own(entry, path, order);
    }
    if let Some(meta) = there {
        if meta.is_dir() {
            let message = "a directory is in the place of a file";
            return Err(io::Error::new(io::ErrorKind::IsADirectory, message));
        }
        if !kind.is_file() {
            fs::remove_file(path)?;
        }
    }
    match kind {
        EntryType::Symlink => {
            let to = link(entry)?;
            std::os::unix::fs::symlink(to, path)?;
            return own(entry, path, order);
        }
        EntryType::Link => {
            let to = target.place(&parts(&link(entry)?)?)?;
            if !fs::symlink_metadata(&to)?.is_file() {
                return Err(io::Error::other("a hard link to what is not a file"));
            }
            return fs::hard_link(to, path);
        }
        EntryType::Fifo | EntryType::Char | EntryType::Block => node(entry, path, kind, mode)?,
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            write(entry, path)?;
        }
        // Extensions that the reader has taken, and those of other programs.
        _ => return Ok(()),
    }
    own(entry, path, order)?;
    // After the owner, whose change takes set-id bits away.
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    touch(path, time)
}

fn link(entry: &Entry<'_, impl Read>) -> io::Result<PathBuf> {
    let name = entry.link_name()?;
    name.map(std::borrow::Cow::into_owned)
        .ok_or_else(|| io::Error::other("a link to nowhere"))
}

/// A file is written anew: who has the old one open, or mounted, goes on with
/// it being the same.
fn write(entry: &mut Entry<'_, impl Read>, path: &Path) -> io::Result<()> {
    let is_link = fs::symlink_metadata(path).is_ok_and(|meta| !meta.is_file());
    if is_link {
        fs::remove_file(path)?;
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)?;
    io::copy(entry, &mut file)?;
    Ok(())
}

fn node(entry: &Entry<'_, impl Read>, path: &Path, kind: EntryType, mode: u32) -> io::Result<()> {
    let header = entry.header();
    let number = |part: Option<u32>| part.unwrap_or(0);
    let device = rustix::fs::makedev(
        number(header.device_major()?),
        number(header.device_minor()?),
    );
    let (kind, device) = match kind {
        EntryType::Char => (FileType::CharacterDevice, device),
        EntryType::Block => (FileType::BlockDevice, device),
        _ => (FileType::Fifo, 0),
    };
    rustix::fs::mknodat(CWD, path, kind, Mode::from_raw_mode(mode), device)?;
    Ok(())
}

fn own(entry: &Entry<'_, impl Read>, path: &Path, order: &Unpack) -> io::Result<()> {
    if !order.owners {
        return Ok(());
    }
    let id = |id: u64| u32::try_from(id).map_err(io::Error::other);
    let (uid, gid) = (id(entry.header().uid()?)?, id(entry.header().gid()?)?);
    lchown(path, Some(uid), Some(gid))
}

fn touch(path: &Path, seconds: u64) -> io::Result<()> {
    let time = Timespec {
        tv_sec: i64::try_from(seconds).unwrap_or(0),
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}

//! From a tree to a stream.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags};

use crate::attributes::Which;
use crate::entry::{Entries, unless_gone};
use crate::memory;

/// What is packed.
#[derive(Debug, Clone, Default)]
pub struct Pack {
    /// A file or directory.
    pub path: PathBuf,
    /// What it is called in the stream; empty for the contents of a
    /// directory.
    pub name: String,
    /// The contents of a directory begin with the directory itself, as `./`.
    pub top: bool,
    /// When it is a symbolic link, what that leads to is packed.
    pub follow: bool,
    /// What is mounted somewhere in it is packed empty: directories and files. What the
    /// kernel makes up (`/dev`, `/proc`, `/sys`) always is, unless the path is in it.
    pub one_file_system: bool,
    /// Extended attributes that go along.
    pub attributes: Which,
}

/// Packs; sockets are left out, as nobody could use them elsewhere, and so is what goes
/// while the rest is packed.
///
/// # Errors
/// A file cannot be read, the stream cannot be written, or there is no
/// directory whose contents are asked for.
pub fn pack(order: &Pack, to: impl Write) -> io::Result<()> {
    let mut entries = Entries::new(to, order.attributes);
    let filled = fill(&mut entries, order);
    entries.end(filled)
}

fn fill(entries: &mut Entries<impl Write>, order: &Pack) -> io::Result<()> {
    let meta = if order.follow {
        fs::metadata(&order.path)
    } else {
        fs::symlink_metadata(&order.path)
    };
    let meta = meta.map_err(|error| explain(&order.path, error))?;
    if order.name.is_empty() && !meta.is_dir() {
        return Err(explain(
            &order.path,
            io::Error::new(io::ErrorKind::NotADirectory, "it is not a directory"),
        ));
    }
    let name = PathBuf::from(&order.name);
    let put = match (order.name.is_empty(), order.top) {
        (true, false) => Ok(()),
        (true, true) => entries.put(&order.path, Path::new("."), &meta),
        (false, _) if meta.file_type().is_socket() => Ok(()),
        (false, _) => entries.put(&order.path, &name, &meta),
    };
    put.map_err(|error| explain(&order.path, error))?;
    if !meta.is_dir() {
        return Ok(());
    }
    let own = mount(&order.path, AtFlags::empty()).map_err(|error| explain(&order.path, error))?;
    let mut ahead = vec![Level::read(&order.path, name)?];
    while let Some(level) = ahead.last_mut() {
        let Some((path, name)) = level.next() else {
            ahead.pop();
            continue;
        };
        let failed = |error: io::Error| explain(&path, error);
        let looked = fs::symlink_metadata(&path);
        let Some(meta) = unless_gone(looked).map_err(failed)? else {
            continue;
        };
        if meta.file_type().is_socket() {
            continue;
        }
        let Some(elsewhere) = unless_gone(elsewhere(order, own, &path, &meta)).map_err(failed)?
        else {
            continue;
        };
        let put = match elsewhere && !meta.is_dir() {
            true => entries.put_empty(&name, &meta),
            false => entries.put(&path, &name, &meta),
        };
        put.map_err(failed)?;
        if meta.is_dir() && !elsewhere {
            ahead.push(Level::read(&path, name)?);
        }
    }
    Ok(())
}

/// What is left of a directory: names only, for there may be a million, and looking at
/// them comes when it is their turn.
struct Level {
    path: PathBuf,
    /// In the stream.
    name: PathBuf,
    /// The last one goes first.
    inside: Vec<OsString>,
}

impl Level {
    /// One that has gone meanwhile has nothing in it.
    fn read(path: &Path, name: PathBuf) -> io::Result<Level> {
        let names = || {
            fs::read_dir(path)?
                .map(|child| Ok(child?.file_name()))
                .collect()
        };
        let inside: io::Result<Vec<OsString>> = names();
        let inside = unless_gone(inside).map_err(|error| explain(path, error))?;
        let mut inside = inside.unwrap_or_default();
        inside.sort_unstable_by(|a, b| b.cmp(a));
        Ok(Level {
            path: path.to_path_buf(),
            name,
            inside,
        })
    }

    fn next(&mut self) -> Option<(PathBuf, PathBuf)> {
        let child = self.inside.pop()?;
        Some((self.path.join(&child), self.name.join(&child)))
    }
}

/// Is it left empty, as it is mounted there? What the kernel makes up is not copied with
/// what is above it, and has no end.
fn elsewhere(order: &Pack, own: u64, path: &Path, meta: &Metadata) -> io::Result<bool> {
    if !order.one_file_system && !meta.is_dir() {
        return Ok(false);
    }
    if mount(path, AtFlags::SYMLINK_NOFOLLOW)? == own {
        return Ok(false);
    }
    Ok(order.one_file_system || memory::is_made_up(path)?)
}

fn explain(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// The mount that something is in, or is itself.
fn mount(path: &Path, flags: AtFlags) -> io::Result<u64> {
    let stat = rustix::fs::statx(CWD, path, flags, StatxFlags::MNT_ID)?;
    Ok(stat.stx_mnt_id)
}

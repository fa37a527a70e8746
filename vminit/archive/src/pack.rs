//! From a tree to a stream.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags};

use crate::attributes::Which;
use crate::entry::Entries;

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
    /// What is mounted somewhere in it is packed empty: directories and files.
    pub one_file_system: bool,
    /// Extended attributes that go along.
    pub attributes: Which,
}

/// Packs; sockets are left out, as nobody could use them elsewhere.
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
    let own = match order.one_file_system {
        true => Some(mount(&order.path, AtFlags::empty())?),
        false => None,
    };
    let mut ahead = vec![(order.path.clone(), PathBuf::from(&order.name), meta)];
    while let Some((path, name, meta)) = ahead.pop() {
        let is_top = path == order.path;
        if meta.file_type().is_socket() {
            continue;
        }
        let elsewhere = match own {
            Some(own) if !is_top => match mount(&path, AtFlags::SYMLINK_NOFOLLOW) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other.map_err(|error| explain(&path, error))? != own,
            },
            _ => false,
        };
        let put = match name.as_os_str().is_empty() {
            true if !order.top => Ok(()),
            true => entries.put(&path, Path::new("."), &meta),
            false if elsewhere && !meta.is_dir() => entries.put_empty(&name, &meta),
            false => entries.put(&path, &name, &meta),
        };
        put.map_err(|error| explain(&path, error))?;
        if !meta.is_dir() || elsewhere {
            continue;
        }
        let mut inside = Vec::new();
        for child in fs::read_dir(&path).map_err(|error| explain(&path, error))? {
            let child = child?;
            match child.metadata() {
                Ok(meta) => inside.push((child.path(), name.join(child.file_name()), meta)),
                // It has gone meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(explain(&child.path(), error)),
            }
        }
        // The last one goes first.
        inside.sort_by(|a, b| b.0.cmp(&a.0));
        ahead.append(&mut inside);
    }
    Ok(())
}

fn explain(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// The mount that something is in, or is itself.
fn mount(path: &Path, flags: AtFlags) -> io::Result<u64> {
    let stat = rustix::fs::statx(CWD, path, flags, StatxFlags::MNT_ID)?;
    Ok(stat.stx_mnt_id)
}

//! Puts one entry where it goes. What is there already is not written to but
//! replaced, by what is complete: who has it open or runs it goes on with it.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Timespec, Timestamps};

use super::target::Target;
use super::{Unpack, parts};
use crate::attributes;
use crate::stream::{Entry, Holes, What};

/// A block of zeros of this size, in bytes, becomes a hole.
const BLOCK: usize = 4096;
static ZEROS: [u8; BLOCK] = [0; BLOCK];

/// A directory whose mode and time are still to be set.
pub(super) type Directory = (PathBuf, u32, u64);

/// Puts an entry at `path`.
///
/// # Errors
/// It cannot be written, or a directory is in the place of a file or the other
/// way round.
pub(super) fn place(
    entry: &Entry,
    contents: &mut impl Read,
    path: &Path,
    target: &Target,
    order: &Unpack,
    directories: &mut Vec<Directory>,
) -> io::Result<()> {
    let there = fs::symlink_metadata(path).ok();
    let is_dir = there.as_ref().is_some_and(Metadata::is_dir);
    if entry.what == What::Directory {
        match there {
            // What was there before keeps its attributes.
            Some(_) if is_dir && !order.directories => return Ok(()),
            Some(_) if is_dir => {}
            Some(_) => {
                let message = "a file is in the place of a directory";
                return Err(io::Error::new(io::ErrorKind::NotADirectory, message));
            }
            None => DirBuilder::new().mode(0o700).create(path)?,
        }
        own(entry, path, order)?;
        attributes::set(path, &entry.attributes, order.attributes)?;
        directories.push((path.to_path_buf(), entry.mode, entry.modified));
        return Ok(());
    }
    if is_dir {
        let message = "a directory is in the place of a file";
        return Err(io::Error::new(io::ErrorKind::IsADirectory, message));
    }
    match &entry.what {
        // A device that the user has named, or a pipe.
        What::File(_) if target.is_base(path) && there.as_ref().is_some_and(is_node) => {
            let mut node = OpenOptions::new().write(true).open(path)?;
            io::copy(contents, &mut node).map(drop)
        }
        What::File(holes) => {
            let content = Content { contents, holes };
            file(entry, content, path, there.as_ref(), order)
        }
        What::Link(to) => {
            let to = target.place(&parts(to)?)?;
            if fs::symlink_metadata(&to)?.is_dir() {
                return Err(io::Error::other("a hard link to a directory"));
            }
            if to == path {
                return Ok(());
            }
            // A symbolic link gets a second name like any file: it is not followed.
            instead(path, there.is_some(), |at| fs::hard_link(&to, at))
        }
        What::Symlink(to) => instead(path, there.is_some(), |at| {
            symlink(to, at)?;
            own(entry, at, order)?;
            attributes::set(at, &entry.attributes, order.attributes)
        }),
        What::Fifo | What::Char(..) | What::Block(..) => instead(path, there.is_some(), |at| {
            node(entry, at)?;
            finish(entry, at, order)
        }),
        // Extensions that the reader has taken, and those of other programs.
        What::Directory | What::Unknown => Ok(()),
    }
}

fn is_node(meta: &Metadata) -> bool {
    !meta.is_file() && !meta.is_symlink()
}

/// Makes something in the place of what is there.
fn instead(path: &Path, there: bool, make: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    if !there {
        return make(path);
    }
    let aside = aside(path);
    remove(&aside)?;
    let made = make(&aside).and_then(|()| fs::rename(&aside, path));
    // One name of a file over another of it: rename(2) leaves both.
    remove(&aside)?;
    made
}

/// A name beside `path` that nobody else uses.
fn aside(path: &Path) -> PathBuf {
    path.with_file_name(format!(".stack-{}.partial", std::process::id()))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn file(
    entry: &Entry,
    content: Content<'_, impl Read>,
    path: &Path,
    there: Option<&Metadata>,
    order: &Unpack,
) -> io::Result<()> {
    let Some(there) = there else {
        content.write(&create(path)?)?;
        return finish(entry, path, order);
    };
    let aside = aside(path);
    remove(&aside).or_else(|error| match is_closed(&error) {
        true => Ok(()),
        false => Err(error),
    })?;
    let file = match create(&aside) {
        // Nothing can take its place here, but it can be written.
        Err(error) if is_closed(&error) && there.is_file() => {
            content.write(&overwrite(path)?)?;
            return finish(entry, path, order);
        }
        file => file?,
    };
    let written = content
        .write(&file)
        .and_then(|()| finish(entry, &aside, order));
    let placed = written.and_then(|()| match fs::rename(&aside, path) {
        // What is mounted at the path, or another's in a directory like `/tmp`, can only
        // be written, not renamed over.
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy || is_closed(&error) => {
            let mut from = File::open(&aside)?;
            io::copy(&mut from, &mut overwrite(path)?)?;
            finish(entry, path, order)
        }
        renamed => renamed,
    });
    if placed.is_err() || aside.exists() {
        remove(&aside)?;
    }
    placed
}

fn create(path: &Path) -> io::Result<File> {
    let mut new = OpenOptions::new();
    new.write(true).create_new(true).mode(0o600).open(path)
}

fn overwrite(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    let mut old = OpenOptions::new();
    old.write(true)
        .truncate(true)
        .custom_flags(flags)
        .open(path)
}

/// The folder takes no new file.
fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem)
}

/// What a file is to have.
struct Content<'a, R> {
    contents: &'a mut R,
    holes: &'a Option<Holes>,
}

impl<R: Read> Content<'_, R> {
    /// Writes it into an empty file; zeros become holes.
    fn write(self, file: &File) -> io::Result<()> {
        let size = match self.holes {
            None => sparse(self.contents, file, 0)?,
            Some(holes) => {
                for region in &holes.regions {
                    let mut data = self.contents.by_ref().take(region.length);
                    sparse(&mut data, file, region.offset)?;
                }
                holes.size
            }
        };
        file.set_len(size)
    }
}

/// Writes what is read from `at` on, and says where it ends.
fn sparse(from: &mut impl Read, file: &File, mut at: u64) -> io::Result<u64> {
    let mut buffer = vec![0; 16 * BLOCK];
    loop {
        // Whole blocks, as long as there are.
        let mut length = 0;
        while length < buffer.len() {
            match from.read(&mut buffer[length..]) {
                Ok(0) => break,
                Ok(read) => length += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let is_zero = |block: &[u8]| *block == ZEROS[..block.len()];
        let mut rest = &buffer[..length];
        while !rest.is_empty() {
            let hole = is_zero(&rest[..rest.len().min(BLOCK)]);
            let alike = rest.chunks(BLOCK).take_while(|b| is_zero(b) == hole);
            let run: usize = alike.map(<[u8]>::len).sum();
            if !hole {
                file.write_all_at(&rest[..run], at)?;
            }
            at += run as u64;
            rest = &rest[run..];
        }
        if length < buffer.len() {
            return Ok(at);
        }
    }
}

fn node(entry: &Entry, path: &Path) -> io::Result<()> {
    let (kind, device) = match entry.what {
        What::Char(major, minor) => (FileType::CharacterDevice, (major, minor)),
        What::Block(major, minor) => (FileType::BlockDevice, (major, minor)),
        _ => (FileType::Fifo, (0, 0)),
    };
    let device = rustix::fs::makedev(device.0, device.1);
    rustix::fs::mknodat(CWD, path, kind, Mode::from_raw_mode(entry.mode), device)?;
    Ok(())
}

/// Owner, attributes, mode and time of what is no directory.
fn finish(entry: &Entry, path: &Path, order: &Unpack) -> io::Result<()> {
    own(entry, path, order)?;
    // After the owner, whose change takes set-id bits and capabilities away.
    attributes::set(path, &entry.attributes, order.attributes)?;
    fs::set_permissions(path, Permissions::from_mode(entry.mode))?;
    touch(path, entry.modified)
}

fn own(entry: &Entry, path: &Path, order: &Unpack) -> io::Result<()> {
    if !order.owners {
        return Ok(());
    }
    let id = |id: u64| u32::try_from(id).map_err(io::Error::other);
    lchown(path, Some(id(entry.uid)?), Some(id(entry.gid)?))
}

/// Sets both times of a file: seconds since the epoch.
pub(super) fn touch(path: &Path, seconds: u64) -> io::Result<()> {
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

//! From a tree to a stream.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};

/// What is packed.
#[derive(Debug, Clone, Default)]
pub struct Pack {
    /// A file or directory.
    pub path: PathBuf,
    /// What it is called in the stream; empty for the contents of a
    /// directory.
    pub name: String,
    /// When it is a symbolic link, what that leads to is packed.
    pub follow: bool,
    /// Directories on other file systems are packed without what is in them.
    pub one_file_system: bool,
}

/// Packs; sockets are left out, as nobody could use them elsewhere.
///
/// # Errors
/// A file cannot be read, or the stream cannot be written.
pub fn pack(order: &Pack, to: impl Write) -> io::Result<()> {
    let mut builder = Builder::new(to);
    match fill(&mut builder, order) {
        Ok(()) => {
            builder.finish()?;
            builder.get_mut().flush()
        }
        Err(error) => {
            // Dropping it would write an end, and half a stream would pass
            // for a whole one.
            std::mem::forget(builder);
            Err(error)
        }
    }
}

fn fill(builder: &mut Builder<impl Write>, order: &Pack) -> io::Result<()> {
    builder.follow_symlinks(false);
    let meta = if order.follow {
        fs::metadata(&order.path)
    } else {
        fs::symlink_metadata(&order.path)
    };
    let meta = meta.map_err(|error| explain(&order.path, error))?;
    let device = order.one_file_system.then(|| meta.dev());
    let mut ahead = vec![(order.path.clone(), PathBuf::from(&order.name), meta)];
    while let Some((path, name, meta)) = ahead.pop() {
        if meta.file_type().is_socket() {
            continue;
        }
        if !name.as_os_str().is_empty() {
            entry(builder, &path, &name, &meta).map_err(|error| explain(&path, error))?;
        }
        if !meta.is_dir() || device.is_some_and(|device| device != meta.dev()) {
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

fn entry(
    builder: &mut Builder<impl Write>,
    path: &Path,
    name: &Path,
    meta: &Metadata,
) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_metadata(meta);
    let kind = meta.file_type();
    if kind.is_file() {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        let data = Exactly {
            file,
            left: meta.len(),
        };
        return builder.append_data(&mut header, name, data);
    }
    header.set_size(0);
    if kind.is_symlink() {
        return builder.append_link(&mut header, name, fs::read_link(path)?);
    }
    if kind.is_fifo() {
        header.set_entry_type(EntryType::Fifo);
    } else if kind.is_char_device() || kind.is_block_device() {
        header.set_entry_type(if kind.is_char_device() {
            EntryType::Char
        } else {
            EntryType::Block
        });
        header.set_device_major(rustix::fs::major(meta.rdev()))?;
        header.set_device_minor(rustix::fs::minor(meta.rdev()))?;
    }
    if kind.is_dir() {
        // With a slash at its end, as every tar writes it.
        return builder.append_data(&mut header, name.join(""), io::empty());
    }
    builder.append_data(&mut header, name, io::empty())
}

/// As many bytes as were announced: a file may grow or shrink while it is
/// read. What is missing is zero.
pub(crate) struct Exactly {
    file: File,
    left: u64,
}

impl Exactly {
    pub(crate) fn new(file: File, left: u64) -> Exactly {
        Exactly { file, left }
    }
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let most = most.min(buffer.len());
        let buffer = &mut buffer[..most];
        if buffer.is_empty() {
            return Ok(0);
        }
        let read = match self.file.read(buffer)? {
            0 => {
                buffer.fill(0);
                buffer.len()
            }
            read => read,
        };
        self.left -= read as u64;
        Ok(read)
    }
}

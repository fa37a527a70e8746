//! The entries of a stream that is written.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};

use crate::attributes::{self, Which};

/// Attributes of PAX headers, by GNU tar and everybody since.
const PAX_XATTR: &str = "SCHILY.xattr.";

/// A stream that is being written.
pub(crate) struct Entries<W: Write> {
    builder: Builder<W>,
    which: Which,
    /// The first names of files with several: by device and inode.
    links: HashMap<(u64, u64), PathBuf>,
}

impl<W: Write> Entries<W> {
    pub(crate) fn new(to: W, which: Which) -> Entries<W> {
        let mut builder = Builder::new(to);
        builder.follow_symlinks(false);
        Entries {
            builder,
            which,
            links: HashMap::new(),
        }
    }

    /// Ends the stream after `filled`.
    ///
    /// # Errors
    /// Those of `filled`, and of the writer.
    pub(crate) fn end(mut self, filled: io::Result<()>) -> io::Result<()> {
        match filled {
            Ok(()) => {
                self.builder.finish()?;
                self.builder.get_mut().flush()
            }
            Err(error) => {
                // Dropping it would write an end, and half a stream would pass
                // for a whole one.
                std::mem::forget(self.builder);
                Err(error)
            }
        }
    }

    /// Writes what is at `path` under `name`, without what is in a directory. What
    /// has gone is left out.
    ///
    /// # Errors
    /// It cannot be read, or the stream cannot be written.
    pub(crate) fn put(&mut self, path: &Path, name: &Path, meta: &Metadata) -> io::Result<()> {
        let mut header = header(meta);
        let kind = meta.file_type();
        let inode = (meta.dev(), meta.ino());
        let linked = !meta.is_dir() && meta.nlink() > 1;
        if linked && let Some(first) = self.links.get(&inode) {
            header.set_entry_type(EntryType::Link);
            header.set_size(0);
            return self.builder.append_link(&mut header, name, first);
        }
        let Some(file) = unless_gone(kind.is_file().then(|| File::open(path)).transpose())? else {
            return Ok(());
        };
        let Some(to) = unless_gone(kind.is_symlink().then(|| fs::read_link(path)).transpose())?
        else {
            return Ok(());
        };
        self.attributes(path)?;
        if let Some(file) = file {
            // Another file may have come in its place since it was looked at.
            let left = file.metadata()?.len();
            header.set_size(left);
            let content = Exactly { file, left };
            self.builder.append_data(&mut header, name, content)?;
        } else if let Some(to) = to {
            header.set_size(0);
            self.builder.append_link(&mut header, name, to)?;
        } else if kind.is_dir() {
            header.set_size(0);
            // With a slash at its end, as every tar writes it.
            let name = name.join("");
            self.builder.append_data(&mut header, name, io::empty())?;
        } else {
            header.set_size(0);
            if kind.is_fifo() {
                header.set_entry_type(EntryType::Fifo);
            } else {
                header.set_entry_type(match kind.is_char_device() {
                    true => EntryType::Char,
                    false => EntryType::Block,
                });
                header.set_device_major(rustix::fs::major(meta.rdev()))?;
                header.set_device_minor(rustix::fs::minor(meta.rdev()))?;
            }
            self.builder.append_data(&mut header, name, io::empty())?;
        }
        if linked {
            self.links.insert(inode, name.to_path_buf());
        }
        Ok(())
    }

    /// Writes an empty file with the owner and the mode of another one.
    ///
    /// # Errors
    /// The stream cannot be written.
    pub(crate) fn put_empty(&mut self, name: &Path, meta: &Metadata) -> io::Result<()> {
        let mut header = header(meta);
        header.set_entry_type(EntryType::Regular);
        header.set_size(0);
        self.builder.append_data(&mut header, name, io::empty())
    }

    /// Writes an empty file that is a mark for whoever reads the stream.
    ///
    /// # Errors
    /// The stream cannot be written.
    pub(crate) fn mark(&mut self, name: &Path, meta: &Metadata) -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o600);
        header.set_size(0);
        header.set_mtime(meta.mtime().max(0).cast_unsigned());
        self.builder.append_data(&mut header, name, io::empty())
    }

    fn attributes(&mut self, path: &Path) -> io::Result<()> {
        let found = attributes::of(path, self.which)?;
        let named: Vec<(String, Vec<u8>)> = found
            .into_iter()
            .filter_map(|(name, value)| {
                let name = String::from_utf8(name).ok()?;
                Some((format!("{PAX_XATTR}{name}"), value))
            })
            .collect();
        if named.is_empty() {
            return Ok(());
        }
        let pairs = named
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()));
        self.builder.append_pax_extensions(pairs)
    }
}

/// `None`: it went after its name was read, or a directory above it did.
pub(crate) fn unless_gone<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    use io::ErrorKind::{NotADirectory, NotFound};
    match found {
        Err(error) if matches!(error.kind(), NotADirectory | NotFound) => Ok(None),
        found => found.map(Some),
    }
}

fn header(meta: &Metadata) -> Header {
    let mut header = Header::new_gnu();
    header.set_metadata(meta);
    header
}

/// As many bytes as were announced: a file may grow while it is read. Of one that
/// becomes shorter there is no copy, and the stream has no place left to say so.
struct Exactly {
    file: File,
    left: u64,
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
                let message = "it became shorter while it was copied; try again";
                return Err(io::Error::other(message));
            }
            read => read,
        };
        self.left -= read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_becomes_shorter_is_not_filled_with_zeros() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"text").unwrap();
        let read = |left| {
            let mut file = file.try_clone().unwrap();
            std::io::Seek::rewind(&mut file).unwrap();
            let mut text = String::new();
            Exactly { file, left }.read_to_string(&mut text)?;
            Ok::<_, io::Error>(text)
        };
        // What has been added since is left out.
        assert_eq!(read(3).unwrap(), "tex");
        assert_eq!(read(4).unwrap(), "text");
        assert!(read(5).unwrap_err().to_string().contains("shorter"));
    }
}

//! A directory or an archive with the files of images.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::archive::{self, Member};
use crate::error::Error;
use crate::layer::{Compression, LayerError, decompress, sniff};
use crate::manifest::MAX_DOCUMENT;
use crate::space::SpaceGuard;
use crate::store::Inner;

/// Where images are read from.
#[derive(Debug)]
pub(super) enum Source {
    /// An unpacked OCI layout.
    Directory(PathBuf),
    /// An archive, and where its files are in it.
    Archive(Arc<File>, HashMap<String, Member>),
}

impl Source {
    /// Opens a directory or an archive; a compressed archive is unpacked
    /// into a temporary file first.
    ///
    /// # Errors
    /// It cannot be read, or is no archive.
    pub(super) fn open(path: &Path, store: &Inner) -> Result<Source, Error> {
        let unreadable = |source| Error::Unreadable {
            path: path.to_owned(),
            source,
        };
        if fs::metadata(path).map_err(unreadable)?.is_dir() {
            return Ok(Source::Directory(path.to_owned()));
        }
        let file = File::open(path).map_err(unreadable)?;
        let shown = path.display().to_string();
        let bad = |error| Error::layer(error, &shown, &store.root);
        let plain = plain(file, store).map_err(bad)?;
        let members = archive::index(&plain).map_err(bad)?;
        Ok(Source::Archive(Arc::new(plain), members))
    }

    /// Bytes of a file, if there is one.
    pub(super) fn size(&self, name: &str) -> Option<u64> {
        match self {
            Source::Directory(dir) => {
                let meta = fs::metadata(dir.join(safe(name)?)).ok()?;
                meta.is_file().then_some(meta.len())
            }
            Source::Archive(_, members) => Some(archive::find(members, name)?.1),
        }
    }

    /// Opens a file.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn open_file(&self, name: &str) -> Result<Box<dyn Read + Send>, LayerError> {
        let missing = || LayerError::bad(format!("there is no file {name:.200?} in it"));
        match self {
            Source::Directory(dir) => {
                // A pipe would be waited for.
                self.size(name).ok_or_else(missing)?;
                let path = dir.join(safe(name).ok_or_else(missing)?);
                Ok(Box::new(File::open(path).map_err(|_| missing())?))
            }
            Source::Archive(file, members) => {
                let (at, size) = archive::find(members, name).ok_or_else(missing)?;
                Ok(Box::new(Range {
                    file: Arc::clone(file),
                    at,
                    end: at + size,
                }))
            }
        }
    }

    /// All of a small file.
    ///
    /// # Errors
    /// There is none, or it is larger than 4 MiB.
    pub(super) fn document(&self, name: &str) -> Result<Vec<u8>, LayerError> {
        let mut out = Vec::new();
        self.open_file(name)?
            .take(MAX_DOCUMENT + 1)
            .read_to_end(&mut out)?;
        if out.len() as u64 > MAX_DOCUMENT {
            return Err(LayerError::bad(format!(
                "{name:.200?} is larger than 4 MiB"
            )));
        }
        Ok(out)
    }
}

// A name that stays below the directory.
fn safe(name: &str) -> Option<&str> {
    let ok = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
    name.split('/').all(ok).then_some(name)
}

fn plain(file: File, store: &Inner) -> Result<File, LayerError> {
    let mut head = [0; 16];
    let len = file.read_at(&mut head, 0)?;
    if sniff(&head[..len])? == Compression::None {
        return Ok(file);
    }
    let out = tempfile::tempfile_in(store.root.join("tmp"))?;
    let (mut input, _) = decompress(&file)?;
    let mut buffer = vec![0; 1 << 20];
    let mut space = SpaceGuard::default();
    let mut at = 0;
    loop {
        let len = input.read(&mut buffer)?;
        if len == 0 {
            return Ok(out);
        }
        if at > store.limits.unpacked {
            return Err(LayerError::bad("too many bytes when decompressed"));
        }
        space.before_write(&out, len)?;
        out.write_all_at(&buffer[..len], at)?;
        at += len as u64;
    }
}

struct Range {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for Range {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = (self.end - self.at).min(buffer.len() as u64) as usize;
        let len = self.file.read_at(&mut buffer[..most], self.at)?;
        if len == 0 && most > 0 {
            return Err(LayerError::bad("the archive is cut off").into());
        }
        self.at += len as u64;
        Ok(len)
    }
}

/// A reader that tells how far it is.
pub(super) struct WithProgress<F> {
    inner: Box<dyn Read + Send>,
    done: u64,
    report: F,
}

impl<F: Fn(u64)> WithProgress<F> {
    pub(super) fn new(inner: Box<dyn Read + Send>, report: F) -> WithProgress<F> {
        WithProgress {
            inner,
            done: 0,
            report,
        }
    }
}

impl<F: Fn(u64)> Read for WithProgress<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.inner.read(buffer)?;
        self.done += len as u64;
        (self.report)(self.done);
        Ok(len)
    }
}

//! A blob that is being downloaded, read at the same time.
//!
//! The file is the queue between the network and the unpacker: the writer
//! appends, the reader follows and waits at the end. What is in the file
//! when a pull starts, from a pull that failed, is read as if it had just
//! arrived.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::layer::LayerError;
use crate::space::SpaceGuard;

#[derive(Debug)]
struct Shared {
    file: File,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    len: u64,
    end: End,
    reader_gone: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    Complete,
    Failed,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end at which the download is.
#[derive(Debug)]
pub(super) struct BlobWriter {
    shared: Arc<Shared>,
    space: SpaceGuard,
}

/// The end at which the unpacker is.
pub(super) struct BlobReader {
    shared: Arc<Shared>,
    at: u64,
    progress: Box<dyn Fn(u64) + Send>,
}

/// Opens a blob's file; one that is longer than the blob starts anew.
/// `progress` gets the bytes that were read.
///
/// # Errors
/// Those of the file.
pub(super) fn open(
    path: &Path,
    size: u64,
    progress: impl Fn(u64) + Send + 'static,
) -> io::Result<(BlobWriter, BlobReader)> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600);
    let file = options.open(path)?;
    let mut len = file.metadata()?.len();
    if len > size {
        file.set_len(0)?;
        len = 0;
    }
    let state = Mutex::new(State {
        len,
        end: End::Open,
        reader_gone: false,
    });
    let shared = Arc::new(Shared {
        file,
        state,
        changed: Condvar::new(),
    });
    let writer = BlobWriter {
        shared: Arc::clone(&shared),
        space: SpaceGuard::default(),
    };
    Ok((
        writer,
        BlobReader {
            shared,
            at: 0,
            progress: Box::new(progress),
        },
    ))
}

impl BlobWriter {
    /// Bytes that are there.
    pub(super) fn len(&self) -> u64 {
        self.shared.state().len
    }

    /// Does nobody want more?
    pub(super) fn reader_gone(&self) -> bool {
        self.shared.state().reader_gone
    }

    /// Appends; blocks.
    ///
    /// # Errors
    /// Those of the file.
    pub(super) fn append(&mut self, parts: &[impl AsRef<[u8]>]) -> io::Result<()> {
        let mut at = self.len();
        for part in parts {
            let part = part.as_ref();
            self.space.before_write(&self.shared.file, part.len())?;
            self.shared.file.write_all_at(part, at)?;
            at += part.len() as u64;
        }
        self.shared.state().len = at;
        self.shared.changed.notify_one();
        Ok(())
    }

    /// Says that this was all.
    pub(super) fn complete(self) {
        self.shared.state().end = End::Complete;
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        if state.end == End::Open {
            state.end = End::Failed;
        }
        drop(state);
        self.shared.changed.notify_one();
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.shared.state();
        while state.len == self.at {
            match state.end {
                End::Open => {
                    state = self
                        .shared
                        .changed
                        .wait(state)
                        .unwrap_or_else(PoisonError::into_inner);
                }
                End::Complete => return Ok(0),
                End::Failed => return Err(LayerError::Cancelled.into()),
            }
        }
        let there = (state.len - self.at).min(buffer.len() as u64) as usize;
        let complete = state.end == End::Complete;
        drop(state);
        self.shared
            .file
            .read_exact_at(&mut buffer[..there], self.at)?;
        self.at += there as u64;
        if complete {
            (self.progress)(self.at);
        }
        Ok(there)
    }
}

impl Drop for BlobReader {
    fn drop(&mut self) {
        self.shared.state().reader_gone = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(dir: &Path, size: u64) -> (BlobWriter, BlobReader) {
        open(&dir.join("blob"), size, |_| {}).unwrap()
    }

    #[test]
    fn the_reader_waits_for_the_writer() {
        let dir = tempfile::tempdir().unwrap();
        let (mut writer, mut reader) = pair(dir.path(), 10);
        let reading = std::thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).map(|_| all)
        });
        writer.append(&[b"abc"]).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        writer.append(&[b"de", b"fg"]).unwrap();
        writer.complete();
        assert_eq!(reading.join().unwrap().unwrap(), b"abcdefg");
    }

    #[test]
    fn a_lost_writer_is_an_error_and_its_bytes_stay() {
        let dir = tempfile::tempdir().unwrap();
        let (mut writer, mut reader) = pair(dir.path(), 10);
        writer.append(&[b"abc"]).unwrap();
        drop(writer);
        assert!(reader.read_to_end(&mut Vec::new()).is_err());
        let (writer, _) = pair(dir.path(), 10);
        assert_eq!(writer.len(), 3);
        assert!(writer.reader_gone());
        assert_eq!(pair(dir.path(), 2).0.len(), 0);
    }
}

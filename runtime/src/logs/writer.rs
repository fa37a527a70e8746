//! The writing end.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use stack_api::logging::Logging;
use stack_protocol::log::{Record, Stream};

use super::entry::{self, Entry};
use super::{Readers, rotated};
use crate::time::now_ns;

/// Bytes that are gathered before they are written even when more come.
const BATCH: usize = 256 << 10;
/// Where the end of a file is searched for its last entry.
const TAIL: u64 = 1 << 20;

/// When a file is put aside, and how many there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one file.
    pub size: u64,
    /// Files, the one that is written included; at least one.
    pub files: u32,
}

impl From<&Logging> for Limits {
    fn from(logging: &Logging) -> Limits {
        Limits {
            size: logging.max_size.unwrap_or(32 << 20),
            files: logging.max_files.unwrap_or(2).clamp(1, super::MOST_FILES),
        }
    }
}

/// The writing end.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    file: File,
    size: u64,
    limits: Limits,
    /// Lines that are not in the file yet.
    pending: Vec<u8>,
    /// Last sequence number taken since the VM booted.
    sequence: u64,
    /// The last one that is in the file.
    stored: u64,
    /// Who is waited for.
    readers: Arc<Readers>,
    /// The file is full, and somebody needs one that would be deleted.
    held: bool,
}

fn open_append(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .read(true)
        .mode(0o600)
        .open(path)
}

impl Writer {
    /// Opens the log at its end. `resume`: the VM is an old one, its
    /// sequence goes on; otherwise a boot begins.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: &Path, limits: Limits, resume: bool) -> io::Result<Writer> {
        let mut file = open_append(path)?;
        let size = whole_lines(&mut file)?;
        let mut writer = Writer {
            path: path.to_path_buf(),
            file,
            size,
            limits,
            pending: Vec::new(),
            sequence: 0,
            stored: 0,
            readers: Arc::default(),
            held: false,
        };
        if resume {
            writer.sequence = last_sequence(path)?;
            writer.stored = writer.sequence;
        } else {
            Entry::boot(now_ns())
                .write(&mut writer.pending)
                .map_err(io::Error::other)?;
            writer.flush()?;
        }
        Ok(writer)
    }

    /// Waits for these readers when a file is full. Meanwhile what is taken
    /// is not stored, so that in the end the service waits.
    pub fn waiting_for(mut self, readers: &Arc<Readers>) -> Writer {
        self.readers = Arc::clone(readers);
        self
    }

    /// Waits for nobody any more: the file grows with what is left.
    pub fn wait_no_more(&mut self) {
        self.readers = Arc::default();
        self.held = false;
    }

    /// Other limits from now on.
    pub fn limit(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Everything up to this sequence number since the VM booted is in the file:
    /// the guest need not keep it.
    pub fn stored(&self) -> u64 {
        self.stored
    }

    /// There is something that could not be written yet.
    pub fn is_behind(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Takes a record, once: one that came before is skipped. It is in the
    /// file after the next [`flush`](Self::flush).
    ///
    /// # Errors
    /// The disk is full; the record is taken all the same.
    pub fn append(&mut self, record: &Record) -> io::Result<()> {
        if record.sequence <= self.sequence {
            return Ok(());
        }
        let made_room = self.make_room();
        entry::write_record(record, false, &mut self.pending).map_err(io::Error::other)?;
        self.sequence = record.sequence;
        made_room?;
        match self.pending.len() >= BATCH {
            true => self.flush(),
            false => Ok(()),
        }
    }

    /// A full file is put aside.
    fn make_room(&mut self) -> io::Result<()> {
        let is_long = self.size + self.pending.len() as u64 >= self.limits.size && self.size > 0;
        match is_long && !self.held {
            true => self.flush().and_then(|()| self.rotate_or_wait()),
            false => Ok(()),
        }
    }

    /// Takes a line of a hook: it is not one of the service's own.
    ///
    /// # Errors
    /// The disk is full; the line is taken all the same.
    pub fn insert(&mut self, stream: Stream, line: &[u8]) -> io::Result<()> {
        let record = Record {
            sequence: self.sequence,
            time_ns: now_ns(),
            stream,
            partial: false,
            data: line.to_vec(),
        };
        let made_room = self.make_room();
        entry::write_record(&record, true, &mut self.pending).map_err(io::Error::other)?;
        made_room
    }

    /// Writes what was taken, unless somebody is waited for.
    ///
    /// # Errors
    /// The disk is full: what was written is taken back, and all of it stays to
    /// be written.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.held {
            self.rotate_or_wait()?;
            if self.held {
                return Ok(());
            }
        }
        if let Err(error) = self.file.write_all(&self.pending) {
            let _ = self.file.set_len(self.size);
            return Err(error);
        }
        self.size += self.pending.len() as u64;
        self.stored = self.sequence;
        self.pending.clear();
        Ok(())
    }

    fn rotate_or_wait(&mut self) -> io::Result<()> {
        self.held = !self.readers.may_rotate(&self.path, self.limits.files);
        match self.held {
            true => Ok(()),
            false => self.rotate(),
        }
    }

    /// The new file comes first: without room for it nothing is put aside, and
    /// nothing that was acknowledged is deleted.
    fn rotate(&mut self) -> io::Result<()> {
        let fresh = super::fresh(&self.path);
        let file = open_append(&fresh)?;
        let oldest = self.limits.files - 1;
        let ages = super::ages(&self.path);
        for age in (oldest.max(1)..=ages).rev() {
            gone_or_done(std::fs::remove_file(rotated(&self.path, age)))?;
        }
        for age in (1..oldest.min(ages + 1)).rev() {
            let older = rotated(&self.path, age + 1);
            gone_or_done(std::fs::rename(rotated(&self.path, age), older))?;
        }
        let aside = rotated(&self.path, 1);
        if oldest > 0 {
            gone_or_done(std::fs::rename(&self.path, &aside))?;
        }
        if let Err(error) = std::fs::rename(&fresh, &self.path) {
            if oldest > 0 {
                let _ = std::fs::rename(&aside, &self.path);
            }
            return Err(error);
        }
        self.file = file;
        self.size = 0;
        Ok(())
    }
}

fn gone_or_done(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Cuts off a line that was begun when the last writer was killed: it was
/// not acknowledged, it will come again. Gives the size.
fn whole_lines(file: &mut File) -> io::Result<u64> {
    let size = file.metadata()?.len();
    let from = size.saturating_sub(TAIL);
    file.seek(SeekFrom::Start(from))?;
    let mut end = Vec::new();
    Read::take(&mut *file, TAIL).read_to_end(&mut end)?;
    let whole = end
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    let whole = from + whole as u64;
    if whole < size {
        file.set_len(whole)?;
    }
    Ok(whole)
}

/// The last sequence number of the boot that wrote last.
fn last_sequence(path: &Path) -> io::Result<u64> {
    for age in [0, 1] {
        let Ok(mut file) = File::open(rotated(path, age)) else {
            continue;
        };
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(TAIL)))?;
        let mut end = Vec::new();
        file.read_to_end(&mut end)?;
        let last = end
            .split(|byte| *byte == b'\n')
            .rev()
            .find_map(Entry::parse);
        if let Some(entry) = last {
            return Ok(entry.sequence);
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::Reader;
    use crate::logs::tests::{lines, record};

    #[test]
    fn what_a_full_disk_does_not_take_waits() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let limits = Limits {
            size: 1 << 20,
            files: 2,
        };
        let mut writer = Writer::open(&path, limits, false).unwrap();
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let good = std::mem::replace(&mut writer.file, full);
        for sequence in 1..=3 {
            let record = record(sequence, &sequence.to_string(), false);
            writer.append(&record).unwrap();
            assert!(writer.flush().is_err() && writer.is_behind());
        }
        // The guest keeps them, too: the daemon may be killed.
        assert_eq!(writer.stored(), 0);
        writer.file = good;
        writer.flush().unwrap();
        assert_eq!((writer.stored(), writer.is_behind()), (3, false));
        assert_eq!(lines(&mut Reader::open(&path)), ["1", "2", "3"]);
    }

    #[test]
    fn nothing_is_put_aside_without_room_for_a_new_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let limits = Limits { size: 1, files: 2 };
        let mut writer = Writer::open(&path, limits, false).unwrap();
        let take = |writer: &mut Writer, sequence: u64| {
            let record = record(sequence, &sequence.to_string(), false);
            let taken = writer.append(&record);
            writer.flush().unwrap();
            taken
        };
        let texts = || lines(&mut Reader::open(&path));
        take(&mut writer, 1).unwrap();
        // No new file can be opened.
        let fresh = crate::logs::fresh(&path);
        std::fs::create_dir(&fresh).unwrap();
        for sequence in 2..=4 {
            assert!(take(&mut writer, sequence).is_err());
        }
        assert_eq!(texts(), ["1", "2", "3", "4"]);
        std::fs::remove_dir(&fresh).unwrap();
        take(&mut writer, 5).unwrap();
        assert_eq!(texts(), ["1", "2", "3", "4", "5"]);
        // Only one is kept.
        writer.limit(Limits { size: 1, files: 1 });
        take(&mut writer, 6).unwrap();
        assert_eq!(texts(), ["6"]);
        assert!(!rotated(&path, 1).exists() && !fresh.exists());
    }
}

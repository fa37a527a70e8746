//! A container's output on disk: append-only, rotated, one JSON object per
//! line.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use stack_protocol::log::{Record, Stream};

/// A file is put aside as `.1` when it has grown beyond this.
const ROTATE_AT: u64 = 32 << 20;

/// One line of the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Nanoseconds since the epoch.
    #[serde(rename = "t")]
    pub time_ns: u64,
    /// Sequence number in its boot.
    #[serde(rename = "n")]
    pub sequence: u64,
    /// 1 standard output, 2 standard error.
    #[serde(rename = "s")]
    pub stream: u8,
    /// No newline followed.
    #[serde(rename = "p", default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// The text.
    #[serde(rename = "l")]
    pub line: String,
}

impl From<&Record> for Entry {
    fn from(record: &Record) -> Entry {
        Entry {
            time_ns: record.time_ns,
            sequence: record.sequence,
            stream: if record.stream == Stream::Stderr {
                2
            } else {
                1
            },
            partial: record.partial,
            line: String::from_utf8_lossy(&record.data).into_owned(),
        }
    }
}

/// The writing end.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    file: File,
    size: u64,
    /// Last sequence number stored since the VM booted.
    pub sequence: u64,
}

fn rotated(path: &Path) -> PathBuf {
    path.with_extension("log.1")
}

fn open_append(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
}

impl Writer {
    /// Opens the log at its end. `resume`: the VM is an old one, its
    /// sequence goes on.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: &Path, resume: bool) -> io::Result<Writer> {
        let file = open_append(path)?;
        let size = file.metadata()?.len();
        let sequence = if resume {
            last_sequence(path, size)?
        } else {
            0
        };
        Ok(Writer {
            path: path.to_path_buf(),
            file,
            size,
            sequence,
        })
    }

    /// Appends a record, once: a record that came before is skipped.
    ///
    /// # Errors
    /// The disk is full.
    pub fn append(&mut self, record: &Record) -> io::Result<()> {
        if record.sequence <= self.sequence {
            return Ok(());
        }
        if self.size > ROTATE_AT {
            std::fs::rename(&self.path, rotated(&self.path))?;
            self.file = open_append(&self.path)?;
            self.size = 0;
        }
        let mut line = serde_json::to_vec(&Entry::from(record)).map_err(io::Error::other)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.size += line.len() as u64;
        self.sequence = record.sequence;
        Ok(())
    }
}

fn last_sequence(path: &Path, size: u64) -> io::Result<u64> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(size.saturating_sub(64 << 10)))?;
    let last = BufReader::new(file)
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| serde_json::from_str::<Entry>(&line).ok())
        .last();
    Ok(last.map_or(0, |entry| entry.sequence))
}

/// The reading end: gives entries in order, across a rotation, and can be
/// asked again when more may have come.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    file: Option<BufReader<File>>,
    inode: u64,
    pending: String,
    partial: [Option<Entry>; 2],
}

impl Reader {
    /// Starts at the oldest line that is kept.
    pub fn open(path: &Path) -> Reader {
        let old = File::open(rotated(path)).ok();
        let inode = old
            .as_ref()
            .and_then(|f| f.metadata().ok())
            .map_or(0, |m| m.ino());
        Reader {
            path: path.to_path_buf(),
            file: old.map(BufReader::new),
            inode,
            pending: String::new(),
            partial: [None, None],
        }
    }

    /// The next whole line; `None`: nothing new for now.
    pub fn next_entry(&mut self) -> Option<Entry> {
        loop {
            let entry = self.next_raw()?;
            let slot = &mut self.partial[usize::from(entry.stream == 2)];
            let joined = match slot.take() {
                Some(mut first) => {
                    first.line.push_str(&entry.line);
                    first.partial = entry.partial;
                    first
                }
                None => entry,
            };
            if joined.partial && joined.line.len() < 1 << 20 {
                *slot = Some(joined);
            } else {
                return Some(joined);
            }
        }
    }

    /// What is left of lines without an end.
    pub fn rest(&mut self) -> impl Iterator<Item = Entry> {
        std::mem::take(&mut self.partial).into_iter().flatten()
    }

    fn next_raw(&mut self) -> Option<Entry> {
        loop {
            if let Some(file) = &mut self.file {
                let read = file.read_line(&mut self.pending);
                match read {
                    Ok(_) if self.pending.ends_with('\n') => {
                        let entry = serde_json::from_str(&self.pending);
                        self.pending.clear();
                        match entry {
                            Ok(entry) => return Some(entry),
                            Err(_) => continue,
                        }
                    }
                    Ok(_) => {}
                    Err(_) => self.pending.clear(),
                }
            }
            // At the end: has the file been put aside (or not been there)?
            let file = File::open(&self.path).ok()?;
            let inode = file.metadata().ok()?.ino();
            if self.file.is_some() && inode == self.inode {
                return None;
            }
            self.inode = inode;
            self.pending.clear();
            self.file = Some(BufReader::new(file));
        }
    }
}

/// Removes a container's logs.
pub fn remove(path: &Path) {
    let _ = std::fs::remove_file(path);
    let _ = std::fs::remove_file(rotated(path));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(sequence: u64, text: &str, partial: bool) -> Record {
        let data = text.as_bytes().to_vec();
        Record {
            sequence,
            time_ns: sequence * 10,
            stream: Stream::Stdout,
            partial,
            data,
        }
    }

    #[test]
    fn a_record_that_comes_twice_is_stored_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let mut writer = Writer::open(&path, false).unwrap();
        writer.append(&record(1, "one", false)).unwrap();
        writer.append(&record(2, "two", false)).unwrap();
        drop(writer);
        let mut writer = Writer::open(&path, true).unwrap();
        assert_eq!(writer.sequence, 2);
        writer.append(&record(2, "two", false)).unwrap();
        writer.append(&record(3, "three", false)).unwrap();
        let mut reader = Reader::open(&path);
        let lines: Vec<String> = std::iter::from_fn(|| reader.next_entry())
            .map(|entry| entry.line)
            .collect();
        assert_eq!(lines, ["one", "two", "three"]);
    }

    #[test]
    fn parts_of_a_long_line_are_joined() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let mut writer = Writer::open(&path, false).unwrap();
        let mut reader = Reader::open(&path);
        writer.append(&record(1, "he", true)).unwrap();
        assert!(reader.next_entry().is_none());
        writer.append(&record(2, "llo", false)).unwrap();
        assert_eq!(reader.next_entry().unwrap().line, "hello");
    }
}

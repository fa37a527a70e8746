//! The reading end: gives entries in order, across rotations, and can be
//! asked again when more may have come.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Entry, Readers, ages, inode, rotated};

/// A line without an end is given out when it has grown to this.
const LONGEST: usize = 1 << 20;
/// The writer renames while we look: look again at most so many times.
const LOOKS: u32 = 5;

/// The reading end.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    file: Option<BufReader<File>>,
    /// Inode of the file.
    place: Arc<AtomicU64>,
    /// Sequence number of the last record in its boot.
    last: Option<u64>,
    /// Records were deleted before they were read.
    missed: bool,
    pending: Vec<u8>,
    /// Lines of each stream that have no end yet.
    partial: [Option<Entry>; 2],
    /// Lines that another boot has ended.
    cut: Vec<Entry>,
    /// Lines of each stream that began before the place where this did.
    headless: [Headless; 2],
    /// One of them has ended.
    gap: bool,
}

/// What is known of a line that began where nothing was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Headless {
    /// There is none.
    No,
    /// There may be one.
    Perhaps,
    /// There may be one, and records that would be its were passed over.
    Begun,
}

impl Reader {
    /// Starts at the oldest line that is kept.
    pub fn open(path: &Path) -> Reader {
        let mut reader = Reader::new(path);
        reader.take(ages(path));
        reader
    }

    /// Starts about so many bytes before the end, or at the oldest line that is kept. Lines
    /// that may have begun before are passed over; one that says nothing any more within
    /// these bytes is not known of.
    pub fn near_end(path: &Path, bytes: u64) -> Reader {
        let mut left = bytes;
        for age in 0..=ages(path) {
            let size = std::fs::metadata(rotated(path, age)).map_or(0, |meta| meta.len());
            if size > left {
                return Reader::within(path, age, size - left);
            }
            left -= size;
        }
        Reader::open(path)
    }

    fn within(path: &Path, age: u32, start: u64) -> Reader {
        let mut reader = Reader::new(path);
        reader.take(age);
        reader.headless = [Headless::Perhaps; 2];
        if let Some(file) = &mut reader.file {
            let at = file.seek(SeekFrom::Start(start));
            // In the middle of a record, in all likelihood.
            let _ = at.and_then(|_| file.skip_until(b'\n'));
        }
        reader
    }

    /// It has passed over nothing.
    pub fn is_from_oldest(&self) -> bool {
        self.headless == [Headless::No; 2]
    }

    /// Has a line ended since this was asked last that was passed over?
    pub fn takes_note_of_gap(&mut self) -> bool {
        std::mem::take(&mut self.gap)
    }

    /// It is in the middle of a line whose beginning it has not read.
    pub fn is_within_line(&self) -> bool {
        self.headless.contains(&Headless::Begun)
    }

    /// From now on no line is passed over.
    pub fn passes_over_no_more(&mut self) {
        self.headless = [Headless::No; 2];
    }

    /// Is this a part of a line that began where nothing was read?
    fn is_headless(&mut self, entry: &Entry) -> bool {
        let headless = &mut self.headless[usize::from(entry.stream == 2)];
        if *headless == Headless::No {
            return false;
        }
        self.gap |= !entry.partial;
        *headless = match entry.partial {
            true => Headless::Begun,
            false => Headless::No,
        };
        true
    }

    /// Starts with what is written from now on.
    pub fn at_end(path: &Path) -> Reader {
        let mut reader = Reader::new(path);
        reader.take(0);
        if let Some(file) = &mut reader.file {
            let _ = file.seek(SeekFrom::End(0));
        }
        reader
    }

    /// Nothing is deleted from now on before this has read it.
    pub fn is_waited_for(&self, readers: &Readers) {
        readers.add(&self.place);
    }

    /// Records were deleted before this could read them.
    pub fn has_missed(&self) -> bool {
        self.missed
    }

    /// The same since this was asked last.
    pub fn takes_note_of_missed(&mut self) -> bool {
        std::mem::take(&mut self.missed)
    }

    fn note(&mut self, entry: &Entry) {
        if entry.stream == 0 {
            self.last = Some(0);
            return;
        }
        // What is not the guest's has the number of the record before it.
        let follows = |last| entry.sequence == last || entry.sequence == last + 1;
        self.missed |= !self.last.is_none_or(follows);
        self.last = Some(entry.sequence);
    }

    fn new(path: &Path) -> Reader {
        Reader {
            path: path.to_path_buf(),
            file: None,
            place: Arc::default(),
            last: None,
            missed: false,
            pending: Vec::new(),
            partial: [None, None],
            cut: Vec::new(),
            headless: [Headless::No; 2],
            gap: false,
        }
    }

    /// The next whole line; `None`: nothing new for now.
    pub fn next_entry(&mut self) -> Option<Entry> {
        loop {
            if let Some(entry) = self.cut.pop() {
                return Some(entry);
            }
            let entry = self.next_raw()?;
            if entry.stream == 0 {
                // It ends one that is not known of, too.
                self.gap |= !self.is_from_oldest();
                self.passes_over_no_more();
                self.cut = std::mem::take(&mut self.partial)
                    .into_iter()
                    .flatten()
                    .collect();
                continue;
            }
            if entry.aside {
                // It may have come in the middle of one of the service's lines.
                return Some(entry);
            }
            if self.is_headless(&entry) {
                continue;
            }
            let slot = &mut self.partial[usize::from(entry.stream == 2)];
            let joined = match slot.take() {
                Some(mut first) => {
                    first.data.extend_from_slice(&entry.data);
                    first.partial = entry.partial;
                    first
                }
                None => entry,
            };
            if joined.partial && joined.data.len() < LONGEST {
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

    /// The next record as it was written; stream 0 is the start of a boot.
    pub fn next_raw(&mut self) -> Option<Entry> {
        loop {
            if let Some(file) = &mut self.file {
                let read = file.read_until(b'\n', &mut self.pending);
                match read {
                    Ok(_) if self.pending.ends_with(b"\n") => {
                        let entry = Entry::parse(&self.pending);
                        self.pending.clear();
                        match entry {
                            Some(entry) => {
                                self.note(&entry);
                                return Some(entry);
                            }
                            None => continue,
                        }
                    }
                    Ok(_) => {}
                    Err(_) => self.pending.clear(),
                }
            }
            if !self.move_on() {
                return None;
            }
        }
    }

    /// At the end of a file: has it been put aside (or not been there)?
    fn move_on(&mut self) -> bool {
        for _ in 0..LOOKS {
            let oldest = ages(&self.path);
            let open = self.place.load(Ordering::Acquire);
            let ours = (0..=oldest).find(|age| inode(&rotated(&self.path, *age)) == open);
            match ours {
                Some(0) if self.file.is_some() => return false,
                Some(age) if self.file.is_some() => {
                    // It may have grown between our last read and its end.
                    if self.has_more() {
                        return true;
                    }
                    if self.take(age - 1) {
                        return true;
                    }
                }
                _ => {
                    // What we have open is gone, but not for us.
                    if self.has_more() || self.take(oldest) {
                        return true;
                    }
                }
            }
        }
        false
    }

    fn has_more(&mut self) -> bool {
        let file = self.file.as_mut();
        file.is_some_and(|file| file.fill_buf().is_ok_and(|more| !more.is_empty()))
    }

    /// Goes on with the file of this age, unless it is the one at hand.
    fn take(&mut self, age: u32) -> bool {
        let Ok(file) = File::open(rotated(&self.path, age)) else {
            return false;
        };
        let Ok(meta) = file.metadata() else {
            return false;
        };
        if self.file.is_some() && meta.ino() == self.place.load(Ordering::Acquire) {
            return false;
        }
        self.place.store(meta.ino(), Ordering::Release);
        self.pending.clear();
        self.file = Some(BufReader::with_capacity(64 << 10, file));
        true
    }
}

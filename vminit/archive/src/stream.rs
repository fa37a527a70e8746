//! A tar stream that somebody else has written, entry by entry: what is kept
//! of it in memory has limits.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use tar_core::parse::{Limits, ParseEvent, ParsedEntry, Parser};
use tar_core::{EntryType, SparseEntry};

use crate::attributes::Attribute;

/// Most bytes of headers before one entry: 1 MiB of long names and attributes
/// (the parser's limit), their own headers, and a map of holes.
const MOST_HEADERS: usize = 4 << 20;
/// Longest path, `PATH_MAX`: bytes.
const LONGEST_PATH: u32 = 4096;
const BLOCK: u64 = 512;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// Its contents follow: with holes, the regions that have data.
    File(Option<Holes>),
    Directory,
    Symlink(PathBuf),
    /// Another name of an entry.
    Link(PathBuf),
    Fifo,
    /// Its number: major, minor.
    Char(u32, u32),
    Block(u32, u32),
    /// Types that mean nothing here, such as volume labels.
    Unknown,
}

/// A file that is not whole in the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holes {
    /// Bytes of the file.
    pub size: u64,
    /// In ascending order, without overlap, within the size.
    pub regions: Vec<SparseEntry>,
}

/// An entry without its contents.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub name: PathBuf,
    pub what: What,
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    /// Seconds since the epoch.
    pub modified: u64,
    pub attributes: Vec<Attribute>,
}

/// The stream.
pub(crate) struct Stream<R> {
    from: R,
    parser: Parser,
    /// Bytes that were read and not used yet.
    ahead: Vec<u8>,
    /// Bytes of the entry's contents that are still to come.
    left: u64,
    /// Bytes after the contents that mean nothing.
    padding: u64,
}

impl<R: Read> Stream<R> {
    pub(crate) fn new(from: R) -> Stream<R> {
        let mut parser = Parser::new(Limits {
            max_path_len: Some(LONGEST_PATH),
            ..Limits::default()
        });
        // As other programs do; a time before 1970 is one of them.
        parser.set_ignore_pax_errors(true);
        Stream {
            from,
            parser,
            ahead: Vec::new(),
            left: 0,
            padding: 0,
        }
    }

    /// The next entry; what is left of the one before is passed over.
    ///
    /// # Errors
    /// It is no tar stream, it is cut off, or beyond a limit.
    pub(crate) fn next(&mut self) -> io::Result<Option<Entry>> {
        let rest = self.left.saturating_add(self.padding);
        self.left = rest;
        self.padding = 0;
        io::copy(&mut self.contents(), &mut io::sink())?;
        loop {
            let wanted = match self.parser.parse(&self.ahead) {
                Ok(ParseEvent::NeedData { min_bytes }) => min_bytes,
                Ok(ParseEvent::End { .. }) => return Ok(None),
                // Defaults for all entries: Docker does not know them either.
                Ok(ParseEvent::GlobalExtensions { consumed, .. }) => {
                    self.ahead.drain(..consumed);
                    continue;
                }
                Ok(ParseEvent::Entry { consumed, entry }) => {
                    let found = read(&entry, None)?;
                    return Ok(Some(self.found(consumed, found)));
                }
                Ok(ParseEvent::SparseEntry {
                    consumed,
                    entry,
                    sparse_map,
                    real_size,
                }) => {
                    let holes = holes(real_size, sparse_map, entry.size)?;
                    let found = read(&entry, Some(holes))?;
                    return Ok(Some(self.found(consumed, found)));
                }
                Err(error) => return Err(bad(&format!("not a good tar stream: {error}"))),
            };
            if wanted > MOST_HEADERS {
                return Err(bad("headers beyond 4 MiB before one entry"));
            }
            let missing = wanted.saturating_sub(self.ahead.len()) as u64;
            let mut headers = self.from.by_ref().take(missing);
            if (headers.read_to_end(&mut self.ahead)? as u64) < missing {
                // A stream without the two empty blocks at its end is common; one
                // that ends amid a header is not.
                return match self.ahead.iter().all(|byte| *byte == 0) {
                    true => Ok(None),
                    false => Err(cut_off()),
                };
            }
        }
    }

    fn found(&mut self, consumed: usize, (entry, stored): (Entry, u64)) -> Entry {
        self.ahead.drain(..consumed);
        self.left = stored;
        self.padding = (BLOCK - stored % BLOCK) % BLOCK;
        entry
    }

    /// What the entry has in the stream.
    pub(crate) fn contents(&mut self) -> Contents<'_, R> {
        Contents(self)
    }
}

/// The contents of an entry, as far as they were not read.
pub(crate) struct Contents<'a, R>(&'a mut Stream<R>);

impl<R: Read> Read for Contents<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let stream = &mut *self.0;
        let most = usize::try_from(stream.left).unwrap_or(usize::MAX);
        let most = most.min(buffer.len());
        let buffer = &mut buffer[..most];
        if buffer.is_empty() {
            return Ok(0);
        }
        let read = match stream.ahead.len() {
            0 => stream.from.read(buffer)?,
            there => {
                let taken = there.min(buffer.len());
                buffer[..taken].copy_from_slice(&stream.ahead[..taken]);
                stream.ahead.drain(..taken);
                taken
            }
        };
        if read == 0 {
            return Err(cut_off());
        }
        stream.left -= read as u64;
        Ok(read)
    }
}

/// The entry, and the bytes that follow.
fn read(parsed: &ParsedEntry<'_>, holes: Option<Holes>) -> io::Result<(Entry, u64)> {
    let path = |bytes: &[u8]| PathBuf::from(OsString::from_vec(bytes.to_vec()));
    let name = path(&parsed.path);
    let to = || match parsed.link_target.as_deref() {
        None | Some([]) => Err(bad(&format!("{}: a link to nowhere", name.display()))),
        Some(to) => Ok(path(to)),
    };
    let number = || {
        let part = |part: Option<u32>| part.unwrap_or(0);
        (part(parsed.dev_major), part(parsed.dev_minor))
    };
    let what = match parsed.entry_type {
        // A name that ends in a slash is how the oldest tar knew directories.
        EntryType::Regular if parsed.path.ends_with(b"/") => What::Directory,
        EntryType::Regular | EntryType::Continuous | EntryType::GnuSparse => What::File(holes),
        EntryType::Directory => What::Directory,
        EntryType::Symlink => What::Symlink(to()?),
        EntryType::Link => What::Link(to()?),
        EntryType::Fifo => What::Fifo,
        EntryType::Char => What::Char(number().0, number().1),
        EntryType::Block => What::Block(number().0, number().1),
        _ => What::Unknown,
    };
    // Other types have no contents, whatever their size field says
    // (POSIX.1-2017, pax, "ustar Interchange Format").
    let stored = match what {
        What::File(_) | What::Unknown => parsed.size,
        _ => 0,
    };
    let attributes = parsed.xattrs.iter();
    let entry = Entry {
        what,
        mode: parsed.mode & 0o7777,
        uid: parsed.uid,
        gid: parsed.gid,
        modified: parsed.mtime,
        attributes: attributes
            .map(|(name, value)| (name.to_vec(), value.to_vec()))
            .collect(),
        name,
    };
    Ok((entry, stored))
}

/// Checks a map of holes against the bytes that are in the stream.
fn holes(size: u64, regions: Vec<SparseEntry>, stored: u64) -> io::Result<Holes> {
    let (mut at, mut data) = (0, 0u64);
    for region in &regions {
        let end = region.offset.checked_add(region.length);
        let end = end.filter(|end| *end <= size && region.offset >= at);
        at = end.ok_or_else(|| bad("a map of holes that makes no sense"))?;
        // No sum of regions without overlap exceeds the size.
        data += region.length;
    }
    match data == stored {
        true => Ok(Holes { size, regions }),
        false => Err(bad("a map of holes that does not fit the data")),
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn cut_off() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the stream is cut off")
}

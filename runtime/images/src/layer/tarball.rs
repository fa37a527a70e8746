//! Reads a tar stream entry by entry.

use std::io::{Read, Write};

use tar_core::parse::{Limits as ParserLimits, ParseEvent, Parser};

use super::entry::{Entry, What};
use super::feed::Feed;
use super::sparse::Map;
use super::{LayerError, Limits};
use crate::recipe::Notes;

/// Most bytes of headers before one entry: all extensions and a map of
/// holes.
const MAX_HEADERS: usize = 4 << 20;

/// Longest path, `PATH_MAX`.
const PATH_MAX: u32 = 4096;

const BLOCK: u64 = 512;

/// A tar stream.
#[derive(Debug)]
pub(super) struct Tarball<R> {
    feed: Feed<R>,
    parser: Parser,
    // Padding after the contents of the entry before.
    padding: u64,
    entries: u64,
    max_entries: u64,
}

impl<R: Read> Tarball<R> {
    pub(super) fn new(source: R, limits: &Limits, notes: Notes) -> Tarball<R> {
        let mut parser = Parser::new(ParserLimits {
            max_path_len: Some(PATH_MAX),
            ..ParserLimits::default()
        });
        // As other implementations do; a time before 1970 is one of them.
        parser.set_ignore_pax_errors(true);
        Tarball {
            feed: Feed::new(source, notes),
            parser,
            padding: 0,
            entries: 0,
            max_entries: limits.entries,
        }
    }

    /// The next entry, and its holes if it has some. The caller takes
    /// exactly [`Entry::stored`] bytes from [`Tarball::feed`] before it calls
    /// again.
    ///
    /// # Errors
    /// The archive is broken, cut off or beyond a limit.
    pub(super) fn next(&mut self) -> Result<Option<(Entry, Option<Map>)>, LayerError> {
        let padding = std::mem::take(&mut self.padding);
        if !self.feed.skip(padding)? {
            return Err(cut_off());
        }
        loop {
            let wanted = match self.parser.parse(self.feed.buffered()) {
                Ok(ParseEvent::NeedData { min_bytes }) => min_bytes,
                Ok(ParseEvent::End { .. }) => return Ok(None),
                // Defaults for all entries: Docker does not know them either.
                Ok(ParseEvent::GlobalExtensions { consumed, .. }) => {
                    self.count()?;
                    self.feed.consume(consumed)?;
                    continue;
                }
                Ok(ParseEvent::Entry { consumed, entry }) => {
                    let entry = Entry::new(&entry)?;
                    return self.found(consumed, entry, None);
                }
                Ok(ParseEvent::SparseEntry {
                    consumed,
                    entry,
                    sparse_map,
                    real_size,
                }) => {
                    let entry = Entry::new(&entry)?;
                    let map = match entry.what {
                        What::File => Some(Map::new(real_size, sparse_map, entry.stored)?),
                        _ => None,
                    };
                    return self.found(consumed, entry, map);
                }
                Err(error) => return Err(LayerError::bad(format!("not a good tar: {error}"))),
            };
            if wanted > MAX_HEADERS {
                return Err(LayerError::bad("headers beyond 4 MiB before one entry"));
            }
            if !self.feed.fill(wanted)? {
                // A stream without the two empty blocks at its end is
                // common; one that ends amid a header is not.
                return match self.feed.buffered() {
                    rest if rest.iter().all(|byte| *byte == 0) => Ok(None),
                    _ => Err(cut_off()),
                };
            }
        }
    }

    fn found(
        &mut self,
        consumed: usize,
        entry: Entry,
        map: Option<Map>,
    ) -> Result<Option<(Entry, Option<Map>)>, LayerError> {
        self.count()?;
        self.feed.consume(consumed)?;
        self.padding = (BLOCK - entry.stored % BLOCK) % BLOCK;
        Ok(Some((entry, map)))
    }

    fn count(&mut self) -> Result<(), LayerError> {
        self.entries += 1;
        if self.entries > self.max_entries {
            return Err(LayerError::bad(format!(
                "more than {} entries",
                self.max_entries
            )));
        }
        Ok(())
    }

    /// The stream, for the contents of an entry.
    pub(super) fn feed(&mut self) -> &mut Feed<R> {
        &mut self.feed
    }

    /// Reads what is behind the archive's end, which counts for the digest
    /// and for nothing else. Gives the notes about all of it.
    ///
    /// # Errors
    /// Those of the stream.
    pub(super) fn drain(mut self) -> Result<Notes, LayerError> {
        self.feed.skip(u64::MAX)?;
        Ok(self.feed.notes)
    }
}

/// Copies contents.
///
/// # Errors
/// The archive ends before, or the output fails.
pub(super) fn copy<R: Read>(
    feed: &mut Feed<R>,
    mut len: u64,
    to: &mut impl Write,
) -> Result<(), LayerError> {
    while len > 0 {
        let bytes = feed.next(len)?;
        if bytes.is_empty() {
            return Err(cut_off());
        }
        to.write_all(bytes)?;
        len -= bytes.len() as u64;
    }
    Ok(())
}

pub(super) fn cut_off() -> LayerError {
    LayerError::bad("the archive is cut off")
}

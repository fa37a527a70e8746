//! A buffer between a stream and the parser of its headers.

use std::io::{self, Read};

use crate::recipe::Notes;

/// Bytes read at once.
const CHUNK: usize = 256 << 10;

/// A stream with a look-ahead. What is taken out of it is noted.
#[derive(Debug)]
pub(super) struct Feed<R> {
    source: R,
    pub(super) notes: Notes,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl<R: Read> Feed<R> {
    pub(super) fn new(source: R, notes: Notes) -> Feed<R> {
        Feed {
            source,
            notes,
            buffer: vec![0; CHUNK],
            start: 0,
            end: 0,
        }
    }

    /// What is in the buffer.
    pub(super) fn buffered(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Reads until at least `wanted` bytes are in the buffer; `false` when
    /// the stream ends before.
    pub(super) fn fill(&mut self, wanted: usize) -> io::Result<bool> {
        if self.end - self.start >= wanted {
            return Ok(true);
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted.next_multiple_of(CHUNK), 0);
        }
        while self.end < wanted {
            match self.source.read(&mut self.buffer[self.end..]) {
                Ok(0) => return Ok(false),
                Ok(n) => self.end += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Takes bytes out of the buffer.
    ///
    /// # Errors
    /// Those of the notes.
    pub(super) fn consume(&mut self, len: usize) -> io::Result<()> {
        let end = (self.start + len).min(self.end);
        self.notes.read(&self.buffer[self.start..end])?;
        self.start = end;
        Ok(())
    }

    /// Up to `most` bytes, at least one; empty at the end of the stream.
    pub(super) fn next(&mut self, most: u64) -> io::Result<&[u8]> {
        self.fill(1)?;
        let len = (self.end - self.start).min(usize::try_from(most).unwrap_or(usize::MAX));
        let at = self.start;
        self.start += len;
        self.notes.read(&self.buffer[at..at + len])?;
        Ok(&self.buffer[at..at + len])
    }

    /// Leaves bytes out; `false` when the stream ends before.
    pub(super) fn skip(&mut self, mut len: u64) -> io::Result<bool> {
        while len > 0 {
            match self.next(len)?.len() {
                0 => return Ok(false),
                n => len -= n as u64,
            }
        }
        Ok(true)
    }
}

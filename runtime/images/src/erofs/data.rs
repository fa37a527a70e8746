//! File contents on their way to the image.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::format::{BLOCK, INODE, Xattrs};
use crate::space::SpaceGuard;

/// Where the contents of a file are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Bytes.
    pub size: u64,
    /// First block.
    pub block: u32,
    /// Place of the tail in the spill file, when there is one.
    pub tail: Option<u64>,
}

impl Extent {
    /// Bytes in the spill file.
    pub(super) fn tail_len(&self) -> usize {
        if self.tail.is_some() {
            (self.size % BLOCK) as usize
        } else {
            0
        }
    }
}

/// Where bytes of a file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placed {
    /// In the spill file, else in the image.
    pub in_spill: bool,
    /// First byte.
    pub at: u64,
    /// How many there are at least, one or more.
    pub len: usize,
}

/// Where the bytes of a file from `at` on are, `want` of them at most.
pub(crate) fn read_extent(extent: &Extent, at: u64, want: usize) -> Placed {
    let in_blocks = extent.size - extent.tail_len() as u64;
    match extent.tail {
        Some(tail) if at >= in_blocks => Placed {
            in_spill: true,
            at: tail + (at - in_blocks),
            len: want,
        },
        _ => Placed {
            in_spill: false,
            at: u64::from(extent.block) * BLOCK + at,
            len: want.min(usize::try_from(in_blocks - at).unwrap_or(usize::MAX)),
        },
    }
}

/// Bytes that are collected before they are written.
const BUFFER: usize = 1 << 20;

/// Zeros from this many bytes on become a hole.
const HOLE: usize = 64 << 10;

/// The output file as far as it holds contents, and the spill file.
#[derive(Debug)]
pub(crate) struct Contents {
    out: File,
    // Bytes not yet written, and where they belong.
    buffer: Vec<u8>,
    buffer_at: u64,
    // First byte after all extents, a multiple of the block size.
    end: u64,
    spill: BufWriter<File>,
    spill_len: u64,
    space: SpaceGuard,
}

impl Contents {
    /// Begins an image in an empty file.
    ///
    /// # Errors
    /// No spill file can be made beside it.
    pub(crate) fn new(out: File, dir: &Path) -> io::Result<Contents> {
        let spill = BufWriter::with_capacity(BUFFER, tempfile::tempfile_in(dir)?);
        Ok(Contents {
            out,
            buffer: Vec::with_capacity(BUFFER),
            buffer_at: BLOCK,
            end: BLOCK,
            spill,
            spill_len: 0,
            space: SpaceGuard::default(),
        })
    }

    /// Makes room for a file of `size` bytes.
    ///
    /// # Errors
    /// The image would be larger than EROFS can be.
    pub(crate) fn begin(&mut self, size: u64, xattrs: &Xattrs) -> io::Result<Writer<'_>> {
        let tail = (size % BLOCK) as usize;
        let inline = tail > 0 && INODE + xattrs.disk_bytes() + tail <= BLOCK as usize;
        let in_blocks = if inline { size - tail as u64 } else { size };
        let too_large = || io::Error::new(io::ErrorKind::FileTooLarge, "more than 16 TiB");
        let start = self.end;
        let end = in_blocks
            .checked_next_multiple_of(BLOCK)
            .and_then(|len| start.checked_add(len));
        // The inodes need some of the 2^32 blocks as well.
        let end = end
            .filter(|end| end / BLOCK < u64::from(u32::MAX / 2))
            .ok_or_else(too_large)?;
        self.end = end;
        let block = if in_blocks == 0 {
            0
        } else {
            (start / BLOCK) as u32
        };
        let extent = Extent {
            size,
            block,
            tail: inline.then_some(self.spill_len),
        };
        Ok(Writer {
            contents: self,
            extent,
            in_blocks,
            start,
            at: 0,
        })
    }

    /// Stores something short, as a whole.
    ///
    /// # Errors
    /// Those of the file.
    pub(crate) fn store(&mut self, bytes: &[u8], xattrs: &Xattrs) -> io::Result<Extent> {
        let mut writer = self.begin(bytes.len() as u64, xattrs)?;
        writer.write_all(bytes)?;
        writer.end()
    }

    fn put(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() >= HOLE && bytes.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        if at != self.buffer_at + self.buffer.len() as u64
            || self.buffer.len() + bytes.len() > BUFFER
        {
            self.flush()?;
            self.buffer_at = at;
        }
        if bytes.len() > BUFFER {
            self.space.before_write(&self.out, bytes.len())?;
            self.buffer_at = at + bytes.len() as u64;
            return self.out.write_all_at(bytes, at);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            self.space.before_write(&self.out, self.buffer.len())?;
            self.out.write_all_at(&self.buffer, self.buffer_at)?;
            self.buffer_at += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Ends the contents: output, spill file, first free block.
    pub(super) fn finish(mut self) -> io::Result<(File, File, u64)> {
        self.flush()?;
        let spill = self
            .spill
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        Ok((self.out, spill, self.end / BLOCK))
    }
}

/// Takes the bytes of one file.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    contents: &'a mut Contents,
    extent: Extent,
    in_blocks: u64,
    start: u64,
    at: u64,
}

impl Writer<'_> {
    /// Bytes still wanted.
    pub(crate) fn remaining(&self) -> u64 {
        self.extent.size - self.at
    }

    /// Leaves zeros.
    ///
    /// # Errors
    /// Those of the spill file, or more than the file's size.
    pub(crate) fn skip(&mut self, len: u64) -> io::Result<()> {
        if len > self.remaining() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let target = self.at + len;
        if target > self.in_blocks && self.extent.tail.is_some() {
            let zeros = [0; BLOCK as usize];
            let tail = target - self.at.max(self.in_blocks);
            self.at = self.at.max(self.in_blocks);
            return self.write_all(&zeros[..tail as usize]);
        }
        self.at = target;
        Ok(())
    }

    /// Where the contents are; what was not written is zeros.
    ///
    /// # Errors
    /// Those of the spill file.
    pub(crate) fn end(mut self) -> io::Result<Extent> {
        self.skip(self.remaining())?;
        Ok(self.extent)
    }
}

impl Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.remaining() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let split = self
            .in_blocks
            .saturating_sub(self.at)
            .min(bytes.len() as u64) as usize;
        let (block, tail) = bytes.split_at(split);
        if !block.is_empty() {
            self.contents.put(self.start + self.at, block)?;
        }
        if !tail.is_empty() {
            self.contents.spill.write_all(tail)?;
            self.contents.spill_len += tail.len() as u64;
        }
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

//! Taking notes while an archive is read. Inodes have no numbers yet, so
//! notes name nodes of the tree; when the image is finished, they become a
//! recipe.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::steps::{Made, Maker};
use crate::erofs::{Extent, NodeId, Tree, Written, read_extent};
use crate::layer::LayerError;
use crate::space::SpaceGuard;

/// Compression of the notes: what is behind an archive's end may be long, but
/// then it mostly consists of zeros.
const LEVEL: i32 = 1;

/// Notes about the archive that is being read.
pub(crate) struct Notes {
    spool: BufWriter<zstd::stream::write::Encoder<'static, Guarded>>,
    /// The bytes that are read now are those of a file.
    pub(crate) in_file: bool,
}

impl Notes {
    /// Begins; the notes are in a nameless file in this directory.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn new(tmp: &Path) -> io::Result<Notes> {
        let spool = Guarded {
            file: tempfile::tempfile_in(tmp)?,
            space: SpaceGuard::default(),
        };
        let encoder = zstd::stream::write::Encoder::new(spool, LEVEL)?;
        Ok(Notes {
            spool: BufWriter::with_capacity(256 << 10, encoder),
            in_file: false,
        })
    }

    /// Bytes were read.
    ///
    /// # Errors
    /// Those of the file.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.in_file || bytes.is_empty() {
            return Ok(());
        }
        self.spool.write_all(&[1])?;
        self.spool.write_all(&(bytes.len() as u32).to_le_bytes())?;
        self.spool.write_all(bytes)
    }

    /// The bytes that were read are this part of a node's file.
    ///
    /// # Errors
    /// Those of the file.
    pub(crate) fn part(
        &mut self,
        node: NodeId,
        extent: &Extent,
        from: u64,
        len: u64,
    ) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        self.spool.write_all(&[2])?;
        let tail = extent.tail.unwrap_or(u64::MAX);
        let block = u64::from(extent.block);
        for number in [u64::from(node), extent.size, block, tail, from, len] {
            self.spool.write_all(&number.to_le_bytes())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Notes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut notes = f.debug_struct("Notes");
        notes
            .field("in_file", &self.in_file)
            .finish_non_exhaustive()
    }
}

/// A file that leaves space on the disk.
struct Guarded {
    file: File,
    space: SpaceGuard,
}

impl Write for Guarded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.space.before_write(&self.file, bytes.len())?;
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Makes the recipe of the notes.
///
/// # Errors
/// Those of the files.
pub(crate) fn write(
    notes: Notes,
    tree: &Tree,
    image: (&File, &Written),
    tmp: &Path,
) -> Result<Made, LayerError> {
    let (out, written) = image;
    let encoder = notes
        .spool
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    let mut spool = encoder.finish()?.file;
    spool.seek(SeekFrom::Start(0))?;
    let spool = zstd::stream::read::Decoder::new(spool)?;
    let mut spool = BufReader::with_capacity(256 << 10, spool);
    let mut maker = Maker::new(tmp)?;
    let mut kind = [0];
    while spool.read(&mut kind)? > 0 {
        if kind[0] == 1 {
            let mut len = [0; 4];
            spool.read_exact(&mut len)?;
            let mut bytes = vec![0; u32::from_le_bytes(len) as usize];
            spool.read_exact(&mut bytes)?;
            maker.bytes(&bytes)?;
            continue;
        }
        let mut numbers = [0; 6];
        for number in &mut numbers {
            let mut raw = [0; 8];
            spool.read_exact(&mut raw)?;
            *number = u64::from_le_bytes(raw);
        }
        let [node, size, block, tail, from, len] = numbers;
        let node = node as NodeId;
        if tree.get(node).is_some() {
            maker.part(written.nid(node), from, len)?;
            continue;
        }
        let extent = Extent {
            size,
            block: block as u32,
            tail: (tail != u64::MAX).then_some(tail),
        };
        let mut buffer = vec![0; 256 << 10];
        let (mut at, end) = (from, from + len);
        while at < end {
            let want = (end - at).min(buffer.len() as u64) as usize;
            let place = read_extent(&extent, at, want);
            let file = if place.in_spill { &written.spill } else { out };
            file.read_exact_at(&mut buffer[..place.len], place.at)?;
            maker.bytes(&buffer[..place.len])?;
            at += place.len as u64;
        }
    }
    maker.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_take_no_space() {
        let dir = tempfile::tempdir().unwrap();
        let mut notes = Notes::new(dir.path()).unwrap();
        let zeros = vec![0; 1 << 20];
        for _ in 0..64 {
            notes.read(&zeros).unwrap();
        }
        let spool = notes.spool.into_inner().ok().unwrap().finish().unwrap();
        let size = spool.file.metadata().unwrap().len();
        assert!(size < 1 << 20, "{size}");
    }
}

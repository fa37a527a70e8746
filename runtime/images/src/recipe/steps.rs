//! Writing steps, and writing them again for another image.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{HEAD, LONGEST, MAGIC, Step, open};
use crate::erofs::Reader;
use crate::layer::{LayerError, persist, temporary};

/// Compression: headers are alike, so the fastest does.
const LEVEL: i32 = 3;

/// A recipe in the making.
pub(super) struct Maker {
    file: tempfile::NamedTempFile,
    out: BufWriter<zstd::stream::write::Encoder<'static, File>>,
    size: u64,
}

impl Maker {
    pub(super) fn new(tmp: &Path) -> io::Result<Maker> {
        let file = temporary(tmp)?;
        let mut plain = file.as_file().try_clone()?;
        plain.write_all(MAGIC)?;
        plain.write_all(&[0; HEAD - MAGIC.len()])?;
        let encoder = zstd::stream::write::Encoder::new(plain, LEVEL)?;
        let out = BufWriter::with_capacity(64 << 10, encoder);
        Ok(Maker { file, out, size: 0 })
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        for piece in bytes.chunks(LONGEST) {
            self.out.write_all(&[1])?;
            self.out.write_all(&(piece.len() as u32).to_le_bytes())?;
            self.out.write_all(piece)?;
            self.size += piece.len() as u64;
        }
        Ok(())
    }

    pub(super) fn part(&mut self, nid: u64, from: u64, len: u64) -> io::Result<()> {
        self.out.write_all(&[2])?;
        for number in [nid, from, len] {
            self.out.write_all(&number.to_le_bytes())?;
        }
        self.size += len;
        Ok(())
    }

    pub(super) fn end(self) -> Result<Made, LayerError> {
        let encoder = self
            .out
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        let plain = encoder.finish()?;
        plain.write_all_at(&self.size.to_le_bytes(), MAGIC.len() as u64)?;
        Ok(Made(self.file))
    }
}

/// A complete recipe without a name.
pub(crate) struct Made(tempfile::NamedTempFile);

impl Made {
    /// Gives it its name, durably.
    pub(crate) fn end(self, target: &Path) -> Result<(), LayerError> {
        persist(self.0, target)
    }
}

/// Writes a recipe for another image that has the files of `image` as far as
/// `moved` tells where; the others go into the recipe.
///
/// # Errors
/// The recipe or the image is damaged, or the disk is full.
pub(crate) fn rebase(
    recipe: &Path,
    image: &Reader,
    moved: impl Fn(u64) -> Option<u64>,
    tmp: &Path,
    target: &Path,
) -> Result<(), LayerError> {
    let (_, mut steps) = open(recipe)?;
    let mut maker = Maker::new(tmp)?;
    let mut buffer = vec![0; 256 << 10];
    while let Some(step) = steps.next()? {
        match step {
            Step::Bytes(bytes) => maker.bytes(&bytes)?,
            Step::Part(nid, from, len) => match moved(nid) {
                Some(nid) => maker.part(nid, from, len)?,
                None => {
                    let inode = image.inode(nid)?;
                    let (mut at, end) = (from, from.saturating_add(len));
                    while at < end {
                        let want = (end - at).min(buffer.len() as u64) as usize;
                        let got = image.read_at(&inode, at, &mut buffer[..want])?;
                        if got == 0 {
                            return Err(super::damaged().into());
                        }
                        maker.bytes(&buffer[..got])?;
                        at += got as u64;
                    }
                }
            },
        }
    }
    maker.end()?.end(target)
}

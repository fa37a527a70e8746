//! How a layer's archive is made again, byte for byte.
//!
//! A layer is kept as an EROFS image, but its digest in registries is that of
//! its archive. So beside the image there is a recipe: all bytes of the
//! archive that are not in files, and which file comes where. (Docker does
//! the same with `tar-split`.)
//!
//! ```text
//! | magic | size of the archive | zstd: bytes or (file, from, length), … |
//! ```
//!
//! A file is named by its inode in the image. What the image has lost (an
//! entry that a later one replaced, a file that a merge found hidden) is in
//! the recipe itself.

mod record;
mod replay;
mod steps;

pub(crate) use record::{Notes, write};
pub(crate) use replay::Replay;
pub(crate) use steps::{Made, rebase};

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

/// First bytes of a recipe.
const MAGIC: &[u8; 8] = b"stkrcp1\n";

/// Bytes before the steps.
const HEAD: usize = 16;

/// Longest run of bytes in one step.
const LONGEST: usize = 1 << 20;

/// One step of making the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// These bytes.
    Bytes(Vec<u8>),
    /// A part of a file: inode, first byte, length.
    Part(u64, u64, u64),
}

/// Steps of a recipe, in order.
struct Steps(BufReader<zstd::stream::read::Decoder<'static, BufReader<File>>>);

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a damaged recipe in the store")
}

/// Opens a recipe: the size of the archive, and the steps.
fn open(path: &Path) -> io::Result<(u64, Steps)> {
    let mut file = File::open(path)?;
    let mut head = [0; HEAD];
    file.read_exact(&mut head)?;
    let (magic, size) = head.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err(damaged());
    }
    let size = u64::from_le_bytes(size.try_into().map_err(|_| damaged())?);
    let decoder = zstd::stream::read::Decoder::new(file)?;
    Ok((size, Steps(BufReader::with_capacity(64 << 10, decoder))))
}

impl Steps {
    fn next(&mut self) -> io::Result<Option<Step>> {
        let mut kind = [0];
        if self.0.read(&mut kind)? == 0 {
            return Ok(None);
        }
        match kind[0] {
            1 => {
                let mut len = [0; 4];
                self.0.read_exact(&mut len)?;
                let len = u32::from_le_bytes(len) as usize;
                if len > LONGEST {
                    return Err(damaged());
                }
                let mut bytes = vec![0; len];
                self.0.read_exact(&mut bytes)?;
                Ok(Some(Step::Bytes(bytes)))
            }
            2 => {
                let mut number = || {
                    let mut raw = [0; 8];
                    self.0.read_exact(&mut raw)?;
                    io::Result::Ok(u64::from_le_bytes(raw))
                };
                Ok(Some(Step::Part(number()?, number()?, number()?)))
            }
            _ => Err(damaged()),
        }
    }
}

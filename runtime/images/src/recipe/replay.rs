//! The archive, made again.

use std::io::{self, Read};
use std::path::Path;

use super::{Step, Steps, damaged, open};
use crate::erofs::{Inode, Reader};

/// A stream of the archive's bytes.
pub(crate) struct Replay {
    image: Reader,
    steps: Steps,
    size: u64,
    now: Now,
}

enum Now {
    Bytes(Vec<u8>, usize),
    Part(Box<Inode>, u64, u64),
}

impl Replay {
    /// Opens a recipe and the image it is for.
    ///
    /// # Errors
    /// Those of the files, or one of them is damaged.
    pub(crate) fn open(image: &Path, recipe: &Path) -> io::Result<Replay> {
        let (size, steps) = open(recipe)?;
        Ok(Replay {
            image: Reader::open(image)?,
            steps,
            size,
            now: Now::Bytes(Vec::new(), 0),
        })
    }

    /// Bytes of the archive.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }
}

impl Read for Replay {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match &mut self.now {
                Now::Bytes(bytes, at) if *at < bytes.len() => {
                    let len = buffer.len().min(bytes.len() - *at);
                    buffer[..len].copy_from_slice(&bytes[*at..*at + len]);
                    *at += len;
                    return Ok(len);
                }
                Now::Part(inode, at, end) if *at < *end => {
                    let want = buffer.len().min((*end - *at) as usize);
                    let got = self.image.read_at(inode, *at, &mut buffer[..want])?;
                    if got == 0 && want > 0 {
                        return Err(damaged());
                    }
                    *at += got as u64;
                    return Ok(got);
                }
                Now::Bytes(..) | Now::Part(..) => {}
            }
            self.now = match self.steps.next()? {
                None => return Ok(0),
                Some(Step::Bytes(bytes)) => Now::Bytes(bytes, 0),
                Some(Step::Part(nid, from, len)) => {
                    let end = from.checked_add(len).ok_or_else(damaged)?;
                    Now::Part(Box::new(self.image.inode(nid)?), from, end)
                }
            };
        }
    }
}

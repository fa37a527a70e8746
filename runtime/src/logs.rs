//! A container's output on disk: append-only, rotated, one JSON object per
//! line.
//!
//! `ID.log` is being written; `ID.log.1` was before it, `ID.log.2` before
//! that. A line with stream 0 stands at the start of each boot.

mod entry;
mod reader;
mod readers;
mod writer;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

pub use entry::Entry;
pub use reader::Reader;
pub use readers::Readers;
pub use writer::{Limits, Writer};

/// Files that are looked for when a container goes, whatever its limits.
const MOST_FILES: u32 = 1000;

/// The file that was put aside `age` rotations ago.
fn rotated(path: &Path, age: u32) -> PathBuf {
    if age == 0 {
        return path.to_path_buf();
    }
    path.with_extension(format!("log.{age}"))
}

/// The file that is to be the next one to write.
fn fresh(path: &Path) -> PathBuf {
    path.with_extension("log.partial")
}

/// What tells a file from another one; 0 when there is none.
fn inode(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |meta| meta.ino())
}

/// How many files were put aside.
fn ages(path: &Path) -> u32 {
    (1..MOST_FILES)
        .take_while(|age| rotated(path, *age).exists())
        .last()
        .unwrap_or(0)
}

/// Removes a container's logs.
pub fn remove(path: &Path) {
    let _ = std::fs::remove_file(fresh(path));
    for age in 0..=ages(path) {
        let _ = std::fs::remove_file(rotated(path, age));
    }
}

#[cfg(test)]
mod tests;

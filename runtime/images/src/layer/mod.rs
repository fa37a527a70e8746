//! From a layer's blob to an EROFS image.
//!
//! ```text
//! blob ─► digest ─► decompress ─┬─► digest (the diff id)
//!        (one thread)           └─► tar ─► tree + contents ─► EROFS
//! ```
//!
//! A layer is hostile input. Nothing of it is ever unpacked into the host's
//! file system: names exist in memory and in the image only.

mod apply;
mod decode;
mod entry;
mod error;
mod feed;
mod path;
mod sparse;
mod tarball;
mod unpack;
mod way;

pub use decode::plain;
pub(crate) use decode::{Compression, decompress, sniff};
pub(crate) use error::LayerError;
pub(crate) use unpack::{Job, Limits, disk_size, persist, temporary, unpack};

#[cfg(test)]
mod tests;

//! EROFS images: a streaming writer and a reader for what it writes.
//!
//! File contents go to the output as they arrive, block after block; names
//! and attributes stay in memory and are written behind them. So the file
//! looks like this:
//!
//! ```text
//! | super block | contents, whole blocks | directories | inodes, xattrs, tails |
//! ```
//!
//! The last part of a file that does not fill a block waits in a spill file
//! and ends up right behind its inode, as in images made by `mkfs.erofs`.
//! Nothing is compressed, which lets the guest map pages from the disk as
//! they are. The format is that of Linux `fs/erofs/erofs_fs.h`.

mod data;
mod format;
mod read;
mod tree;
mod write;

pub(crate) use data::{Contents, Extent, read_extent};
pub(crate) use format::{Kind, Xattrs, device};
pub(crate) use read::{Entry, Inode, Reader};
pub(crate) use tree::{Attributes, Content, NodeId, ROOT, Tree};
pub(crate) use write::{Written, finish};

#[cfg(test)]
mod listing;
#[cfg(test)]
pub(crate) use listing::{content, listing};
#[cfg(test)]
mod tests;

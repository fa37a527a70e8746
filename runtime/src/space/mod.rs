//! Disk space: what takes it up, and how it comes back.
//!
//! Nothing that somebody needs goes. An image is needed by the containers
//! that were made from it and by operations that are about to make some
//! ([`Lease`]); a stack's containers go only while no operation changes the
//! stack; whoever adds to the image store keeps everybody from deleting
//! there. Everything is forgotten first and deleted then, so what a kill
//! leaves is found by the [`sweep`] of the next start.

mod images;
mod lease;
mod prune;
mod sweep;
mod usage;

pub(crate) use images::disks;
pub use images::{details, prune as prune_images, remove as remove_images};
pub use lease::{Lease, Leases};
pub use prune::prune;
pub use sweep::sweep;
pub use usage::usage;

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Bytes that a file, or everything below a directory, takes on the disk.
/// Links are not followed; what cannot be read counts nothing.
pub(crate) fn blocks(path: &Path) -> u64 {
    let Ok(meta) = std::fs::symlink_metadata(path) else {
        return 0;
    };
    let mut total = meta.blocks() * 512;
    let mut ahead = Vec::new();
    if meta.is_dir() {
        ahead.push(path.to_path_buf());
    }
    while let Some(dir) = ahead.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else {
                continue;
            };
            total += meta.blocks() * 512;
            if meta.is_dir() {
                ahead.push(entry.path());
            }
        }
    }
    total
}

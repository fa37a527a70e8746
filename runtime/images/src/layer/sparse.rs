//! Contents of files with holes.

use std::io::Read;

use tar_core::SparseEntry;

use super::LayerError;
use super::feed::Feed;
use super::tarball::copy;
use crate::erofs::Contents;

use crate::erofs::{Extent, Xattrs};

/// Where data is in a file with holes.
#[derive(Debug, Clone)]
pub(super) struct Map {
    /// Bytes of the whole file.
    pub size: u64,
    /// In ascending order, without overlap.
    pub regions: Vec<SparseEntry>,
}

impl Map {
    /// Checks a map against the bytes that are in the archive.
    ///
    /// # Errors
    /// Regions overlap, are out of order, or do not fit.
    pub(super) fn new(
        size: u64,
        regions: Vec<SparseEntry>,
        stored: u64,
    ) -> Result<Map, LayerError> {
        let mut at = 0;
        let mut data = 0u64;
        for region in &regions {
            let end = region
                .offset
                .checked_add(region.length)
                .filter(|end| *end <= size);
            let Some(end) = end.filter(|_| region.offset >= at) else {
                return Err(LayerError::bad("a map of holes that makes no sense"));
            };
            at = end;
            // No sum of regions without overlap exceeds `size`.
            data += region.length;
        }
        if data != stored {
            return Err(LayerError::bad("a map of holes that does not fit the data"));
        }
        Ok(Map { size, regions })
    }
}

/// Stores the contents; holes stay holes.
pub(super) fn store<R: Read>(
    map: &Map,
    feed: &mut Feed<R>,
    contents: &mut Contents,
    xattrs: &Xattrs,
) -> Result<Extent, LayerError> {
    let mut writer = contents.begin(map.size, xattrs)?;
    for region in &map.regions {
        let at = map.size - writer.remaining();
        writer.skip(region.offset - at)?;
        copy(feed, region.length, &mut writer)?;
    }
    Ok(writer.end()?)
}

//! Which blobs a layer was made from. A manifest claims which blob has which
//! content, and nobody checks that of a layer that is there already; what is
//! noted here was seen.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::layer::Compression;

/// Blobs that are noted for one layer at most.
const MOST: usize = 32;

/// A blob of which the content is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Blob {
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// Type (OCI image specification, layer.md).
    pub media_type: String,
}

impl Blob {
    pub(crate) fn new(digest: Digest, size: u64, compression: Compression) -> Blob {
        let end = match compression {
            Compression::None => "",
            Compression::Gzip => "+gzip",
            Compression::Zstd => "+zstd",
        };
        Blob {
            digest,
            size,
            media_type: format!("application/vnd.oci.image.layer.v1.tar{end}"),
        }
    }
}

/// The blobs in a file of notes; without one, or with a damaged one, none.
pub(crate) fn noted(file: &Path) -> Vec<Blob> {
    let text = fs::read(file).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// Adds a blob to a file of notes.
///
/// # Errors
/// Those of the file.
pub(crate) fn note(file: &Path, blob: Blob, tmp: &Path) -> io::Result<()> {
    let mut all = noted(file);
    if all.contains(&blob) {
        return Ok(());
    }
    all.retain(|known| known.digest != blob.digest);
    all.truncate(MOST - 1);
    all.insert(0, blob);
    let mut new = tempfile::NamedTempFile::new_in(tmp)?;
    serde_json::to_writer(new.as_file_mut(), &all)?;
    new.flush()?;
    new.persist(file).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_are_noted_once_and_a_damaged_file_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.blobs");
        let blob = |n: u64, kind| Blob::new(Digest::of(&n.to_le_bytes()), n, kind);
        assert_eq!(noted(&file), []);
        for n in [1, 2, 1] {
            note(&file, blob(n, Compression::Gzip), dir.path()).unwrap();
        }
        assert_eq!(noted(&file).len(), 2);
        for n in 0..50 {
            note(&file, blob(n, Compression::Zstd), dir.path()).unwrap();
        }
        assert_eq!(noted(&file).len(), MOST);
        assert!(noted(&file)[0].media_type.ends_with("+zstd"));
        fs::write(&file, "[{").unwrap();
        assert_eq!(noted(&file), []);
    }
}

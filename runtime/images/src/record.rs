//! The small file that makes an image known: `images/<hash>.json`, where the
//! hash is that of the reference.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::ImageConfig;
use crate::digest::Digest;
use crate::error::Error;
use crate::image::{Image, ImageSummary};
use crate::layer::disk_size;

/// A file of the store that stands for one or more layers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LayerFile {
    /// One layer, by its diff id.
    Layer(Digest),
    /// Lowest layers merged, by their chain id.
    Chain(Digest),
    /// Directories that layers get wrong, by the chain id of all of them.
    Directories(Digest),
}

impl LayerFile {
    /// Its place in the store.
    pub(crate) fn path(&self, root: &Path) -> PathBuf {
        match self {
            LayerFile::Layer(digest) => root.join(format!("layers/{}.erofs", digest.hex())),
            LayerFile::Chain(digest) => root.join(format!("chains/{}.erofs", digest.hex())),
            LayerFile::Directories(digest) => {
                root.join(format!("chains/{}.directories.erofs", digest.hex()))
            }
        }
    }
}

/// What is kept of an image.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub reference: String,
    pub id: Digest,
    pub digest: Digest,
    pub platform: String,
    pub config: ImageConfig,
    /// Lowest first.
    pub files: Vec<LayerFile>,
    pub created_ms: u64,
}

impl Record {
    fn file(root: &Path, reference: &str) -> PathBuf {
        let name = Digest::of(reference.as_bytes());
        root.join("images").join(format!("{}.json", name.hex()))
    }

    /// Reads the record of a reference.
    ///
    /// # Errors
    /// Those of the file; a damaged one counts as missing.
    pub(crate) fn load(root: &Path, reference: &str) -> Result<Option<Record>, Error> {
        read(&Record::file(root, reference))
    }

    /// All records, by reference.
    ///
    /// # Errors
    /// Those of the files.
    pub(crate) fn all(root: &Path) -> Result<Vec<Record>, Error> {
        let dir = root.join("images");
        let list = fs::read_dir(&dir).map_err(Error::store("listing images"))?;
        let mut records = Vec::new();
        for entry in list {
            let path = entry.map_err(Error::store("listing images"))?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                records.extend(read(&path)?);
            }
        }
        records.sort_by(|a: &Record, b| a.reference.cmp(&b.reference));
        Ok(records)
    }

    /// Writes the record in one step.
    ///
    /// # Errors
    /// Those of the file.
    pub(crate) fn save(&self, root: &Path) -> Result<(), Error> {
        let write = || -> io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(root.join("tmp"))?;
            serde_json::to_writer(file.as_file_mut(), self)?;
            file.flush()?;
            file.as_file().sync_all()?;
            file.persist(Record::file(root, &self.reference))
                .map_err(|error| error.error)?;
            fs::File::open(root.join("images"))?.sync_all()
        };
        write().map_err(|source| match source.kind() {
            io::ErrorKind::StorageFull => Error::DiskFull {
                image: self.reference.clone(),
                store: root.to_owned(),
            },
            _ => Error::Store {
                what: format!("image {}", self.reference),
                source,
            },
        })
    }

    /// Keeps the image that this one's reference has led to so far, if that
    /// is another one: it stays known by its id, for the containers that were
    /// made from it and for the way back.
    ///
    /// # Errors
    /// Those of the files.
    pub(crate) fn keep_former(&self, root: &Path) -> Result<(), Error> {
        let former = Record::load(root, &self.reference)?;
        let Some(former) = former.filter(|former| former.id != self.id) else {
            return Ok(());
        };
        let by_id = Record {
            reference: former.id.to_string(),
            ..former
        };
        by_id.save(root)
    }

    /// Forgets the image; `false` when it was not known.
    ///
    /// # Errors
    /// Those of the file.
    pub(crate) fn remove(root: &Path, reference: &str) -> Result<bool, Error> {
        match fs::remove_file(Record::file(root, reference)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::store(format!("removing image {reference}"))(error)),
        }
    }

    /// The image, or `None` when one of its files is gone.
    pub(crate) fn image(&self, root: &Path) -> Option<Image> {
        let layers: Vec<PathBuf> = self.files.iter().map(|file| file.path(root)).collect();
        let size = layers
            .iter()
            .map(|path| disk_size(path).ok())
            .sum::<Option<u64>>()?;
        Some(Image {
            reference: self.reference.clone(),
            id: self.id.to_string(),
            digest: self.digest.to_string(),
            layers,
            config: self.config.clone(),
            size,
            platform: self.platform.clone(),
        })
    }

    /// The image's line in a list.
    pub(crate) fn summary(&self, root: &Path) -> ImageSummary {
        let sizes = self
            .files
            .iter()
            .map(|file| disk_size(&file.path(root)).unwrap_or(0));
        ImageSummary {
            reference: self.reference.clone(),
            id: self.id.to_string(),
            digest: self.digest.to_string(),
            size: sizes.sum(),
            platform: self.platform.clone(),
            created_ms: self.created_ms,
        }
    }
}

fn read(path: &Path) -> Result<Option<Record>, Error> {
    let raw = match fs::read(path) {
        Ok(raw) => raw,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::store("reading an image's record")(error)),
    };
    match serde_json::from_slice(&raw) {
        Ok(record) => Ok(Some(record)),
        Err(error) => {
            tracing::warn!(%error, path = %path.display(), "damaged record of an image");
            Ok(None)
        }
    }
}

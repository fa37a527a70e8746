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
    /// Where the way to make a layer's archive again is.
    pub(crate) fn recipe(root: &Path, layer: &Digest) -> PathBuf {
        root.join(format!("layers/{}.recipe", layer.hex()))
    }

    /// Where it is noted which blobs a layer was made from. It stays when the
    /// layer becomes part of a merged file.
    pub(crate) fn blobs(root: &Path, layer: &Digest) -> PathBuf {
        root.join(format!("layers/{}.blobs", layer.hex()))
    }

    /// Where that is for a layer that is part of a merged file.
    pub(crate) fn recipe_in(root: &Path, chain: &Digest, layer: &Digest) -> PathBuf {
        let (chain, layer) = (chain.hex(), layer.hex());
        root.join(format!("chains/{chain}.{layer}.recipe"))
    }

    /// Is it in the store, with all that belongs to it?
    pub(crate) fn is_whole(&self, root: &Path) -> bool {
        let recipe = match self {
            LayerFile::Layer(layer) => LayerFile::recipe(root, layer).exists(),
            LayerFile::Chain(_) | LayerFile::Directories(_) => true,
        };
        recipe && self.path(root).exists()
    }

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
    /// Files that nothing can be seen of; the image is not whole without
    /// them when it goes elsewhere.
    #[serde(default)]
    pub hidden: Vec<LayerFile>,
    pub created_ms: u64,
    /// What it goes elsewhere with.
    #[serde(default)]
    pub origin: Origin,
}

/// What is kept of how an image came.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Origin {
    /// The configuration, byte for byte.
    pub config: String,
    /// Diff ids, lowest first.
    pub layers: Vec<Digest>,
    /// The manifest, byte for byte, when it came with one that names all
    /// layers of the image.
    #[serde(default)]
    pub manifest: Option<String>,
    /// Host and repository, when it came from a registry.
    #[serde(default)]
    pub registry: Option<(String, String)>,
}

impl Record {
    fn file(root: &Path, reference: &str) -> PathBuf {
        let name = Digest::of(reference.as_bytes());
        root.join("images").join(format!("{}.json", name.hex()))
    }

    /// The file's time says when its registry was last asked.
    ///
    /// # Errors
    /// Those of the file.
    pub(crate) fn touch(root: &Path, reference: &str) -> io::Result<()> {
        let path = Record::file(root, reference);
        let file = fs::File::options().write(true).open(path)?;
        file.set_modified(std::time::SystemTime::now())
    }

    /// When its registry was last asked, or it came from elsewhere.
    pub(crate) fn asked(root: &Path, reference: &str) -> Option<std::time::SystemTime> {
        let meta = fs::metadata(Record::file(root, reference)).ok()?;
        meta.modified().ok()
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

    /// All files of the store that it needs.
    pub(crate) fn needs(&self, root: &Path) -> Vec<PathBuf> {
        let layers = self.origin.layers.iter();
        let mut paths: Vec<PathBuf> = layers.map(|layer| LayerFile::blobs(root, layer)).collect();
        for file in self.files.iter().chain(&self.hidden) {
            paths.push(file.path(root));
            match file {
                LayerFile::Layer(layer) => paths.push(LayerFile::recipe(root, layer)),
                LayerFile::Chain(chain) => {
                    let layers = self.origin.layers.iter();
                    paths.extend(layers.map(|layer| LayerFile::recipe_in(root, chain, layer)));
                }
                LayerFile::Directories(_) => {}
            }
        }
        paths
    }

    /// Each layer, lowest first: its diff id, and the image and the recipe
    /// that its archive can be made from. `None` when that is not possible.
    pub(crate) fn archives(&self, root: &Path) -> Option<Vec<(Digest, PathBuf, PathBuf)>> {
        if self.origin.config.is_empty() {
            return None;
        }
        let chains: Vec<&Digest> = self
            .files
            .iter()
            .chain(&self.hidden)
            .filter_map(|file| match file {
                LayerFile::Chain(chain) => Some(chain),
                LayerFile::Layer(_) | LayerFile::Directories(_) => None,
            })
            .collect();
        let find = |layer: &Digest| {
            let merged = chains.iter().map(|chain| {
                let image = LayerFile::Chain((*chain).clone()).path(root);
                (image, LayerFile::recipe_in(root, chain, layer))
            });
            let single = LayerFile::Layer(layer.clone()).path(root);
            let mut all = std::iter::once((single, LayerFile::recipe(root, layer))).chain(merged);
            let (image, recipe) = all.find(|(image, recipe)| image.exists() && recipe.exists())?;
            Some((layer.clone(), image, recipe))
        };
        self.origin.layers.iter().map(find).collect()
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

/// A document as text.
///
/// # Errors
/// It is not UTF-8, in words.
pub(crate) fn text(raw: Vec<u8>) -> Result<String, String> {
    String::from_utf8(raw).map_err(|_| "its configuration is not UTF-8".to_owned())
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

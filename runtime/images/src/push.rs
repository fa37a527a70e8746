//! Bringing an image to a registry (OCI distribution specification, "Push").
//!
//! What the registry has already is not sent: a layer whose blob is known
//! from the registry that it came from is looked for, or taken over from the
//! other repository. If that goes for all of an image, its manifest goes as
//! it came and the digest stays the same. Other layers are made again and
//! compressed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde_json::{Value, json};

use crate::blobs::{self, Blob};
use crate::digest::{Digest, Hasher};
use crate::error::Error;
use crate::layer::Compression;
use crate::lock::blocking;
use crate::manifest::{Descriptor, Document};
use crate::options::PullOptions;
use crate::progress::{Phase, Report, Reporter};
use crate::pull::registry::{Registry, Use};
use crate::recipe::Replay;
use crate::record::{LayerFile, Origin, Record};
use crate::reference::Reference;
use crate::save::{CONFIG, Checked, MANIFEST, Whole};
use crate::space::SpaceGuard;
use crate::store::Store;

/// Layers that are on their way at a time.
const PARALLEL: usize = 3;

/// A blob that a registry is known to have.
#[derive(Debug, Clone)]
struct Known {
    host: String,
    repository: String,
    blob: Descriptor,
}

/// Where blobs of layers are, by diff id.
type Blobs = BTreeMap<Digest, Vec<Known>>;

impl Store {
    /// Brings an image to the registry that its name says; gives the digest
    /// of its manifest there. Dropping the future ends it.
    ///
    /// # Errors
    /// It is not here, or the registry does not take it.
    pub async fn push(
        &self,
        reference: &str,
        options: &PullOptions,
        progress: impl Fn(crate::Progress) + Send + Sync + 'static,
    ) -> Result<String, Error> {
        let name: Reference = reference.parse()?;
        let Some(_) = &name.tag else {
            return Err(Error::BadReference {
                reference: reference.to_owned(),
                why: "an image is pushed by a name with a tag".to_owned(),
            });
        };
        let _held = self.hold().await?;
        let whole = Whole::find(self, &name.to_string())?;
        let registry = Arc::new(Registry::connect_to(&name, options, Use::Push).await?);
        let blobs = Arc::new(known(self.root(), &Record::all(self.root())?));
        let report: Arc<Report> = Arc::new(progress);
        let sent = whole.layers.clone().into_iter().map(|layer| {
            let (store, registry) = (self.clone(), Arc::clone(&registry));
            let (blobs, report) = (Arc::clone(&blobs), Arc::clone(&report));
            let asked = reference.to_owned();
            async move { one(&store, &registry, &asked, &layer, &blobs, &report).await }
        });
        let sent = stream::iter(sent).buffered(PARALLEL);
        let layers: Vec<Descriptor> = sent.try_collect().await.map_err(not_taken)?;
        let record = &whole.record;
        let config = record.origin.config.as_bytes();
        let done = async {
            if !registry.has_blob(&record.id).await? {
                registry.upload_small(&record.id, config).await?;
            }
            let (manifest, media_type) = manifest(record, &layers);
            registry.put_manifest(&manifest, &media_type).await?;
            Ok(manifest)
        };
        let manifest = done.await.map_err(not_taken)?;
        let digest = Digest::of(manifest.as_bytes());
        self.note_push(&whole.record, &digest, (manifest, registry.place()))?;
        Ok(digest.to_string())
    }

    /// The next push, and a look at the image, begin with what is there. A
    /// name that leads to another image by now, or to none, stays as it is.
    fn note_push(
        &self,
        pushed: &Record,
        digest: &Digest,
        (manifest, place): (String, (String, String)),
    ) -> Result<(), Error> {
        let now = Record::load(self.root(), &pushed.reference)?;
        let Some(now) = now.filter(|now| now.id == pushed.id) else {
            return Ok(());
        };
        let record = Record {
            digest: digest.clone(),
            origin: Origin {
                manifest: Some(manifest),
                registry: Some(place),
                ..now.origin
            },
            ..now
        };
        record.save(self.root())
    }
}

/// For a push, a refusal means something else.
fn not_taken(error: Error) -> Error {
    match error {
        Error::Unauthorized {
            image,
            registry,
            why,
        } => Error::NotTaken {
            image,
            registry,
            why,
        },
        Error::NotFound { image, registry } => Error::NotTaken {
            image,
            registry,
            why: "there is no such repository, or it is not for everybody".to_owned(),
        },
        other => other,
    }
}

/// The blobs of all images that came from registries, as far as it was seen
/// which layers they make: a manifest may claim anything.
fn known(root: &Path, records: &[Record]) -> Blobs {
    let mut known = Blobs::new();
    for record in records {
        let origin = &record.origin;
        let (Some(manifest), Some((host, repository))) = (&origin.manifest, &origin.registry)
        else {
            continue;
        };
        let Ok(Document::Manifest(manifest)) = Document::parse(manifest.as_bytes()) else {
            continue;
        };
        if manifest.layers.len() != origin.layers.len() {
            continue;
        }
        for (diff_id, claimed) in origin.layers.iter().zip(manifest.layers) {
            let seen = blobs::noted(&LayerFile::blobs(root, diff_id));
            let Some(blob) = seen.into_iter().find(|seen| seen.digest == claimed.digest) else {
                continue;
            };
            let blob = Descriptor::from(blob);
            known.entry(diff_id.clone()).or_default().push(Known {
                host: host.clone(),
                repository: repository.clone(),
                blob,
            });
        }
    }
    known
}

async fn one(
    store: &Store,
    registry: &Registry,
    asked: &str,
    (diff_id, image, recipe): &(Digest, PathBuf, PathBuf),
    blobs: &Blobs,
    report: &Arc<Report>,
) -> Result<Descriptor, Error> {
    let (host, repository) = registry.place();
    let reporter =
        |digest: &Digest, size| Reporter::new(Arc::clone(report), asked, digest.short(), size);
    for known in blobs.get(diff_id).into_iter().flatten() {
        let there = registry.has_blob(&known.blob.digest).await?
            || known.host == host
                && known.repository != repository
                && registry
                    .mount(&known.blob.digest, &known.repository)
                    .await?;
        if there {
            reporter(&known.blob.digest, known.blob.size).at(Phase::Exists, 0);
            return Ok(known.blob.clone());
        }
    }
    let tmp = store.root().join("tmp");
    let (image, recipe, id) = (image.clone(), recipe.clone(), diff_id.clone());
    let notes = LayerFile::blobs(store.root(), diff_id);
    let made = blocking(move || {
        let (file, digest, size) = compress(&image, &recipe, &id, &tmp)?;
        let blob = Blob::new(digest, size, Compression::Gzip);
        blobs::note(&notes, blob.clone(), &tmp)?;
        Ok((file, blob))
    })
    .await;
    let (file, blob) = made.map_err(|source| match source.kind() {
        io::ErrorKind::StorageFull => Error::DiskFull {
            image: asked.to_owned(),
            store: store.root().to_owned(),
        },
        _ => Error::store("making a layer again")(source),
    })?;
    let reporter = Arc::new(reporter(&blob.digest, blob.size));
    if registry.has_blob(&blob.digest).await? {
        reporter.at(Phase::Exists, 0);
    } else {
        let shown = Arc::clone(&reporter);
        let progress = move |done| shown.at(Phase::Uploading, done);
        registry
            .upload(&blob.digest, &Arc::new(file), blob.size, &progress)
            .await?;
        reporter.at(Phase::Done, 0);
    }
    Ok(blob.into())
}

impl From<Blob> for Descriptor {
    fn from(blob: Blob) -> Descriptor {
        Descriptor {
            media_type: blob.media_type,
            digest: blob.digest,
            size: blob.size,
            platform: None,
            annotations: None,
        }
    }
}

/// A layer's archive, compressed, in a file without a name.
fn compress(
    image: &std::path::Path,
    recipe: &std::path::Path,
    diff_id: &Digest,
    tmp: &std::path::Path,
) -> io::Result<(File, Digest, u64)> {
    let mut archive = Checked::new(Replay::open(image, recipe)?);
    let out = Hashed {
        file: tempfile::tempfile_in(tmp)?,
        hasher: Hasher::new(),
        size: 0,
        space: SpaceGuard::default(),
    };
    let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::default());
    io::copy(&mut archive, &mut encoder)?;
    archive.is(diff_id)?;
    let out = encoder.finish()?;
    Ok((out.file, out.hasher.finish(), out.size))
}

struct Hashed {
    file: File,
    hasher: Hasher,
    size: u64,
    space: SpaceGuard,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.space.before_write(&self.file, bytes.len())?;
        let len = self.file.write(bytes)?;
        self.hasher.update(&bytes[..len]);
        self.size += len as u64;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The manifest and its type: the one that it came with, if it says the same.
fn manifest(record: &Record, layers: &[Descriptor]) -> (String, String) {
    if let Some(raw) = &record.origin.manifest
        && let Ok(Document::Manifest(known)) = Document::parse(raw.as_bytes())
        && known.config.digest == record.id
        && known.layers.len() == layers.len()
        && known
            .layers
            .iter()
            .zip(layers)
            .all(|(a, b)| a.digest == b.digest)
    {
        let parsed: Value = serde_json::from_str(raw).unwrap_or_default();
        let media_type = parsed["mediaType"].as_str().unwrap_or(MANIFEST);
        return (raw.clone(), media_type.to_owned());
    }
    let layer = |layer: &Descriptor| {
        let media_type = match layer.media_type.as_str() {
            kind if kind.contains("gzip") => "application/vnd.oci.image.layer.v1.tar+gzip",
            kind if kind.contains("zstd") => "application/vnd.oci.image.layer.v1.tar+zstd",
            _ => "application/vnd.oci.image.layer.v1.tar",
        };
        json!({"mediaType": media_type, "digest": layer.digest, "size": layer.size})
    };
    let config = json!({
        "mediaType": CONFIG,
        "digest": record.id,
        "size": record.origin.config.len(),
    });
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config,
        "layers": layers.iter().map(layer).collect::<Vec<_>>(),
    });
    (manifest.to_string(), MANIFEST.to_owned())
}

#[cfg(test)]
mod tests;

//! Images as one archive: an OCI layout (OCI image specification,
//! image-layout.md) with the `manifest.json` that `docker load` reads.
//!
//! Layers are not compressed, so their digests are the diff ids and nothing
//! has to be made before it is written.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::digest::{Digest, Hasher};
use crate::error::Error;
use crate::lock::blocking;
use crate::recipe::Replay;
use crate::record::Record;
use crate::reference::{HUB, Reference};
use crate::store::Store;

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// An image that can go elsewhere.
pub(crate) struct Whole {
    pub record: Record,
    /// Diff id, image, recipe; lowest first.
    pub layers: Vec<(Digest, PathBuf, PathBuf)>,
}

impl Whole {
    /// Finds an image with all that it takes.
    ///
    /// # Errors
    /// It is not here, or its archives cannot be made again.
    pub(crate) fn find(store: &Store, word: &str) -> Result<Whole, Error> {
        let record = store.find(word)?;
        let layers = record
            .archives(store.root())
            .ok_or_else(|| Error::NotWhole {
                image: word.to_owned(),
            })?;
        Ok(Whole { record, layers })
    }
}

impl Store {
    /// Are these images here, and can they be saved? Each may be named as in
    /// [`Store::find_image`].
    ///
    /// # Errors
    /// One is not here, or cannot be made again.
    pub fn check_savable(&self, images: &[String]) -> Result<(), Error> {
        for image in images {
            Whole::find(self, image)?;
        }
        Ok(())
    }

    /// Writes images as one archive that [`Store::load`], `docker load` and
    /// `skopeo` read. Each may be named as in [`Store::find_image`]; named by
    /// its id, it has no name there.
    ///
    /// # Errors
    /// One is not here, the store is damaged, or the archive cannot be
    /// written.
    pub async fn save(
        &self,
        images: &[String],
        to: impl Write + Send + 'static,
    ) -> Result<(), Error> {
        let held = self.hold().await?;
        let whole: Result<Vec<Whole>, Error> =
            images.iter().map(|word| Whole::find(self, word)).collect();
        let whole = whole?;
        blocking(move || {
            let _held = held;
            write(&whole, to)
        })
        .await
        .map_err(Error::store("saving images"))
    }
}

fn write(images: &[Whole], to: impl Write) -> io::Result<()> {
    let mut archive = tar::Builder::new(to);
    let mut there: BTreeSet<Digest> = BTreeSet::new();
    let mut by_id: BTreeMap<&Digest, (&Whole, Vec<&str>)> = BTreeMap::new();
    for image in images {
        let (_, names) = by_id.entry(&image.record.id).or_insert((image, Vec::new()));
        let name = image.record.reference.as_str();
        if !image.record.is_nameless() && !names.contains(&name) {
            names.push(name);
        }
    }
    let (mut manifests, mut docker) = (Vec::new(), Vec::new());
    for (id, (image, names)) in by_id {
        let mut layers = Vec::new();
        for (diff_id, file, recipe) in &image.layers {
            let replay = Replay::open(file, recipe)?;
            let size = replay.size();
            layers.push(json!({"mediaType": LAYER, "digest": diff_id, "size": size}));
            if there.insert(diff_id.clone()) {
                layer(&mut archive, diff_id, replay)?;
            }
        }
        let config = image.record.origin.config.as_bytes();
        if there.insert(id.clone()) {
            document(&mut archive, &blob(id), config)?;
        }
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": id, "size": config.len()},
            "layers": layers,
        });
        let manifest = manifest.to_string();
        let digest = Digest::of(manifest.as_bytes());
        if there.insert(digest.clone()) {
            document(&mut archive, &blob(&digest), manifest.as_bytes())?;
        }
        manifests.extend(described(&digest, manifest.len(), image, &names));
        let tags: Vec<String> = names.iter().filter_map(|name| familiar(name)).collect();
        docker.push(json!({
            "Config": blob(id),
            "RepoTags": if tags.is_empty() { Value::Null } else { json!(tags) },
            "Layers": image.layers.iter().map(|(id, ..)| blob(id)).collect::<Vec<_>>(),
        }));
    }
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": manifests,
    });
    document(&mut archive, "index.json", index.to_string().as_bytes())?;
    let docker = Value::from(docker).to_string();
    document(&mut archive, "manifest.json", docker.as_bytes())?;
    let layout = json!({"imageLayoutVersion": "1.0.0"}).to_string();
    document(&mut archive, "oci-layout", layout.as_bytes())?;
    archive.into_inner()?.flush()
}

// One descriptor for each name.
fn described(digest: &Digest, size: usize, image: &Whole, names: &[&str]) -> Vec<Value> {
    let (os, rest) = image
        .record
        .platform
        .split_once('/')
        .unwrap_or(("linux", ""));
    let (architecture, variant) = match rest.split_once('/') {
        Some((architecture, variant)) => (architecture, Some(variant)),
        None => (rest, None),
    };
    let mut platform = json!({"architecture": architecture, "os": os});
    if let Some(variant) = variant {
        platform["variant"] = json!(variant);
    }
    let plain = json!({
        "mediaType": MANIFEST,
        "digest": digest,
        "size": size,
        "platform": platform,
    });
    if names.is_empty() {
        return vec![plain];
    }
    let with = |name: &&str| {
        let mut described = plain.clone();
        let reference = name.parse::<Reference>().ok();
        let tag = reference.and_then(|reference| reference.tag);
        described["annotations"] = json!({"io.containerd.image.name": name});
        if let Some(tag) = tag {
            described["annotations"]["org.opencontainers.image.ref.name"] = json!(tag);
        }
        described
    };
    names.iter().map(with).collect()
}

/// As Docker shows it: `nginx:1`. `None` without a tag.
pub(crate) fn familiar(name: &str) -> Option<String> {
    let reference: Reference = name.parse().ok()?;
    let tag = reference.tag?;
    let repository = match reference.registry.as_str() {
        HUB => reference
            .repository
            .strip_prefix("library/")
            .unwrap_or(&reference.repository)
            .to_owned(),
        registry => format!("{registry}/{}", reference.repository),
    };
    Some(format!("{repository}:{tag}"))
}

fn blob(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn header(size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_entry_type(tar::EntryType::Regular);
    header
}

fn document(archive: &mut tar::Builder<impl Write>, name: &str, content: &[u8]) -> io::Result<()> {
    archive.append_data(&mut header(content.len() as u64), Path::new(name), content)
}

fn layer(
    archive: &mut tar::Builder<impl Write>,
    diff_id: &Digest,
    replay: Replay,
) -> io::Result<()> {
    let size = replay.size();
    let mut checked = Checked::new(replay);
    // ustar's size field ends at 8 GiB; beyond, the number is binary.
    let mut header = if size < 8 << 30 {
        header(size)
    } else {
        let mut header = tar::Header::new_gnu();
        header.set_size(size);
        header.set_mode(0o644);
        header
    };
    archive.append_data(&mut header, blob(diff_id), &mut checked)?;
    checked.is(diff_id)
}

/// A reader whose content is compared with its digest at the end.
pub(crate) struct Checked<R> {
    inner: R,
    hasher: Hasher,
}

impl<R> Checked<R> {
    pub(crate) fn new(inner: R) -> Checked<R> {
        Checked {
            inner,
            hasher: Hasher::new(),
        }
    }

    /// Was it what it had to be?
    ///
    /// # Errors
    /// No: the store is damaged.
    pub(crate) fn is(self, expected: &Digest) -> io::Result<()> {
        let actual = self.hasher.finish();
        match actual == *expected {
            true => Ok(()),
            false => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("layer {expected} is damaged: pull or build the image again"),
            )),
        }
    }
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..len]);
        Ok(len)
    }
}

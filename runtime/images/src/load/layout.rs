//! OCI layouts (OCI image specification, image-layout.md).

use super::source::Source;
use super::{Found, FoundLayer, pair};
use crate::config::ConfigFile;
use crate::digest::Digest;
use crate::layer::LayerError;
use crate::manifest::{Descriptor, Document, Manifest, choose};
use crate::platform::Platform;
use crate::record::text;
use crate::reference::Reference;

/// The full name, by containerd and Docker.
const FULL_NAME: &str = "io.containerd.image.name";

/// The specification's name, which many tools take for the tag alone.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// How deep an index may lead to others.
const MAX_DEPTH: usize = 4;

/// The images for a platform. `stem` is the repository of those that have
/// only a tag.
///
/// # Errors
/// A file is missing or broken.
pub(super) fn images(
    source: &Source,
    stem: &str,
    platform: &Platform,
) -> Result<Vec<Found>, LayerError> {
    let raw = source.document("index.json")?;
    let Document::Index(all) = Document::parse(&raw).map_err(LayerError::Bad)? else {
        return Err(LayerError::bad("index.json is not an index"));
    };
    // Variants of one image may stand side by side under one name.
    let mut groups: Vec<(Option<Reference>, Vec<Descriptor>)> = Vec::new();
    for descriptor in all {
        let name = name(&descriptor, stem);
        match groups.iter_mut().find(|(known, _)| *known == name) {
            Some((_, group)) => group.push(descriptor),
            None => groups.push((name, vec![descriptor])),
        }
    }
    let mut found: Vec<Found> = Vec::new();
    for (name, group) in groups {
        let Some((checked, manifest)) = manifest(source, &group, platform, 0)? else {
            continue;
        };
        let Some(digest) = checked.last().cloned() else {
            continue;
        };
        let name = name.and_then(|name| name.believed(&checked));
        let name = name.map(|name| name.to_string());
        match found.iter_mut().find(|other| other.digest == digest) {
            Some(other) => other.names.extend(name),
            None => found.push(image(source, name, digest, manifest)?),
        }
    }
    Ok(found)
}

fn name(descriptor: &Descriptor, stem: &str) -> Option<Reference> {
    let annotations = descriptor.annotations.as_ref()?;
    let full = annotations.get(FULL_NAME);
    let short = annotations.get(REF_NAME);
    let text = match (full, short) {
        (Some(full), _) => full.clone(),
        (None, Some(name)) if name.contains(['/', ':']) => name.clone(),
        (None, Some(tag)) => format!("{}:{tag}", stem.to_ascii_lowercase()),
        (None, None) => return None,
    };
    text.parse::<Reference>().ok()
}

// The manifest that fits the platform best, if any does, and the digests of
// what leads to it, its own last.
fn manifest(
    source: &Source,
    variants: &[Descriptor],
    platform: &Platform,
    depth: usize,
) -> Result<Option<(Vec<Digest>, Manifest)>, LayerError> {
    let Ok(chosen) = choose(variants, platform) else {
        return Ok(None);
    };
    let raw = blob(source, &chosen.digest)?;
    match Document::parse(&raw).map_err(LayerError::Bad)? {
        Document::Manifest(manifest) => Ok(Some((vec![chosen.digest.clone()], manifest))),
        Document::Index(_) if depth == MAX_DEPTH => {
            Err(LayerError::bad("its indexes lead nowhere"))
        }
        Document::Index(variants) => {
            let found = manifest(source, &variants, platform, depth + 1)?;
            Ok(found.map(|(mut checked, manifest)| {
                checked.insert(0, chosen.digest.clone());
                (checked, manifest)
            }))
        }
    }
}

fn image(
    source: &Source,
    name: Option<String>,
    digest: Digest,
    manifest: Manifest,
) -> Result<Found, LayerError> {
    let id = manifest.config.digest;
    let raw = blob(source, &id)?;
    let config = ConfigFile::parse(&raw).map_err(LayerError::Bad)?;
    let layer = |layer: &Descriptor| FoundLayer {
        file: file(&layer.digest),
        digest: Some(layer.digest.clone()),
    };
    let layers: Vec<FoundLayer> = manifest.layers.iter().map(layer).collect();
    pair(&config, &layers)?;
    Ok(Found {
        names: name.into_iter().collect(),
        id,
        digest,
        config,
        raw: text(raw).map_err(LayerError::Bad)?,
        layers,
    })
}

fn file(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn blob(source: &Source, digest: &Digest) -> Result<Vec<u8>, LayerError> {
    let raw = source.document(&file(digest))?;
    let actual = Digest::of(&raw);
    if actual != *digest {
        let (expected, actual) = (digest.to_string(), actual.to_string());
        return Err(LayerError::Digest {
            what: "a document",
            expected,
            actual,
        });
    }
    Ok(raw)
}

//! What `docker save` writes: `manifest.json` names configuration and layers
//! (moby, `image/spec/v1.2.md`, "Combined Image JSON + Filesystem Changeset
//! Format"). Since version 25 the files are those of an OCI layout as well.

use serde::Deserialize;

use super::source::Source;
use super::{Found, FoundLayer, pair};
use crate::config::ConfigFile;
use crate::digest::Digest;
use crate::layer::LayerError;
use crate::record::text;
use crate::reference::Reference;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// All images of the archive.
///
/// # Errors
/// A file is missing or broken.
pub(super) fn images(source: &Source) -> Result<Vec<Found>, LayerError> {
    let raw = source.document("manifest.json")?;
    let items: Vec<Item> = serde_json::from_slice(&raw)
        .map_err(|error| LayerError::bad(format!("manifest.json: {error}")))?;
    items.into_iter().map(|item| image(source, item)).collect()
}

fn image(source: &Source, item: Item) -> Result<Found, LayerError> {
    let raw = source.document(&item.config)?;
    let id = Digest::of(&raw);
    if let Some(expected) = digest_of_blob(&item.config)
        && expected != id
    {
        let (expected, actual) = (expected.to_string(), id.to_string());
        return Err(LayerError::Digest {
            what: "a configuration",
            expected,
            actual,
        });
    }
    let config = ConfigFile::parse(&raw).map_err(LayerError::Bad)?;
    let layers: Vec<FoundLayer> = item
        .layers
        .unwrap_or_default()
        .into_iter()
        .map(|file| FoundLayer {
            digest: digest_of_blob(&file),
            file,
        })
        .collect();
    pair(&config, &layers)?;
    let mut names = Vec::new();
    for tag in item.repo_tags.unwrap_or_default() {
        let name: Reference = tag
            .parse()
            .map_err(|error: crate::Error| LayerError::bad(error.to_string()))?;
        // There is no manifest that a digest could be that of.
        names.extend(name.believed(&[]).map(|name| name.to_string()));
    }
    Ok(Found {
        names,
        digest: id.clone(),
        id,
        config,
        raw: text(raw).map_err(LayerError::Bad)?,
        layers,
    })
}

// `blobs/sha256/…` says what is in the file.
fn digest_of_blob(file: &str) -> Option<Digest> {
    format!("sha256:{}", file.strip_prefix("blobs/sha256/")?)
        .parse()
        .ok()
}

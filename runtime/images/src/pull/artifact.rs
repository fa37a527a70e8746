//! Small files that are kept in a registry beside images (OCI image
//! specification, "Guidelines for Artifact Usage").

use std::collections::BTreeMap;

use serde::Deserialize;

use super::registry::Registry;
use crate::error::Error;
use crate::manifest::Descriptor;
use crate::options::PullOptions;
use crate::reference::Reference;

/// Files of an artifact at most.
const MAX_FILES: usize = 64;
/// Bytes of one file at most.
const MAX_FILE: u64 = 8 << 20;

/// An artifact, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Digest of its manifest: `sha256:…`.
    pub digest: String,
    /// In the order of the manifest.
    pub files: Vec<ArtifactFile>,
}

/// One file of an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactFile {
    /// What it is.
    pub media_type: String,
    /// What its maker says about it.
    pub annotations: BTreeMap<String, String>,
    /// What is in it.
    pub content: Vec<u8>,
}

#[derive(Deserialize)]
struct Manifest {
    layers: Option<Vec<Descriptor>>,
}

/// Gets the files of an artifact whose media type `wanted` accepts; every one
/// is checked against its digest.
///
/// # Errors
/// See [`Error`]; an artifact that is too large is a bad image.
pub async fn artifact(
    reference: &str,
    options: &PullOptions,
    wanted: impl Fn(&str) -> bool,
) -> Result<Artifact, Error> {
    let reference: Reference = reference.parse()?;
    let name = reference.to_string();
    let registry = Registry::connect(&reference, options).await?;
    let (digest, raw) = registry.manifest(reference.digest.as_ref()).await?;
    let manifest: Manifest = serde_json::from_slice(&raw)
        .map_err(|error| Error::bad(&name, format!("its manifest: {error}")))?;
    let layers = manifest
        .layers
        .ok_or_else(|| Error::bad(&name, "its manifest lists no files"))?;
    if layers.len() > MAX_FILES {
        return Err(Error::bad(
            name,
            format!("it has more than {MAX_FILES} files"),
        ));
    }
    let mut files = Vec::new();
    for layer in layers.into_iter().filter(|layer| wanted(&layer.media_type)) {
        if layer.size > MAX_FILE {
            let why = format!("a file of it is larger than {} MiB", MAX_FILE >> 20);
            return Err(Error::bad(name, why));
        }
        files.push(ArtifactFile {
            content: registry.document(&layer).await?,
            media_type: layer.media_type,
            annotations: layer.annotations.unwrap_or_default(),
        });
    }
    Ok(Artifact {
        digest: digest.to_string(),
        files,
    })
}

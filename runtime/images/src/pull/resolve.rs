//! What a tag leads to.

use super::registry::Registry;
use crate::error::Error;
use crate::manifest::Document;
use crate::options::PullOptions;
use crate::reference::Reference;

/// What a reference stands for in its registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The reference in full, without a digest: `docker.io/library/nginx:1`.
    pub name: String,
    /// Digest of the manifest, or of the index when the image is for several
    /// platforms: `sha256:…`.
    pub digest: String,
}

/// Asks the registry which manifest a reference leads to. Nothing is
/// downloaded but the manifest, which is checked against its digest.
///
/// # Errors
/// See [`Error`]; what is there but is no image is one too.
pub async fn resolve(reference: &str, options: &PullOptions) -> Result<Resolved, Error> {
    let mut reference: Reference = reference.parse()?;
    let registry = Registry::connect(&reference, options).await?;
    let (digest, raw) = registry.manifest(reference.digest.as_ref()).await?;
    Document::parse(&raw).map_err(|why| Error::bad(reference.to_string(), why))?;
    if reference.tag.is_some() {
        reference.digest = None;
    }
    Ok(Resolved {
        name: reference.to_string(),
        digest: digest.to_string(),
    })
}

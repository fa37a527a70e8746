//! What callers see of an image.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::ImageConfig;

/// An image in the store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// Full reference, such as `docker.io/library/nginx:latest`.
    pub reference: String,
    /// Digest of the configuration: `sha256:…`.
    pub id: String,
    /// Digest of the manifest; the id when it came without one.
    pub digest: String,
    /// EROFS files, lowest first, eight at most.
    pub layers: Vec<PathBuf>,
    /// How it wants to be run.
    pub config: ImageConfig,
    /// Bytes of its layers on disk, shared ones included.
    pub size: u64,
    /// `os/arch[/variant]`
    pub platform: String,
}

/// A line in a list of images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageSummary {
    /// Full reference.
    pub reference: String,
    /// Digest of the configuration.
    pub id: String,
    /// Digest of the manifest.
    pub digest: String,
    /// Bytes of its layers on disk, shared ones included.
    pub size: u64,
    /// `os/arch[/variant]`
    pub platform: String,
    /// When it came into the store, in milliseconds since the epoch.
    pub created_ms: u64,
}

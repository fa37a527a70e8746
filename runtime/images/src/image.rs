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

/// What is known of an image.
#[derive(Debug, Clone, PartialEq)]
pub struct Details {
    /// Full reference; its id when it has none.
    pub reference: String,
    /// It has no name.
    pub nameless: bool,
    /// Digest of the configuration.
    pub id: String,
    /// Digest of the manifest, if it came with one.
    pub digest: Option<String>,
    /// Bytes of its files on disk, shared ones included.
    pub size: u64,
    /// Bytes of files that no other image needs.
    pub unique: u64,
    /// `os/arch[/variant]`
    pub platform: String,
    /// When it came into the store, in milliseconds since the epoch.
    pub stored_ms: u64,
    /// When it was made, as its configuration says (RFC 3339).
    pub made: Option<String>,
    /// How it wants to be run.
    pub config: ImageConfig,
    /// The configuration as it is; null when it is not known.
    pub raw: serde_json::Value,
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

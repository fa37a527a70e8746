//! What takes up the disk, and how it comes back.

use serde::{Deserialize, Serialize};

use crate::image::Filter;

/// An element of `GET /v1/system/usage`: one kind of things.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// `images`, `containers`, `volumes`, `build cache`, `templates`, `logs`,
    /// `ledger`.
    pub kind: String,
    /// How many there are.
    pub total: u64,
    /// How many of them are in use.
    pub active: u64,
    /// Bytes that they take on the disk, shared ones once.
    pub size: u64,
    /// Bytes of what nobody uses.
    pub reclaimable: u64,
    /// Each of them.
    pub items: Vec<Item>,
}

/// Something that takes up the disk.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Item {
    /// What kind of thing it is: `image`, `container`, `volume`, …
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Bytes on the disk; of an image, what no other needs.
    pub size: u64,
    /// Who uses it, or what state it is in.
    pub used_by: Vec<String>,
}

/// `POST /v1/system/prune`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Prune {
    /// Also images with a name, the build cache and templates.
    pub all: bool,
    /// Only the build cache and fetched build contexts.
    pub build_cache: bool,
    /// Also volumes without a name that nobody mounts, or only containers that go.
    pub volumes: bool,
    /// Only what was made before, or has these labels. With `volumes` only labels.
    pub filter: Filter,
    /// Only say what it would be.
    pub dry_run: bool,
}

/// What was removed, or would be.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pruned {
    /// Each thing.
    pub items: Vec<Item>,
    /// Bytes of the disk that are free.
    pub bytes: u64,
    /// What was left alone, and why.
    pub notes: Vec<String>,
}

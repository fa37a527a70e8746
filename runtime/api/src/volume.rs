//! Volumes as they are, and the calls about them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::image::Filter;
use crate::spec::StackSpec;

/// An element of `GET /v1/volumes`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeInfo {
    /// Full name, or 64 hexadecimal digits for one without a name.
    pub name: String,
    /// The stack it was made for; empty for one that was made by hand.
    pub project: String,
    /// What it is on the host.
    pub form: Form,
    /// Where it is on the host.
    pub path: String,
    /// Bytes that it takes on the host's disk.
    pub size: u64,
    /// It was made without a name.
    pub anonymous: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Milliseconds since the epoch; 0 when not known.
    pub created_ms: u64,
    /// Names of the containers that mount it, running or not.
    pub users: Vec<String>,
}

/// Query of `GET /v1/volumes`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Volumes {
    /// Only the one of this full name.
    pub name: Option<String>,
    /// With [`VolumeInfo::size`], for which all files are looked at; else it is 0.
    pub sizes: bool,
}

impl Default for Volumes {
    fn default() -> Volumes {
        Volumes {
            name: None,
            sizes: true,
        }
    }
}

/// What a volume is on the host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// An ext4 disk for one VM at a time.
    #[default]
    Disk,
    /// A directory for any number of VMs.
    Tree,
}

impl Form {
    /// What suits the containers that mount a volume in this stack. An external one may be
    /// other stacks', too.
    pub fn suits(stack: &StackSpec, key: &str) -> Form {
        let external = stack.volumes.get(key).is_some_and(|volume| volume.external);
        match stack.mounting(key) {
            0 | 1 if !external => Form::Disk,
            _ => Form::Tree,
        }
    }
}

/// Body of `POST /v1/volumes`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CreateVolume {
    /// Its name.
    pub name: String,
    /// The stack that it is for; empty: for any.
    pub project: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Largest size of a disk in bytes.
    pub size: Option<u64>,
    /// What it is to be; without it, a disk until a second container comes.
    pub form: Form,
}

/// Body of `POST /v1/volumes/prune`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PruneVolumes {
    /// Those with a name, too.
    pub all: bool,
    /// What remains.
    pub filter: Filter,
    /// Only say which it would be.
    pub dry_run: bool,
}

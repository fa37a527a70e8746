//! Images as they are, and the calls about them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// An element of `GET /v1/images/all`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Details {
    /// Full reference; its id when it has no name.
    pub reference: String,
    /// It has no name.
    pub nameless: bool,
    /// Digest of the configuration: `sha256:…`.
    pub id: String,
    /// Digest of the manifest, if it is known in a registry.
    pub digest: Option<String>,
    /// Bytes on disk, those shared with other images included.
    pub size: u64,
    /// Bytes on disk of what no other image needs.
    pub unique: u64,
    /// `os/arch[/variant]`
    pub platform: String,
    /// When it came, in milliseconds since the epoch.
    pub stored_ms: u64,
    /// When it was made, as it says itself (RFC 3339).
    pub made: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Names of the containers that were made from it.
    pub containers: Vec<String>,
    /// Its configuration (OCI image specification); null when not known.
    pub config: serde_json::Value,
}

/// Query of `GET /v1/images/find`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Find {
    /// By reference, digest, or the first digits of its id.
    pub image: String,
}

/// `POST /v1/images/tag`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Tag {
    /// By reference, digest, or the first digits of its id.
    pub image: String,
    /// One more name.
    pub name: String,
}

/// `POST /v1/images/remove`: forget names, and delete what has none left.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Remove {
    /// By reference, digest, or the first digits of ids.
    pub images: Vec<String>,
    /// Names go even if containers need the image, which stays without a
    /// name then; all names of an image that is named by its id go.
    pub force: bool,
}

/// `POST /v1/images/prune`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Prune {
    /// All that no container was made from, not only those without a name.
    pub all: bool,
    /// What remains.
    #[serde(flatten)]
    pub filter: Filter,
    /// Nothing but these, by id; any, when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
    /// Only say which it would be.
    pub dry_run: bool,
}

/// What is taken.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// Only what was made before, in milliseconds since the epoch.
    pub until_ms: Option<u64>,
    /// Only what has these labels: `key` or `key=value`.
    pub labels: Vec<String>,
    /// Only what has none of these.
    pub without_labels: Vec<String>,
}

impl Filter {
    /// Does it take something with these labels, made then?
    pub fn takes(&self, labels: &BTreeMap<String, String>, made_ms: u64) -> bool {
        let has = |wanted: &String| match wanted.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|there| there == value),
            None => labels.contains_key(wanted),
        };
        self.until_ms.is_none_or(|until| made_ms < until)
            && self.labels.iter().all(has)
            && !self.without_labels.iter().any(has)
    }
}

/// What was removed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Removed {
    /// Names that are gone.
    pub untagged: Vec<String>,
    /// Ids of images that are gone.
    pub deleted: Vec<String>,
    /// Bytes of the disk that are free.
    pub bytes: u64,
}

/// Query of `GET /v1/images/save`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Save {
    /// Comma-separated.
    pub images: String,
}

/// `POST /v1/images/push`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Push {
    /// References.
    pub images: Vec<String>,
    /// Go on when one fails.
    pub ignore_failures: bool,
}

/// `POST /v1/stacks/{name}/commit`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Commit {
    /// Service.
    pub service: String,
    /// Number of the container; default the first.
    pub index: Option<u32>,
    /// Name of the new image.
    pub name: Option<String>,
    /// Who made it.
    pub author: String,
    /// What it is.
    pub message: String,
    /// Let the container stand still meanwhile.
    pub pause: bool,
    /// Instructions of a Dockerfile.
    pub changes: Vec<String>,
    /// Now, as RFC 3339.
    pub created: String,
}

/// A new image.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Committed {
    /// Its id.
    pub id: String,
    /// Its full reference; its id when it has no name.
    pub reference: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_take_labels_and_times() {
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        let takes = |label: &str, until| {
            let filter = Filter {
                until_ms: until,
                labels: vec![label.to_owned()],
                ..Filter::default()
            };
            filter.takes(&labels, 10)
        };
        assert!(takes("a", None) && takes("a=1", Some(11)));
        assert!(!takes("a=2", None) && !takes("b", None) && !takes("a", Some(10)));
        let without = Filter {
            without_labels: vec!["a".to_owned()],
            ..Filter::default()
        };
        assert!(!without.takes(&labels, 0) && without.takes(&BTreeMap::new(), 0));
    }
}

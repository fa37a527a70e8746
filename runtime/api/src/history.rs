//! Definitions of a stack that were reached, and the way back to one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::spec::StackSpec;

/// A definition that was reached: everything in it ran as wanted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// Its line in the history.
    pub entry: Entry,
    /// The definition.
    pub spec: StackSpec,
    /// Image ids by reference: what the references led to.
    pub images: BTreeMap<String, String>,
    /// The stack was taken down since: in place of what a secret or config has, there is
    /// its digest.
    #[serde(default)]
    pub secrets_forgotten: bool,
    /// The digests are made with the installation's key. Earlier versions made plain ones,
    /// of secrets alone.
    #[serde(default)]
    pub keyed: bool,
}

/// An element of `GET /v1/stacks/{name}/history`, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// 1, 2, 3…; never used twice in the life of a stack.
    pub number: u32,
    /// When it was reached, in milliseconds since the epoch.
    pub at_ms: u64,
    /// What led to it: `up`, `rollback to 3`, `automatic rollback`.
    pub by: String,
    /// What is different from the one before: `web: image`, `db: new`.
    pub changes: Vec<String>,
    /// It is the present one.
    #[serde(default)]
    pub present: bool,
}

/// `POST /v1/stacks/{name}/rollback` (answer: events) and
/// `POST /v1/stacks/{name}/rollback/plan` (answer: the plan).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Rollback {
    /// Number of the definition to go to; `None`: the last one that was
    /// reached before the present one.
    pub to: Option<u32>,
    /// Seconds to stop old containers.
    pub timeout: Option<u64>,
    /// Wait until everything runs (and is healthy).
    #[serde(default)]
    pub wait: bool,
}

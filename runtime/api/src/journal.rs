//! What happened to containers: the lines of `stack events`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One thing that happened, with Docker's words where it has one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Happening {
    /// 1, 2, 3… over all stacks; grows with time, never used twice.
    #[serde(default)]
    pub sequence: u64,
    /// Nanoseconds since the epoch.
    pub time_ns: u64,
    /// Project.
    pub project: String,
    /// Service.
    pub service: String,
    /// Id of the container, 64 hexadecimal digits.
    pub id: String,
    /// `create`, `start`, `die`, `stop`, `kill`, `pause`, `unpause`, `oom`,
    /// `health_status: healthy`, `update`, `rename`, `destroy`,
    /// `exec_start: …`, `exec_die`.
    pub action: String,
    /// `image`, `name`, the labels, and what belongs to the action:
    /// `exitCode`, `signal`, `error`.
    pub attributes: BTreeMap<String, String>,
}

/// Query of `GET /v1/stacks/{name}/events`. Answer: happenings, oldest
/// first, without end when no `until_ns` is given.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EventQuery {
    /// Comma-separated services; absent: all.
    pub services: Option<String>,
    /// Nanoseconds since the epoch; absent: only what happens from now on.
    pub since_ns: Option<u64>,
    /// Nanoseconds since the epoch; a moment that is over ends the answer.
    pub until_ns: Option<u64>,
    /// Only what came after this one, whatever `since_ns` says: for a client
    /// that was cut off.
    pub after: Option<u64>,
}

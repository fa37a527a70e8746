//! Commands at turning points of a container's life (compose spec,
//! `pre_start`, `post_start` and `pre_stop`).

use serde::{Deserialize, Serialize};

/// Hooks of a service, in their order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hooks {
    /// Run in containers of their own, before the first start of a container;
    /// a failure keeps it from being started.
    pub pre_start: Vec<PreStart>,
    /// Run once the service's process runs; a failure ends the container.
    pub post_start: Vec<Hook>,
    /// Run before the stop signal is sent; a failure is told and no more.
    pub pre_stop: Vec<Hook>,
}

/// A command in a container of its own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PreStart {
    /// What is run, and how; no command is the image's.
    pub hook: Hook,
    /// Image; default the service's.
    pub image: Option<String>,
    /// Once for each container of the service, not once for all.
    pub per_replica: bool,
}

/// One command.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hook {
    /// Program and arguments.
    pub command: Vec<String>,
    /// User; default the service's.
    pub user: Option<String>,
    /// All capabilities.
    pub privileged: bool,
    /// Working directory; default the service's.
    pub working_dir: Option<String>,
    /// `NAME=value`, over the service's.
    pub environment: Vec<String>,
}

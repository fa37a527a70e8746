//! Commands at turning points of a container's life (compose spec,
//! `post_start` and `pre_stop`).

use serde::{Deserialize, Serialize};

/// Hooks of a service, in their order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hooks {
    /// Run once the service's process runs; a failure ends the container.
    pub post_start: Vec<Hook>,
    /// Run before the stop signal is sent; a failure is told and no more.
    pub pre_stop: Vec<Hook>,
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

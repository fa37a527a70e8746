//! How often, and after which pauses, a container is started again by its
//! restart policy (Compose deploy specification, `restart_policy`).

use serde::{Deserialize, Serialize};

/// The numbers of a restart policy; what is absent is the daemon's choice.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Retry {
    /// Milliseconds before each restart; `None`: pauses that grow.
    pub delay_ms: Option<u64>,
    /// Restarts in a row that did not succeed, at most.
    pub max_attempts: Option<u32>,
    /// A run of that many milliseconds is a success; 0: none is, so that all
    /// restarts count.
    pub window_ms: u64,
}

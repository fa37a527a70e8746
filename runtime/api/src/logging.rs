//! What is kept of a service's output (compose spec, `logging`).

use serde::{Deserialize, Serialize};

/// Limits of a log; what is absent has the daemon's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logging {
    /// Bytes of one file (`max-size`).
    pub max_size: Option<u64>,
    /// Files, the one that is written included (`max-file`).
    pub max_files: Option<u32>,
}

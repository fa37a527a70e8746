//! Log lines.

use serde::{Deserialize, Serialize};

/// One line of a container's output, in an NDJSON answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogLine {
    /// Container name.
    pub container: String,
    /// Service.
    pub service: String,
    /// Number of the container.
    pub number: u32,
    /// Nanoseconds since the epoch.
    pub time_ns: u64,
    /// Standard error instead of standard output.
    pub stderr: bool,
    /// The text without its newline; invalid UTF-8 is replaced.
    pub line: String,
    /// Others came before it in this container's log, and were deleted before they could
    /// be sent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub missed: bool,
}

//! What a daemon knows of a container beyond what it shows: for reports of
//! problems.

use serde::{Deserialize, Serialize};

use crate::spec::ServiceSpec;

/// An element of the answer of `GET /v1/stacks/{name}/debug`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Debug {
    /// Name of the container.
    pub container: String,
    /// The end of what its kernel and agent said; of the last VM when there is none and
    /// that ended by itself, else empty.
    pub console: String,
    /// The end of what its VMM said.
    pub vmm: String,
    /// The last health probe that changed something.
    pub probe: Option<Probe>,
    /// What it was made from, which may be in no definition of the stack any more.
    #[serde(default)]
    pub definition: Option<Box<ServiceSpec>>,
    /// The environment of its process, that of its image included.
    #[serde(default)]
    pub environment: Vec<String>,
}

/// A health probe.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// Exit code.
    pub code: i32,
    /// What it printed.
    pub output: String,
}

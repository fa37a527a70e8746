//! One-off containers, and conversations with a service's main process.

use serde::{Deserialize, Serialize};

use crate::spec::{PullPolicy, ServiceSpec, StackSpec};

/// `POST /v1/stacks/{name}/run`: makes a container beside the replicas of its
/// service, once what the service depends on is as far as it must be. It is
/// started by [`Attach`]. Answer: events.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The stack as the file has it.
    pub spec: StackSpec,
    /// The service with what was asked for on the command line.
    pub service: ServiceSpec,
    /// Name of the container.
    pub name: String,
    /// Pull before: overrides the service's policy.
    pub pull: Option<PullPolicy>,
    /// It is found by the service's name and aliases.
    pub use_aliases: bool,
    /// It is removed when it has ended, with its nameless volumes.
    pub remove: bool,
    /// What the service depends on is not waited for.
    pub no_deps: bool,
    /// It is to stay in the background: other containers get at its volumes
    /// meanwhile.
    #[serde(default)]
    pub detach: bool,
}

/// What the exit frame of a conversation says, whoever sends it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Exit code of the process as a shell shows it; 1 when it was not reached.
    pub code: i32,
    /// Why it could not be started, for the user.
    pub error: Option<String>,
    /// The stable word of what kept it from being reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
}

/// `POST /v1/stacks/{name}/attach`, upgraded to `stack-exec/1` as `exec` is:
/// the streams are those of the service's main process, the exit frame
/// ([`End`]) comes when it has ended. A client that goes away leaves the process alone.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Attach {
    /// Name or id of the container; else by service.
    pub container: Option<String>,
    /// Service.
    pub service: String,
    /// Number of the container; default the first running one.
    pub index: Option<u32>,
    /// Start it: no output is missed.
    pub start: bool,
    /// Rows, columns of the client's terminal.
    pub size: Option<(u16, u16)>,
    /// Do not stay: the exit frame, with code 0, comes as soon as it runs.
    pub detach: bool,
}

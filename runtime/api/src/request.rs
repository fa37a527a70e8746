//! Bodies and queries of the calls.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::spec::StackSpec;

/// `PUT /v1/stacks/{name}`: make it so. Answer: events.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Up {
    /// The whole stack (all enabled services).
    pub spec: StackSpec,
    /// Only these services and what they depend on; empty: all.
    pub services: Vec<String>,
    /// Not what they depend on.
    pub no_deps: bool,
    /// New containers for `services` (or all) even when nothing changed.
    pub force_recreate: bool,
    /// New containers for what `services` depend on even when nothing changed.
    #[serde(default)]
    pub always_recreate_deps: bool,
    /// New containers do not take over the nameless volumes of old ones.
    #[serde(default)]
    pub renew_anon_volumes: bool,
    /// No new containers even when something changed.
    pub no_recreate: bool,
    /// Create but do not start.
    pub no_start: bool,
    /// Pull before: overrides the services' policies.
    pub pull: Option<crate::spec::PullPolicy>,
    /// Containers per service, overriding `replicas`.
    pub scale: BTreeMap<String, u32>,
    /// Remove containers of services that are no longer in the file.
    pub remove_orphans: bool,
    /// Do not warn about them.
    #[serde(default)]
    pub ignore_orphans: bool,
    /// Nothing but what `remove_orphans` says: no service is touched.
    #[serde(default)]
    pub orphans_only: bool,
    /// Seconds to stop old containers.
    pub timeout: Option<u64>,
    /// Wait until everything runs (and is healthy); fail if it does not.
    pub wait: bool,
    /// Seconds to wait at most, once images are there; 0: no limit.
    pub wait_timeout: Option<u64>,
    /// Remove the containers of these services when they are not in the
    /// file any more, whatever `remove_orphans` says.
    #[serde(default)]
    pub retire: Vec<String>,
    /// It is the way back: containers are replaced as `rollback_config`
    /// says, not `update_config`.
    #[serde(default)]
    pub rollback: bool,
    /// How images are built, by service.
    #[serde(default)]
    pub builds: BTreeMap<String, crate::build::BuildSpec>,
    /// When they are; absent: as the services say.
    #[serde(default)]
    pub build: Option<crate::build::BuildWhen>,
}

/// `POST /v1/stacks/{name}/down`: stop and remove. Answer: events.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Down {
    /// Also named and anonymous volumes.
    pub volumes: bool,
    /// Full names of the volumes that the file's enabled services use and that are not
    /// external: of those with a name, no others go. Absent: there is no file, and all go that
    /// were made for the stack.
    #[serde(default)]
    pub volumes_known: Option<Vec<String>>,
    /// Also containers of services that are not in `services_known`.
    pub remove_orphans: bool,
    /// Services in the file; empty: all containers are known.
    pub services_known: Vec<String>,
    /// Only these services; empty: all.
    pub services: Vec<String>,
    /// Seconds of grace.
    pub timeout: Option<u64>,
}

/// `POST /v1/stacks/{name}/action`. Answer: events.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// What to do.
    pub verb: Verb,
    /// To which services; empty: all.
    pub services: Vec<String>,
    /// Seconds of grace (stop, restart).
    pub timeout: Option<u64>,
    /// Signal (kill).
    pub signal: Option<String>,
    /// Stop running ones first (rm).
    pub force: bool,
    /// Also anonymous volumes (rm).
    pub volumes: bool,
    /// Not what depends on them (restart).
    pub no_deps: bool,
    /// Not those that `run` made (stop, kill, rm).
    #[serde(default)]
    pub replicas: bool,
    /// Wait until all run and are healthy (start).
    #[serde(default)]
    pub wait: bool,
    /// Seconds to wait at most, once images are there; 0: no limit.
    #[serde(default)]
    pub wait_timeout: Option<u64>,
}

/// What to do to containers that exist.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Start stopped ones, dependencies first.
    #[default]
    Start,
    /// Stop, dependants first.
    Stop,
    /// Stop and start.
    Restart,
    /// Send a signal (SIGKILL).
    Kill,
    /// Remove stopped ones.
    Rm,
    /// Freeze.
    Pause,
    /// Thaw.
    Unpause,
}

/// Query of `GET /v1/stacks/{name}/logs`. Answer: log lines, merged by time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LogQuery {
    /// Comma-separated services and names of containers; absent: all services. Commands
    /// of `run` and hooks are in the answer only by name.
    pub services: Option<String>,
    /// Go on with new lines; ends when no container is left running.
    #[serde(default)]
    pub follow: bool,
    /// Last lines per container.
    pub tail: Option<u64>,
    /// Nanoseconds since the epoch.
    pub since_ns: Option<u64>,
    /// Nanoseconds since the epoch.
    pub until_ns: Option<u64>,
    /// Regular expression that lines must match, in the syntax of the `regex`
    /// crate.
    pub grep: Option<String>,
    /// Number of the container.
    pub index: Option<u32>,
}

/// `POST /v1/stacks/{name}/exec`, upgraded to `stack-exec/1`: after the 101
/// answer both sides speak `stack_protocol::frame`s. Client: data on stream
/// 0 (empty: end of file), control frames [`ExecInput`]. Server: data on
/// streams 1 and 2, then one control frame with
/// `stack_protocol::message::Exit`. Session is 0 and there is no credit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ExecRequest {
    /// Service.
    pub service: String,
    /// Number of the container; default 1 or the first running one.
    pub index: Option<u32>,
    /// Program and arguments.
    pub args: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Working directory; default the service's.
    pub cwd: Option<String>,
    /// User; default the service's.
    pub user: Option<String>,
    /// Give it a terminal.
    pub tty: bool,
    /// Rows, columns.
    pub size: Option<(u16, u16)>,
    /// Standard input will come.
    pub stdin: bool,
    /// All capabilities.
    pub privileged: bool,
    /// Do not wait: the exit frame, with code 0, comes as soon as it runs.
    #[serde(default)]
    pub detach: bool,
    /// Instead of a program: the conversation of `stack_protocol::sync` on
    /// the process's streams. `args` is not used; new files belong to `user`.
    #[serde(default)]
    pub sync: bool,
    /// For `sync`: with a container that does not run, which gets a VM for the
    /// time. Nothing else can be done in its stack meanwhile.
    #[serde(default)]
    pub at_rest: bool,
}

/// Control frames of an exec client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum ExecInput {
    /// The terminal has a new size.
    Resize {
        /// Rows.
        rows: u16,
        /// Columns.
        columns: u16,
    },
    /// Send a signal.
    Signal {
        /// Linux signal number.
        signal: i32,
    },
}

/// `POST /v1/images/pull`. Answer: events.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Pull {
    /// References.
    pub images: Vec<String>,
    /// When to pull each.
    pub policy: crate::spec::PullPolicy,
    /// Go on when one fails.
    pub ignore_failures: bool,
    /// Those of the images that can be built as well: go on when one of them
    /// fails.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buildable: Vec<String>,
    /// Those of the images that are pulled only when they are not here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<String>,
    /// For which platform, by reference; this machine's, when it does not say.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub platforms: std::collections::BTreeMap<String, String>,
}

/// `POST /v1/images/resolve`: ask registries what references lead to. Answer:
/// a list of [`Resolved`] in the same order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Resolve {
    /// References.
    pub images: Vec<String>,
}

/// What a reference leads to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Resolved {
    /// As asked.
    pub reference: String,
    /// In full, without a digest: `docker.io/library/nginx:1`.
    pub name: String,
    /// Of the manifest, or of the index when there are several platforms:
    /// `sha256:…`.
    pub digest: String,
}

/// `POST /v1/images/load`: import an archive or layout. Answer: events.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Absolute path of an OCI layout (directory or tar) or of a
    /// docker-archive (`docker save`).
    pub path: std::path::PathBuf,
}

/// An element of `GET /v1/images`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageInfo {
    /// Normalised reference.
    pub reference: String,
    /// Config digest.
    pub id: String,
    /// Manifest digest.
    pub digest: String,
    /// Bytes on disk.
    pub size: u64,
    /// `os/arch`.
    pub platform: String,
    /// Milliseconds since the epoch, 0 when not known.
    pub created_ms: u64,
}

/// An element of `GET /v1/stacks`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StackInfo {
    /// Project.
    pub name: String,
    /// Containers by state word.
    pub states: BTreeMap<String, u32>,
    /// Files it was read from.
    pub files: Vec<String>,
}

/// `GET /v1/version`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// Of the daemon.
    pub version: String,
    /// 1.
    pub api: u32,
    /// Its process.
    pub pid: u32,
    /// Its variables ([`settings`](crate::settings)), if it says them.
    #[serde(default)]
    pub settings: Option<BTreeMap<String, String>>,
}

/// One line of `GET /v1/doctor`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// accelerator, qemu, kernel, vminit, netd, disk, memory, …
    pub name: String,
    /// `ok`, `warning` or `error`.
    pub status: String,
    /// What was found.
    pub found: String,
    /// What to do, when it is not `ok`.
    pub help: Option<String>,
}

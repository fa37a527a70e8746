//! Looking at what runs, and reaching its files.

use serde::{Deserialize, Serialize};

/// Query of `GET /v1/stacks/{name}/stats`, `…/processes` and `…/wait`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Chosen {
    /// Comma-separated services; absent: all.
    pub services: Option<String>,
}

/// What a container uses now: an element of the answer of `…/stats`. Counters
/// go up from the start of its VM; all are 0 when it does not run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Its id.
    pub id: String,
    /// Its name.
    pub container: String,
    /// Service.
    pub service: String,
    /// It runs.
    pub live: bool,
    /// Nanoseconds since the epoch at which it was asked.
    pub time_ns: u64,
    /// Processors of the VM.
    pub cpus: u32,
    /// Processor time in microseconds.
    pub cpu_usec: u64,
    /// Memory in use in bytes, without the cache that can go at once.
    pub memory: u64,
    /// Memory at most in bytes: the service's limit, else the VM's.
    pub memory_limit: u64,
    /// Bytes received by all its network cards.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Bytes read from disks.
    pub read_bytes: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Processes.
    pub pids: u64,
}

/// The processes of a container: an element of the answer of `…/processes`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Processes {
    /// Name of the container.
    pub container: String,
    /// Service.
    pub service: String,
    /// By process id.
    pub processes: Vec<Process>,
}

/// One process.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Its id for the service.
    pub pid: u32,
    /// Its parent's; 0 when that is not of the service.
    pub ppid: u32,
    /// Its user.
    pub user: String,
    /// Processor time in milliseconds.
    pub cpu_ms: u64,
    /// Milliseconds since it was started.
    pub age_ms: u64,
    /// Resident memory in bytes.
    pub memory: u64,
    /// `R`, `S`, `D`, `Z`… as in proc(5).
    pub state: char,
    /// Its arguments with spaces in between.
    pub command: String,
}

/// A container that has ended: a line of the answer of `…/wait`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// Its id.
    pub id: String,
    /// Its name.
    pub container: String,
    /// Service.
    pub service: String,
    /// Its exit code.
    pub exit_code: i32,
}

/// Query of `GET /v1/stacks/{name}/archive` (answer: a tar stream) and of
/// `PUT` to it (body: a tar stream).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Archive {
    /// Service.
    pub service: String,
    /// Number of the container; default the first.
    pub index: Option<u32>,
    /// Its name, instead: also one that `run` made.
    pub container: Option<String>,
    /// Absolute path in the container.
    pub path: String,
    /// Get: what it is called in the stream; empty for a directory's contents.
    pub name: String,
    /// Get: a symbolic link at the path is followed.
    pub follow: bool,
    /// Get: directories on other file systems (volumes) are left empty.
    pub one_file_system: bool,
    /// Put: the stream is one tree, which gets the path's name when there is
    /// nothing yet; else any stream, for a directory that is there.
    pub tree: bool,
    /// Put: the tree's contents go into the path itself.
    pub contents: bool,
    /// Put: owners are those of the stream, else root.
    pub owners: bool,
}

//! The JSON messages of control frames.

use serde::{Deserialize, Serialize};

use crate::config::{Exec, VmConfig};

/// Host to guest. Every request but [`Command::Configure`] may come at any
/// time; each gets exactly one [`Reply`] with the same id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Chosen by the host, echoed in the reply.
    pub id: u64,
    /// What to do.
    pub command: Command,
}

/// What the host asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Command {
    /// First message of every conversation. Log records with a sequence
    /// above `log_sequence` are sent (again); answered by [`Outcome::Hello`].
    Hello {
        /// Last log record the host has on disk; 0 for none.
        log_sequence: u64,
        /// 32 random bytes or more for the kernel's pool, before the service
        /// starts: VMs made from one template would be alike in what is
        /// random.
        #[serde(default, with = "crate::bytes")]
        entropy: Vec<u8>,
    },
    /// Makes the VM this service's and starts it. Once per boot.
    Configure(Box<VmConfig>),
    /// Changes what can change while the service runs: health check, limits
    /// of the control group, `/etc/hosts` and `/etc/resolv.conf`. Only
    /// `healthcheck`, `memory_limit`, `cpus`, `pids_limit`, `hostname`,
    /// `domainname`, `interfaces`, `hosts`, `nameservers`, `search`,
    /// `resolver_options` and `inward` are read. When the health check is another one,
    /// [`Event::Health`] comes before the reply. A memory limit below what
    /// the service uses is refused before anything is changed.
    Update(Box<VmConfig>),
    /// Records up to this sequence are on the host's disk: the agent may
    /// forget them.
    LogAck {
        /// Last stored record.
        sequence: u64,
    },
    /// Starts one more process in the service's namespaces; answered by
    /// [`Outcome::Started`], later followed by [`Event::ExecExited`].
    Exec {
        /// Chosen by the host, unique per boot; names the data channels.
        session: u32,
        /// What to run.
        exec: Box<Exec>,
    },
    /// New terminal size for an exec session (or the service: session 0).
    Resize {
        /// Exec session, 0 for the service's own terminal.
        session: u32,
        /// Rows.
        rows: u16,
        /// Columns.
        columns: u16,
    },
    /// Sends a signal to the service's main process (session 0) or to an
    /// exec session's process.
    Signal {
        /// Exec session, 0 for the service.
        session: u32,
        /// Linux signal number.
        signal: i32,
    },
    /// Graceful stop: the signal, then after the grace period SIGKILL to
    /// everything. The exit comes as [`Event::Exited`].
    Stop {
        /// Linux signal number.
        signal: i32,
        /// Milliseconds until SIGKILL.
        grace_ms: u64,
    },
    /// Memory, processor and process counters; answered by
    /// [`Outcome::Stats`].
    Stats,
    /// The processes of the service; answered by [`Outcome::Processes`].
    Processes,
    /// Freezes (`true`) or thaws the service's control group.
    Freeze {
        /// Freeze or thaw.
        frozen: bool,
    },
    /// Moves the guest's clock, or only asks for it; answered by
    /// [`Outcome::Clock`].
    Clock {
        /// Nanoseconds, forward if positive; 0 moves nothing. A difference,
        /// and not a time, because the message may be on its way for long.
        move_ns: i64,
    },
    /// Kills what is left, syncs, unmounts everything and resets the VM
    /// (with `-no-reboot` QEMU exits). The reply comes first.
    Shutdown,
}

/// Guest to host: the answer to a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// The request's id.
    pub id: u64,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Outcome {
    /// Done, nothing to add.
    Ok,
    /// Not done.
    Error {
        /// One sentence for the user.
        message: String,
        /// Docker's exit code for a process that could not start: 126 (not
        /// executable), 127 (not found), 128 for anything else.
        code: i32,
    },
    /// Answer to [`Command::Hello`].
    Hello {
        /// [`VERSION`](crate::VERSION) of the agent.
        version: u32,
        /// `/proc/sys/kernel/random/boot_id`.
        boot_id: String,
        /// `Configure` has been done.
        configured: bool,
        /// The service's exit, if it has ended already.
        exit: Option<Exit>,
        /// Current health.
        health: Health,
    },
    /// Answer to [`Command::Exec`].
    Started {
        /// Process id inside the VM.
        pid: u32,
    },
    /// Answer to [`Command::Stats`].
    Stats(Box<Stats>),
    /// Answer to [`Command::Clock`].
    Clock {
        /// What it shows now: nanoseconds since the epoch.
        time_ns: i64,
    },
    /// Answer to [`Command::Processes`].
    Processes {
        /// By process id.
        list: Vec<ProcessInfo>,
    },
}

/// Guest to host, unasked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Event {
    /// The service's process runs.
    Started {
        /// Process id inside the VM.
        pid: u32,
    },
    /// The service's main process ended and all its output has been sent.
    /// Told again in every conversation that begins afterwards.
    Exited(Exit),
    /// An exec session ended and all its output has been sent.
    ExecExited {
        /// The session.
        session: u32,
        /// How it ended.
        exit: Exit,
    },
    /// The health changed, or a probe failed.
    Health {
        /// The health now.
        health: Health,
        /// Failed probes in a row.
        failing_streak: u32,
        /// Exit code of the last probe.
        code: i32,
        /// Its output, at most 4 KiB.
        output: String,
    },
    /// The kernel killed a process of the service for want of memory.
    OutOfMemory,
}

/// A guest message: what a control frame from the guest holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromGuest {
    /// An answer.
    Reply(Reply),
    /// News.
    Event(Event),
}

/// How a process ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Exit code as a shell shows it: 128 + signal when killed by one; 126
    /// and 127 when it could not be started.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The kernel killed it for want of memory.
    pub oom: bool,
    /// Why it could not be started, for the user.
    pub error: Option<String>,
}

/// A service's health.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// There is no health check.
    #[default]
    None,
    /// No probe has succeeded yet.
    Starting,
    /// The last probe succeeded.
    Healthy,
    /// `retries` probes in a row failed.
    Unhealthy,
}

/// A process of the service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessInfo {
    /// Its id for the service.
    pub pid: u32,
    /// Its parent's; 0 when that is not of the service.
    pub ppid: u32,
    /// Name of its user in the service's `/etc/passwd`, else the number.
    pub user: String,
    /// Processor time in milliseconds.
    pub cpu_ms: u64,
    /// Milliseconds since it was started.
    pub age_ms: u64,
    /// Resident memory in bytes.
    pub memory_bytes: u64,
    /// `R`, `S`, `D`, `Z`… as in `/proc/PID/stat`.
    pub state: char,
    /// Its arguments with spaces in between, at most 4 KiB; in brackets its
    /// name, when it has none.
    pub command: String,
}

/// Counters of one VM.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// Processor time of the service in microseconds (cgroup `cpu.stat`).
    pub cpu_usec: u64,
    /// Memory of the service in bytes: cgroup `memory.current` without the
    /// cache that can go at once (`inactive_file`).
    pub memory_bytes: u64,
    /// `MemTotal` of the VM in bytes.
    pub memory_total: u64,
    /// `MemAvailable` of the VM in bytes.
    pub memory_available: u64,
    /// Processes of the service.
    pub pids: u64,
    /// Bytes received by all network devices.
    pub rx_bytes: u64,
    /// Bytes sent by all network devices.
    pub tx_bytes: u64,
    /// Bytes read from block devices.
    pub read_bytes: u64,
    /// Bytes written to block devices.
    pub write_bytes: u64,
}

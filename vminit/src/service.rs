//! The service's control group and its main process.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::time::{Duration, Instant};

use stack_protocol::config::{Exec, VmConfig};
use stack_protocol::message::Exit;

use crate::child::Refusal;
use crate::process::Process;
use crate::spawn::CGROUP;
use crate::sys;

/// A service that was started.
#[derive(Debug)]
pub(crate) struct Service {
    /// The main process.
    pub process: Process,
    /// What it runs; probes get its environment and user.
    pub exec: Exec,
    /// The request that started it, until it is answered.
    pub request: Option<u64>,
    /// When it was started.
    pub started: Instant,
    /// How it ended.
    pub exit: Option<Exit>,
    /// The host has been told in this conversation.
    pub exit_told: bool,
    /// When everything is killed.
    pub kill_at: Option<Instant>,
    /// It is frozen.
    pub frozen: bool,
    /// Gets ready when `memory.events` changes.
    pub memory_events: Option<File>,
    oom_kills: u64,
}

impl Service {
    pub(crate) fn new(process: Process, exec: Exec) -> Service {
        let memory_events = File::open(format!("{CGROUP}/memory.events")).ok();
        Service {
            process,
            exec,
            request: None,
            started: Instant::now(),
            exit: None,
            exit_told: false,
            kill_at: None,
            frozen: false,
            memory_events,
            oom_kills: 0,
        }
    }

    /// Reads through the descriptor that is polled: the kernel takes a change
    /// for unseen until it is read there (and a new one has never been read).
    fn oom_kills_now(&self) -> u64 {
        let mut text = String::new();
        if let Some(mut events) = self.memory_events.as_ref() {
            let _ = events
                .seek(SeekFrom::Start(0))
                .and_then(|_| events.read_to_string(&mut text));
        }
        event(text, "oom_kill")
    }

    /// The kernel has killed for want of memory since the last call.
    pub(crate) fn was_out_of_memory(&mut self) -> bool {
        let kills = self.oom_kills_now();
        let more = kills > self.oom_kills;
        self.oom_kills = kills;
        more
    }

    /// Its program could not be run, and nobody waits for that answer.
    pub(crate) fn refused(&mut self, refusal: Refusal) {
        self.exit = Some(Exit {
            code: refusal.code,
            error: Some(refusal.message),
            ..Exit::default()
        });
        self.kill_at = None;
    }

    /// The main process has ended.
    pub(crate) fn ended(&mut self, status: i32) {
        if self.exit.is_some() {
            return;
        }
        let oom = self.oom_kills_now() > 0;
        self.exit = Some(Exit {
            oom,
            ..exit(status)
        });
        self.kill_at = None;
    }

    /// Signal now, SIGKILL to everything after the grace period. The
    /// earliest of several ends counts.
    pub(crate) fn stop(&mut self, signal: i32, grace: Duration) {
        if self.exit.is_some() {
            return;
        }
        if grace.is_zero() || signal == libc::SIGKILL {
            kill_all();
            return;
        }
        sys::kill(self.process.pid, signal);
        // A frozen process would never see it.
        let _ = self.freeze(false);
        let at = Instant::now() + grace;
        self.kill_at = Some(self.kill_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Freezes or thaws all processes, and waits until they are.
    pub(crate) fn freeze(&mut self, frozen: bool) -> io::Result<()> {
        fs::write(
            format!("{CGROUP}/cgroup.freeze"),
            if frozen { "1" } else { "0" },
        )?;
        self.frozen = frozen;
        for _ in 0..50 {
            if event(cgroup_events(), "frozen") == u64::from(frozen) {
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

/// Makes the control group with the service's limits.
pub(crate) fn make_cgroup(config: &VmConfig) -> io::Result<()> {
    fs::create_dir_all(CGROUP)?;
    limit(config)
}

/// Period that the quota of processor time is measured against, in
/// microseconds; the kernel's default.
const CPU_PERIOD: u64 = 100_000;
/// The smallest quota that the kernel takes, in microseconds.
const LEAST_QUOTA: u64 = 1_000;

/// Sets the limits of the control group; absent ones are lifted.
pub(crate) fn limit(config: &VmConfig) -> io::Result<()> {
    let or_max = |value: Option<u64>| value.map_or("max".to_owned(), |value| value.to_string());
    let quota = config.cpus.map(|cpus| {
        // A float that is too large or no number becomes the nearest integer.
        ((cpus * CPU_PERIOD as f64).round() as u64).max(LEAST_QUOTA)
    });
    for (file, value) in [
        ("memory.max", or_max(config.memory_limit)),
        ("pids.max", or_max(config.pids_limit)),
        ("cpu.max", format!("{} {CPU_PERIOD}", or_max(quota))),
    ] {
        let path = format!("{CGROUP}/{file}");
        // What the kernel cannot limit need not be lifted.
        if value.starts_with("max") && !std::path::Path::new(&path).exists() {
            continue;
        }
        fs::write(path, &value)
            .map_err(|error| io::Error::other(format!("{file}={value}: {error}")))?;
    }
    Ok(())
}

/// Ends everything in the service at once (cgroup v2, `cgroup.kill`).
pub(crate) fn kill_all() {
    let _ = fs::write(format!("{CGROUP}/cgroup.kill"), "1");
}

/// Some process of the service is left.
pub(crate) fn is_populated() -> bool {
    event(cgroup_events(), "populated") != 0
}

fn cgroup_events() -> String {
    fs::read_to_string(format!("{CGROUP}/cgroup.events")).unwrap_or_default()
}

fn event(text: String, name: &str) -> u64 {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(found, _)| *found == name)
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(0)
}

/// A wait status (wait(2)) as an exit.
pub(crate) fn exit(status: i32) -> Exit {
    if libc::WIFSIGNALED(status) {
        let signal = libc::WTERMSIG(status);
        return Exit {
            code: 128 + signal,
            signal: Some(signal),
            ..Exit::default()
        };
    }
    Exit {
        code: libc::WEXITSTATUS(status),
        ..Exit::default()
    }
}

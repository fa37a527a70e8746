//! A process by its id and start time: found again after a restart of the
//! daemon, never mistaken for another that got the same id.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal};
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// In a VM's directory: its process id, written by the VMM itself.
pub(crate) const PID_FILE: &str = "vm.pid";

/// The VM that runs in this directory though nobody recorded it: whoever
/// started it was killed right then.
pub fn leftover(dir: &Path) -> Option<Process> {
    let text = std::fs::read_to_string(dir.join(PID_FILE)).ok()?;
    let pid = text.trim().parse().ok()?;
    // The number may be another's by now: a VM has its directory among its
    // arguments.
    let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let own = dir.join(PID_FILE);
    let own = own.as_os_str().as_encoded_bytes();
    arguments
        .split(|byte| *byte == 0)
        .any(|argument| argument == own)
        .then(|| Process::of(pid))
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Field 22 of `/proc/<pid>/stat` (proc(5)); 0 where there is no `/proc`.
    pub start_time: u64,
}

impl Process {
    /// The process that has this id now.
    pub fn of(pid: u32) -> Process {
        Process {
            pid,
            start_time: start_time(pid).unwrap_or(0),
        }
    }

    fn raw(&self) -> Option<Pid> {
        Pid::from_raw(self.pid as i32)
    }

    /// It runs and is the same.
    pub fn alive(&self) -> bool {
        start_time(self.pid) == Some(self.start_time)
    }

    /// SIGKILL.
    pub fn kill(&self) {
        if self.alive()
            && let Some(pid) = self.raw()
        {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }

    /// Waits for its end.
    pub fn wait(&self) -> impl Future<Output = ()> + Send + use<> {
        let this = self.clone();
        async move {
            let fd = this
                .raw()
                .and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK).ok());
            if let Some(fd) = fd
                && this.alive()
                && let Ok(fd) = watched(fd)
            {
                let _ = fd.readable().await;
                return;
            }
            while this.alive() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// A descriptor that can be waited for until there is something to read.
///
/// # Errors
/// It is of a kind that cannot, or there is no room for another one.
#[expect(
    unsafe_code,
    reason = "the registration cannot be checked by the compiler"
)]
pub fn watched(fd: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned by what is registered, so it stays
    // open and the same until the registration ends.
    let watched = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
    watched.map_err(std::io::Error::from)
}

/// A zombie counts as ended.
fn start_time(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses and may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

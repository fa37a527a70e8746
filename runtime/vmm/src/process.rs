//! A process by its id and start time: found again after a restart of the
//! daemon, never mistaken for another that got the same id.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal};
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// In a VM's directory: its process id, written by the VMM itself.
pub(crate) const PID_FILE: &str = "vm.pid";

/// Pause before something is looked at again that could not be seen.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The VM that runs in this directory though nobody recorded it: whoever
/// started it was killed right then.
///
/// # Errors
/// It cannot be seen whether there is one, as when no file can be opened.
pub fn leftover(dir: &Path) -> io::Result<Option<Process>> {
    let Some(text) = there(std::fs::read(dir.join(PID_FILE)))? else {
        return Ok(None);
    };
    let Ok(pid) = String::from_utf8_lossy(&text).trim().parse::<u32>() else {
        return Ok(None);
    };
    // The number may be another's by now: a VM has its directory among its
    // arguments.
    let Some(arguments) = there(std::fs::read(format!("/proc/{pid}/cmdline")))? else {
        return Ok(None);
    };
    let own = dir.join(PID_FILE);
    let own = own.as_os_str().as_encoded_bytes();
    let mut arguments = arguments.split(|byte| *byte == 0);
    if !arguments.any(|argument| argument == own) {
        return Ok(None);
    }
    there(Process::of(pid))
}

/// The same, for whoever would start a second one: looks until it can be seen.
pub async fn surely_leftover(dir: &Path) -> Option<Process> {
    loop {
        match leftover(dir) {
            Ok(found) => return found,
            Err(error) => {
                tracing::error!(%error, dir = %dir.display(), "is there a VM? looking again");
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
    }
}

/// What is not there, or not any more (`ESRCH`: the process ended while its file
/// was open), as opposed to what cannot be read.
fn there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
        // Another user's: the number was given anew (`hidepid` of proc(5)).
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(None),
        Err(error) => Err(error),
    }
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
    ///
    /// # Errors
    /// There is none, or it cannot be seen ([`io::ErrorKind::NotFound`] tells
    /// them apart).
    pub fn of(pid: u32) -> io::Result<Process> {
        match start_time(pid)? {
            Some(start_time) => Ok(Process { pid, start_time }),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn raw(&self) -> Option<Pid> {
        Pid::from_raw(self.pid as i32)
    }

    /// It runs and is the same. Where that cannot be seen, as when no file can
    /// be opened, any process with its id counts: who takes a VM for dead starts a
    /// second one.
    pub fn alive(&self) -> bool {
        match start_time(self.pid) {
            Ok(found) => found == Some(self.start_time),
            Err(_) => self.raw().is_some_and(|pid| {
                rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH)
            }),
        }
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
pub fn watched(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned by what is registered, so it stays
    // open and the same until the registration ends.
    let watched = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
    watched.map_err(io::Error::from)
}

/// `None`: there is no such process; a zombie counts as ended.
fn start_time(pid: u32) -> io::Result<Option<u64>> {
    let Some(stat) = there(std::fs::read_to_string(format!("/proc/{pid}/stat")))? else {
        return Ok(None);
    };
    let strange = || io::Error::new(io::ErrorKind::InvalidData, "no proc_pid_stat(5)");
    // The name is in parentheses and may hold anything.
    let (_, fields) = stat.rsplit_once(')').ok_or_else(strange)?;
    let mut fields = fields.split_ascii_whitespace();
    if fields.next().ok_or_else(strange)? == "Z" {
        return Ok(None);
    }
    let time = fields.nth(18).and_then(|field| field.parse().ok());
    time.map(Some).ok_or_else(strange)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_ended_is_told_from_one_that_runs() {
        let own = Process::of(std::process::id()).unwrap();
        assert!(own.alive());
        let other = Process {
            start_time: own.start_time + 1,
            ..own
        };
        assert!(!other.alive());
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let gone = Process::of(child.id()).unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_is_not_there_is_told_from_what_cannot_be_read() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(leftover(dir.path()).unwrap(), None);
        let none = dir.path().join(PID_FILE);
        std::fs::create_dir(&none).unwrap();
        assert!(leftover(dir.path()).is_err());
        let gone = io::Error::from_raw_os_error(libc::ESRCH);
        assert!(there::<()>(Err(gone)).unwrap().is_none());
        let full = io::Error::from_raw_os_error(libc::EMFILE);
        assert!(there::<()>(Err(full)).is_err());
    }
}

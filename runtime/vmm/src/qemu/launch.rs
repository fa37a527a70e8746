//! Starting QEMU's process: what it inherits, and when it counts as started.

use std::io::ErrorKind;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::affinity::Affinity;
use super::failure;
use super::qmp::Qmp;
use crate::{Error, Process};

/// A monitor that has not answered by then hangs.
const LIMIT: Duration = Duration::from_secs(20);

/// Whether QEMU outlives whoever started it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// A service's VM does.
    OfItsOwn,
    /// One that is only tried does not (Linux).
    OfItsMaker,
    /// Nor does one that is only made to be saved, and it leaves the processor to
    /// others.
    Aside,
}

/// Runs the command; gives its process once the machine exists, which is
/// when the monitor answers. What is said before that is in `qemu.log` of
/// `dir`.
pub(super) async fn launch(
    binary: &Path,
    args: &[String],
    dir: &Path,
    life: Life,
    affinity: &[u32],
) -> Result<(Process, Qmp), Error> {
    let log = &dir.join("qemu.log");
    let monitor = &dir.join("qmp.sock");
    let what = || log.display().to_string();
    let _ = std::fs::remove_file(log);
    let output = std::fs::File::options().create(true).append(true).open(log);
    let output = output.map_err(Error::io(what()))?;
    let errors = output.try_clone().map_err(Error::io(what()))?;
    let mut command = Command::new(binary);
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors);
    detach(&mut command, life, Affinity::new(affinity)?);
    // Once dropped, the runtime reaps the child when it ends.
    let mut child = command
        .spawn()
        .map_err(Error::io(binary.display().to_string()))?;
    let process = match Process::of(child.id().unwrap_or(0)) {
        Ok(process) => process,
        Err(error) => {
            let _ = child.start_kill();
            let _ = child.wait().await;
            if error.kind() != ErrorKind::NotFound {
                // It would not be found again, and nobody would end it.
                return Err(Error::io("QEMU's process")(error));
            }
            let said = std::fs::read_to_string(log).unwrap_or_default();
            return Err(failure::translate(&said));
        }
    };
    let guard = KillOnDrop(Some(process.clone()));
    tokio::select! {
        biased;
        status = child.wait() => {
            let said = std::fs::read_to_string(log).unwrap_or_default();
            tracing::debug!(?status, said, "QEMU did not start");
            Err(failure::translate(&said))
        }
        qmp = Qmp::wait_for(monitor) => Ok((guard.release().unwrap_or(process), qmp)),
        () = tokio::time::sleep(LIMIT) => {
            Err(Error::Start(format!("QEMU does nothing since {} s", LIMIT.as_secs())))
        }
    }
}

/// A machine that is of no use any more when this is dropped.
pub(super) struct Ended(pub(super) Process);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.kill();
    }
}

/// A start that fails or is given up leaves no process behind.
struct KillOnDrop(Option<Process>);

impl KillOnDrop {
    fn release(mut self) -> Option<Process> {
        self.0.take()
    }
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        if let Some(process) = &self.0 {
            process.kill();
        }
    }
}

/// Its own session: it gets no signal that is meant for us. And none of our
/// descriptors, however we came by them.
#[expect(unsafe_code, reason = "setsid must be called between fork and exec")]
fn detach(command: &mut Command, life: Life, affinity: Affinity) {
    // SAFETY: setsid(2), close_range(2), prctl(2), setpriority(2) and
    // sched_setaffinity(2) are async-signal-safe and touch no memory of ours.
    unsafe {
        command.pre_exec(move || {
            rustix::process::setsid()?;
            affinity.take()?;
            if life != Life::OfItsOwn {
                #[cfg(target_os = "linux")]
                rustix::process::set_parent_process_death_signal(Some(
                    rustix::process::Signal::KILL,
                ))?;
            }
            if life == Life::Aside {
                let _ = rustix::process::nice(10);
            }
            #[cfg(target_os = "linux")]
            libc::syscall(
                libc::SYS_close_range,
                3,
                u32::MAX,
                libc::CLOSE_RANGE_CLOEXEC,
            );
            Ok(())
        });
    }
}

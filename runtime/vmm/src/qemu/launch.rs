//! Starting QEMU's process: what it inherits, and when it counts as started.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::Command;

use super::failure;
use crate::{Error, Process};

/// A monitor that has not answered by then hangs.
const LIMIT: Duration = Duration::from_secs(20);

/// Runs the command; gives its process once the machine exists, which is
/// when the monitor answers.
pub(super) async fn launch(
    binary: &Path,
    args: &[String],
    log: &Path,
    monitor: &Path,
) -> Result<Process, Error> {
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
    detach(&mut command);
    // Once dropped, the runtime reaps the child when it ends.
    let mut child = command
        .spawn()
        .map_err(Error::io(binary.display().to_string()))?;
    let process = Process::of(child.id().unwrap_or(0));
    let guard = KillOnDrop(Some(process.clone()));
    tokio::select! {
        biased;
        status = child.wait() => {
            let said = std::fs::read_to_string(log).unwrap_or_default();
            tracing::debug!(?status, said, "QEMU did not start");
            Err(failure::translate(&said))
        }
        () = answers(monitor) => Ok(guard.release().unwrap_or(process)),
        () = tokio::time::sleep(LIMIT) => {
            Err(Error::Start(format!("QEMU does nothing since {} s", LIMIT.as_secs())))
        }
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

/// Waits until the monitor has answered. It says hello from a thread of its
/// own, but answers from QEMU's main loop: by then all devices are there.
async fn answers(monitor: &Path) {
    while ask(monitor).await.is_err() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn ask(monitor: &Path) -> std::io::Result<()> {
    let mut stream = BufReader::new(UnixStream::connect(monitor).await?);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    stream
        .write_all(b"{\"execute\":\"qmp_capabilities\"}\n")
        .await?;
    line.clear();
    match stream.read_line(&mut line).await? {
        0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// Its own session: it gets no signal that is meant for us. And none of our
/// descriptors, however we came by them.
#[expect(unsafe_code, reason = "setsid must be called between fork and exec")]
fn detach(command: &mut Command) {
    // SAFETY: setsid(2) and close_range(2) are async-signal-safe and touch no
    // memory of ours.
    unsafe {
        command.pre_exec(|| {
            rustix::process::setsid()?;
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

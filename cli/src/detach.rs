//! Processes that outlive this command.
#![expect(
    unsafe_code,
    reason = "a session of its own needs code between fork and exec"
)]

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Starts a program in its own session: no terminal, nothing to read, its
/// output in `log`, the root directory as its own.
///
/// # Errors
/// It cannot be started.
pub(crate) fn spawn(program: &Path, log: File) -> io::Result<Child> {
    let mut command = Command::new(program);
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .current_dir("/");
    in_own_session(&mut command).spawn()
}

fn in_own_session(command: &mut Command) -> &mut Command {
    // SAFETY: setsid is async-signal-safe, and the closure allocates nothing.
    unsafe {
        command.pre_exec(|| {
            rustix::process::setsid()?;
            Ok(())
        })
    }
}

//! The server's process: started with its end of the link as standard input,
//! ends with the keeper.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

/// Starts a server and gives it with the keeper's end of the link.
#[expect(
    unsafe_code,
    reason = "the death signal must be set between fork and exec"
)]
pub(super) fn start() -> io::Result<(Child, OwnedFd)> {
    let (here, there) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("stack-fsd-server")
        .arg("--serve")
        .stdin(Stdio::from(there))
        .stdout(Stdio::null());
    // SAFETY: prctl(2) is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            let kill = Some(rustix::process::Signal::KILL);
            rustix::process::set_parent_process_death_signal(kill)?;
            Ok(())
        });
    }
    Ok((command.spawn()?, here))
}

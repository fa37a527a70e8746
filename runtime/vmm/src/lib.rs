//! Runs one micro-VM: the VMM's process, its disks, and the conversation
//! with the agent inside. The only crate that knows a VMM.

mod agent;
mod any;
pub mod disk;
mod error;
mod fake;
mod process;
mod qemu;
mod spec;

pub use agent::{Agent, AgentEvent, ExecSession, GuestHello, Input, Output};
pub use any::AnyBackend;
pub use error::Error;
pub use fake::Fake;
pub use process::{Process, leftover, surely_leftover, watched};
pub use qemu::{Probe, Qemu, outlast_full_disk};
pub use spec::{Disk, Nic, Rates, Transport, VmSpec};

use std::io::Write;
use std::path::Path;

/// What can run VMs.
pub trait Backend: Send + Sync {
    /// Starts a VM's process. It lives in a session of its own and outlives
    /// this one.
    fn start(&self, spec: &VmSpec) -> impl Future<Output = Result<Process, Error>> + Send;

    /// The process is there and is still the one that was started.
    fn alive(&self, process: &Process) -> bool {
        process.alive()
    }

    /// Waits until the process has ended; it need not be a child.
    fn wait(&self, process: &Process) -> impl Future<Output = ()> + Send {
        process.wait()
    }

    /// Ends the process at once.
    fn kill(&self, process: &Process) {
        process.kill();
    }
}

/// Notes why a VM is about to be ended, as the last of what is said of it. A disk that is
/// full has no room for it.
pub fn note_last_word(dir: &Path, why: &str) {
    let log = std::fs::File::options()
        .append(true)
        .open(dir.join("qemu.log"));
    if let Err(error) = log.and_then(|mut log| writeln!(log, "{why}")) {
        tracing::debug!(%error, why, "not noted");
    }
}

/// The last line that QEMU or the guest's kernel said, for an error message.
pub fn last_words(dir: &Path) -> String {
    let last = |name: &str| {
        let bytes = std::fs::read(dir.join(name)).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        // Registers and code follow, which tell a user nothing.
        let reason = lines.clone().find(|line| line.contains("internal error"));
        reason.or_else(|| lines.next_back()).map(str::to_owned)
    };
    last("qemu.log")
        .or_else(|| last("console.log"))
        .unwrap_or_else(|| "it said nothing".to_owned())
}

//! Runs one micro-VM: the VMM's process, its disks, and the conversation
//! with the agent inside. The only crate that knows a VMM.

mod agent;
mod any;
pub mod disk;
mod error;
mod fake;
mod last_words;
mod process;
mod qemu;
mod spec;

pub use agent::{Agent, AgentEvent, ExecSession, GuestHello, Input, Output};
pub use any::AnyBackend;
pub use error::Error;
pub use fake::Fake;
pub use last_words::{last_words, note_last_word};
pub use process::{Process, leftover, surely_leftover, watched};
pub use qemu::{Probe, Qemu, outlast_full_disk};
pub use spec::{Disk, Nic, Rates, Transport, VmSpec};

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

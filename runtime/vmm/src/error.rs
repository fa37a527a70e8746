//! What can go wrong below a container.

use std::io;
use std::path::PathBuf;

/// An error of the VM layer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no QEMU.
    #[error("{0} is not installed")]
    NoQemu(String),
    /// QEMU is too old or broken.
    #[error("{0}")]
    BadQemu(String),
    /// A tool is missing.
    #[error("{0} is not installed")]
    NoTool(&'static str),
    /// The machine has too little memory.
    #[error("not enough memory: the VM needs {needed_mib} MiB, {available_mib} MiB are available")]
    Memory {
        /// MiB.
        needed_mib: u64,
        /// MiB.
        available_mib: u64,
    },
    /// The disk is full.
    #[error("no space left on the disk that holds {0}")]
    DiskFull(PathBuf),
    /// A disk is used by another VM.
    #[error("a disk of this VM is in use by another one: {0}")]
    DiskLocked(String),
    /// The VM's process ended at once.
    #[error("the VM could not be started: {0}")]
    Start(String),
    /// The conversation with the agent was cut.
    #[error("the VM does not answer")]
    Closed,
    /// A message does not fit.
    #[error("configs and secrets are too large for one service: {bytes} bytes of {limit} in all")]
    TooLarge {
        /// Bytes of the message.
        bytes: usize,
        /// Bytes at most.
        limit: usize,
    },
    /// The agent refused.
    #[error("{message}")]
    Guest {
        /// Its words.
        message: String,
        /// Docker's exit code.
        code: i32,
    },
    /// Anything of the system.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// Why not.
        source: io::Error,
    },
}

impl Error {
    /// For `map_err`: names what was being done; a full disk is told apart.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let what = what.into();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull => Error::DiskFull(PathBuf::from(what)),
            _ => Error::Io { what, source },
        }
    }

    /// A stable word.
    pub fn code(&self) -> &'static str {
        match self {
            Error::NoQemu(_) => "qemu_missing",
            Error::BadQemu(_) => "qemu",
            Error::NoTool(_) => "tool_missing",
            Error::Memory { .. } => "memory",
            Error::DiskFull(_) => "disk_full",
            Error::DiskLocked(_) => "volume_in_use",
            Error::Start(_) => "vm_failed",
            Error::Closed => "not_running",
            Error::TooLarge { .. } => "too_large",
            Error::Guest { .. } => "guest",
            Error::Io { .. } => "io",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        let help = match self {
            Error::NoQemu(_) => {
                "install it: `apt install qemu-system-x86` (Debian, Ubuntu), \
                 `dnf install qemu-system-x86` (Fedora), `brew install qemu` (macOS); \
                 or set STACK_QEMU to the program"
            }
            Error::NoTool("mkfs.ext4") => "install e2fsprogs",
            Error::Memory { .. } => "stop something, or lower the service's `mem_limit`",
            Error::DiskFull(_) => "free some space, then run the command again: nothing was lost",
            Error::TooLarge { .. } => "mount large files as volumes instead",
            Error::DiskLocked(_) => {
                "a volume's disk is in one machine at a time: stop the container that has it, or \
                 `stack up` the service, which makes a directory of it for both"
            }
            _ => return None,
        };
        Some(help.to_owned())
    }

    /// The exit code of a command that failed with this.
    pub fn exit_code(&self) -> i32 {
        match self {
            Error::Guest { code, .. } => *code,
            _ => 1,
        }
    }
}

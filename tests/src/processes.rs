//! The processes of one home, found by what they were started with.

use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A process of a home.
#[derive(Debug, Clone)]
pub struct Running {
    /// Its number.
    pub pid: i32,
    /// File name of its program.
    pub program: String,
    /// It is a VM that is only made to be saved.
    is_template: bool,
}

impl Running {
    /// Is it the VM of a service?
    pub fn is_vm(&self) -> bool {
        self.program.starts_with("qemu-system") && !self.is_template
    }

    /// Does it still run? A zombie does not.
    pub fn is_alive(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
        !state.is_empty() && !state.starts_with('Z')
    }

    /// Sends SIGKILL.
    pub fn kill(&self) {
        let _ = kill(Pid::from_raw(self.pid), Signal::SIGKILL);
    }

    /// Sends SIGSTOP.
    pub fn halt(&self) {
        let _ = kill(Pid::from_raw(self.pid), Signal::SIGSTOP);
    }

    /// Sends SIGCONT.
    pub fn go_on(&self) {
        let _ = kill(Pid::from_raw(self.pid), Signal::SIGCONT);
    }
}

/// Every process whose environment has `STACK_HOME` set to `home`, apart
/// from this one. Zombies do not count.
pub(crate) fn of_home(home: &Path) -> Vec<Running> {
    let entry = format!("STACK_HOME={}", home.display());
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .flatten()
        .filter_map(|process| {
            let pid: i32 = process.file_name().to_str()?.parse().ok()?;
            let environment = std::fs::read(process.path().join("environ")).ok()?;
            let ours = environment
                .split(|byte| *byte == 0)
                .any(|var| var == entry.as_bytes());
            let arguments = std::fs::read(process.path().join("cmdline")).ok()?;
            let program = arguments.split(|byte| *byte == 0).next()?;
            let program = String::from_utf8_lossy(program).into_owned();
            let program = program.rsplit('/').next()?.to_owned();
            let is_template = arguments
                .split(|byte| *byte == 0)
                .any(|argument| argument.starts_with(b"stack-template"));
            let own = u32::try_from(pid) == Ok(std::process::id());
            (ours && !own).then_some(Running {
                pid,
                program,
                is_template,
            })
        })
        .collect()
}

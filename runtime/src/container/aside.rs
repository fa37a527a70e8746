//! A VM for a container that does not run, so that its files can be reached:
//! its disks and mounts, no network, and a first process that does nothing.
//! The stack and its volumes are locked as long as it lives: nothing is started
//! meanwhile.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use stack_api::event::ApiError;
use stack_protocol::config::{Builtin, Exec, VmConfig};
use stack_protocol::message::{Command, Outcome};
use stack_vmm::{Agent, Backend, Process, VmSpec};

use super::run::{BOOT_LIMIT, end_process, machine};
use super::{Handle, vm_error};
use crate::daemon::Daemon;
use crate::time::now_ns;
use crate::volume::Turn;

/// Directories of these VMs begin with it; those of containers with a digit
/// of their id.
const MARK: &str = "x";
/// How long it may take to write everything out and end.
const END_LIMIT: Duration = Duration::from_secs(30);

/// The VM, with the locks of its container's stack and volumes.
#[derive(Debug)]
pub struct Aside {
    vm: Lone,
}

/// A VM without a service.
#[derive(Debug)]
pub(crate) struct Lone {
    machine: Machine,
    agent: Agent,
}

/// Its process, which ends when nobody has it any more: whoever started it may
/// be cut off at any moment, and it has disks that others want.
#[derive(Debug)]
struct Machine {
    daemon: Arc<Daemon>,
    process: Process,
    dir: PathBuf,
    /// What keeps others from its disks, as long as there is a process.
    turns: Vec<Turn>,
    /// It has ended, and its directory is gone.
    over: bool,
}

impl Machine {
    /// Waits for its end, which is near.
    async fn end(mut self) {
        end_process(&self.daemon, &self.process).await;
        let _ = tokio::fs::remove_dir_all(&self.dir).await;
        self.over = true;
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        self.daemon.backend.kill(&self.process);
        // Without a runtime the daemon ends, and the next one sweeps.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let left = Machine {
                daemon: Arc::clone(&self.daemon),
                process: self.process.clone(),
                dir: std::mem::take(&mut self.dir),
                turns: std::mem::take(&mut self.turns),
                over: true,
            };
            runtime.spawn(left.end());
        }
    }
}

impl Aside {
    /// Starts it.
    ///
    /// # Errors
    /// The container runs, or the VM does not come up.
    pub async fn open(daemon: &Arc<Daemon>, handle: &Arc<Handle>) -> Result<Aside, ApiError> {
        let turn = daemon
            .operation(&handle.container().project)
            .lock_owned()
            .await;
        let mut turns = daemon.volume_turns(&handle.record().blueprint).await?;
        turns.push(Arc::new(turn));
        let mut record = handle.record();
        // A volume of its may have become a tree since it was made.
        crate::volume::convert::follow(&mut record.blueprint);
        if record.container.state.is_live() || record.process.is_some() {
            let message = format!("{} has just been started", record.container.name);
            return Err(ApiError::new("not_running", message));
        }
        let dir = Lone::dir(daemon, &handle.id)?;
        let spec = VmSpec {
            nics: Vec::new(),
            ..machine(daemon, &record, dir).await?
        };
        let vm = Lone::start(daemon, &spec, &record.blueprint.config, turns).await?;
        Ok(Aside { vm })
    }

    /// The conversation with it.
    pub fn agent(&self) -> &Agent {
        &self.vm.agent
    }

    /// Ends it, with everything written to its disks.
    pub async fn close(self) {
        self.vm.close().await;
    }
}

impl Lone {
    /// Makes its directory.
    pub(crate) fn dir(daemon: &Daemon, name: &str) -> Result<PathBuf, ApiError> {
        let dir = daemon.paths.vm(&format!("{MARK}{name}"));
        let _ = std::fs::remove_dir_all(&dir);
        crate::paths::private_dir(&dir)
            .map_err(|error| ApiError::new("run_dir", format!("{}: {error}", dir.display())))?;
        Ok(dir)
    }

    /// Starts it with the disks, mounts and root of a configuration. `turns`
    /// end with its process.
    ///
    /// # Errors
    /// It does not come up, or something cannot be mounted.
    pub(crate) async fn start(
        daemon: &Arc<Daemon>,
        spec: &VmSpec,
        config: &VmConfig,
        turns: Vec<Turn>,
    ) -> Result<Lone, ApiError> {
        let (own, spec) = (Arc::clone(daemon), spec.clone());
        // A process that was started is known, whatever happens to the caller.
        let work = tokio::spawn(async move {
            let process = own.backend.start(&spec).await?;
            Ok(Machine {
                process,
                dir: spec.dir,
                daemon: own,
                turns,
                over: false,
            })
        });
        let started = work.await;
        let started = started.map_err(|error| ApiError::new("internal", error.to_string()))?;
        let machine = started.map_err(vm_error)?;
        let agent = match answer(daemon, &machine.process, &machine.dir).await {
            Ok(agent) => agent,
            Err(error) => {
                daemon.backend.kill(&machine.process);
                machine.end().await;
                return Err(error);
            }
        };
        let lone = Lone { machine, agent };
        let configured = lone
            .agent
            .request(Command::Configure(Box::new(idle(config))));
        match configured.await.map_err(vm_error) {
            Ok(Outcome::Error { message, .. }) => {
                lone.close().await;
                Err(ApiError::new("vm_failed", message))
            }
            Ok(_) => Ok(lone),
            Err(error) => {
                lone.close().await;
                Err(error)
            }
        }
    }

    /// The conversation with it.
    pub(crate) fn agent(&self) -> &Agent {
        &self.agent
    }

    /// Ends it, with everything written to its disks.
    pub(crate) async fn close(self) {
        let shutdown = self.agent.request(Command::Shutdown);
        let _ = tokio::time::timeout(END_LIMIT, shutdown).await;
        self.machine.end().await;
    }
}

/// The service's configuration, without the service.
fn idle(config: &VmConfig) -> VmConfig {
    VmConfig {
        time_ns: now_ns(),
        interfaces: Vec::new(),
        healthcheck: None,
        sysctls: Vec::new(),
        init: false,
        process: Exec {
            cwd: "/".to_owned(),
            builtin: Some(Builtin::Idle),
            ..Exec::default()
        },
        ..config.clone()
    }
}

async fn answer(
    daemon: &Arc<Daemon>,
    process: &Process,
    dir: &std::path::Path,
) -> Result<Agent, ApiError> {
    let socket = dir.join("agent.sock");
    let attempt = async {
        loop {
            if let Ok((agent, _, mut events)) = Agent::connect(&socket, 0).await {
                // It has nothing to say, but must never be kept waiting.
                tokio::spawn(async move { while events.recv().await.is_some() {} });
                return agent;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let failed = |what: &str| {
        let why = stack_vmm::last_words(dir);
        ApiError::new("vm_failed", format!("{what}: {why}"))
    };
    tokio::select! {
        agent = attempt => Ok(agent),
        () = daemon.backend.wait(process) => Err(failed("the VM ended while it was booting")),
        () = tokio::time::sleep(BOOT_LIMIT) => Err(failed("the VM did not answer")),
    }
}

/// Ends what a daemon before this one has left.
pub async fn sweep(daemon: &Arc<Daemon>) {
    let Ok(dirs) = std::fs::read_dir(daemon.paths.vms()) else {
        return;
    };
    for dir in dirs.flatten() {
        if !dir.file_name().to_string_lossy().starts_with(MARK) {
            continue;
        }
        if let Some(process) = stack_vmm::leftover(&dir.path()) {
            daemon.backend.kill(&process);
            daemon.backend.wait(&process).await;
        }
        let _ = std::fs::remove_dir_all(dir.path());
    }
}

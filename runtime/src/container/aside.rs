//! A VM for a container that does not run, so that its files can be reached:
//! its disks and mounts, no network, and a first process that does nothing.
//! The stack and its volumes are locked as long as it lives: nothing is started
//! meanwhile.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stack_api::event::ApiError;
use stack_protocol::config::{Builtin, Exec, MountSource, VmConfig};
use stack_protocol::message::{Command, Outcome};
use stack_vmm::{Agent, Backend, Process, VmSpec};
use tokio::task::AbortHandle;

use super::run::{BOOT_LIMIT, machine};
use super::shutdown::{AT_MOST, WRITES_LONGEST, kill, shut_down};
use super::{Handle, vm_error};
use crate::daemon::Daemon;
use crate::time::now_ns;
use crate::volume::Turn;

/// Directories of these VMs begin with it; those of containers with a digit
/// of their id.
const MARK: &str = "x";
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
    /// It is halted, because the host's disk is full.
    halted: Arc<AtomicBool>,
    /// What has it go on then.
    room: AbortHandle,
    /// It has ended, and its directory is gone.
    over: bool,
}

impl Machine {
    fn new(daemon: Arc<Daemon>, process: Process, dir: PathBuf, turns: Vec<Turn>) -> Machine {
        let halted = Arc::new(AtomicBool::new(false));
        let (told, vm) = (Arc::clone(&halted), dir.clone());
        let outlasts = async move {
            let tell = |now: bool| {
                if now != told.swap(now, Ordering::Relaxed) {
                    let dir = vm.display();
                    tracing::warn!(%dir, halted = now, "the host's disk is full, or has room");
                }
            };
            stack_vmm::outlast_full_disk(&vm, tell).await;
        };
        Machine {
            daemon,
            process,
            dir,
            turns,
            halted,
            room: tokio::spawn(outlasts).abort_handle(),
            over: false,
        }
    }

    fn is_halted(&self) -> bool {
        self.halted.load(Ordering::Relaxed)
    }

    /// Ends it as it is.
    async fn kill(self) {
        kill(&self.daemon, &self.process).await;
        self.forget().await;
    }

    /// Its process has ended.
    async fn forget(mut self) {
        self.room.abort();
        let _ = tokio::fs::remove_dir_all(&self.dir).await;
        self.over = true;
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        self.room.abort();
        self.daemon.backend.kill(&self.process);
        // Without a runtime the daemon ends, and the next one sweeps.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let left = Machine {
                daemon: Arc::clone(&self.daemon),
                process: self.process.clone(),
                dir: std::mem::take(&mut self.dir),
                turns: std::mem::take(&mut self.turns),
                halted: Arc::clone(&self.halted),
                room: self.room.clone(),
                over: true,
            };
            runtime.spawn(left.kill());
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
        // Its restart policy asks nobody.
        let disks = Arc::clone(&handle.disks).lock_owned().await;
        let mut turns = daemon.volume_turns(&handle.record().blueprint).await?;
        turns.extend([turn, disks].map(Arc::new));
        let mut record = handle.record();
        // A volume of its may have become a tree since it was made.
        crate::volume::convert::follow(&mut record.blueprint);
        let lives = record.container.state.is_live() && !record.rests();
        if lives || record.process.is_some() {
            let message = format!("{} has just been started", record.container.name);
            return Err(ApiError::new("not_running", message));
        }
        let dir = Lone::dir(daemon, &handle.id)?;
        let spec = VmSpec {
            nics: Vec::new(),
            ..machine(daemon, &record, dir).await?
        };
        let config = reachable(record.blueprint.config);
        let vm = Lone::start(daemon, &spec, &config, turns).await?;
        Ok(Aside { vm })
    }

    /// The conversation with it.
    pub fn agent(&self) -> &Agent {
        &self.vm.agent
    }

    /// Ends it, with everything written to its disks.
    ///
    /// # Errors
    /// Not everything could be written.
    pub async fn close(self) -> Result<(), ApiError> {
        self.vm.close().await
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
            Ok(Machine::new(own, process, spec.dir, turns))
        });
        let started = work.await;
        let started = started.map_err(|error| ApiError::new("internal", error.to_string()))?;
        let machine = started.map_err(vm_error)?;
        let agent = match answer(&machine).await {
            Ok(agent) => agent,
            Err(error) => {
                machine.kill().await;
                return Err(error);
            }
        };
        let lone = Lone { machine, agent };
        let configured = lone
            .agent
            .request(Command::Configure(Box::new(idle(config))));
        match configured.await.map_err(vm_error) {
            Ok(Outcome::Error { message, .. }) => {
                let _ = lone.close().await;
                Err(ApiError::new("vm_failed", message))
            }
            Ok(_) => Ok(lone),
            Err(error) => {
                let _ = lone.close().await;
                Err(error)
            }
        }
    }

    /// The conversation with it.
    pub(crate) fn agent(&self) -> &Agent {
        &self.agent
    }

    /// Ends it, with everything written to its disks.
    ///
    /// # Errors
    /// Not everything could be written.
    pub(crate) async fn close(self) -> Result<(), ApiError> {
        let Lone { machine, agent } = self;
        let limit = tokio::time::sleep(WRITES_LONGEST);
        let halted = || machine.is_halted();
        let lost = shut_down(&machine.daemon, &machine.process, &agent, halted, limit).await;
        let code = match machine.is_halted() {
            true => "disk_full",
            false => "vm_failed",
        };
        machine.forget().await;
        match lost {
            Some(lost) => Err(ApiError::new(code, lost)),
            None => Ok(()),
        }
    }
}

/// What can be mounted without a network.
fn reachable(mut config: VmConfig) -> VmConfig {
    let local = |source: &MountSource| !matches!(source, MountSource::Nfs { .. });
    config.mounts.retain(|mount| local(&mount.source));
    config
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

async fn answer(machine: &Machine) -> Result<Agent, ApiError> {
    let socket = machine.dir.join("agent.sock");
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
    let limit = async {
        tokio::time::sleep(BOOT_LIMIT).await;
        while machine.is_halted() {
            tokio::time::sleep(BOOT_LIMIT).await;
        }
    };
    let failed = |what: &str| {
        let why = stack_vmm::last_words(&machine.dir);
        ApiError::new("vm_failed", format!("{what}: {why}"))
    };
    let gone = machine.daemon.backend.wait(&machine.process);
    tokio::select! {
        agent = attempt => Ok(agent),
        () = gone => Err(failed("the VM ended while it was booting")),
        () = limit => Err(failed("the VM did not answer")),
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
        if let Some(process) = stack_vmm::surely_leftover(&dir.path()).await
            && !kill(daemon, &process).await
        {
            // It waits for a disk that does not answer. By its directory it is
            // found again.
            let (pid, limit) = (process.pid, AT_MOST.as_secs());
            tracing::error!(pid, limit, "a VM that was killed has not ended");
            continue;
        }
        let _ = std::fs::remove_dir_all(dir.path());
    }
}

#[cfg(test)]
mod tests {
    use stack_protocol::config::Mount;

    use super::*;

    #[test]
    fn a_server_that_cannot_be_reached_is_left_out() {
        let mount = |target: &str, source| Mount {
            target: target.to_owned(),
            source,
            read_only: false,
            subpath: String::new(),
        };
        let nfs = MountSource::Nfs {
            server: "nas".to_owned(),
            path: "/srv".to_owned(),
            options: Vec::new(),
            copy_image_content: true,
        };
        let disk = MountSource::Disk {
            serial: "v".to_owned(),
            copy_image_content: false,
        };
        let config = VmConfig {
            mounts: vec![mount("/media", nfs), mount("/data", disk)],
            ..VmConfig::default()
        };
        let left = reachable(config).mounts;
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].target, "/data");
    }
}

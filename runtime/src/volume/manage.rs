//! What `stack volume` does.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use stack_api::event::ApiError;
use stack_api::spec::{StackSpec, VolumeSpec};
use stack_api::volume::{CreateVolume, Form, PruneVolumes, VolumeInfo, Volumes};
use stack_protocol::config;
use stack_vmm::Agent;

use super::lone;
use super::{Volume, VolumeKind, WantedVolume, tree};
use crate::container::Handle;
use crate::container::aside::Lone;
use crate::daemon::Daemon;
use crate::ledger::Table;

/// A way to a volume's files: by the VM that has it, or one for the time.
#[derive(Debug)]
pub(crate) struct Reach {
    vm: Vm,
    /// Where the whole volume is in the agent's own view: nothing of the service
    /// is mounted there.
    path: String,
}

#[derive(Debug)]
enum Vm {
    /// A service's.
    Own(Agent),
    /// One that has nothing else.
    Lone(Lone),
}

impl Reach {
    /// The conversation with it.
    pub(crate) fn agent(&self) -> &Agent {
        match &self.vm {
            Vm::Own(agent) => agent,
            Vm::Lone(lone) => lone.agent(),
        }
    }

    /// Where the volume is there, outside of what a service sees.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// It is not needed any more.
    ///
    /// # Errors
    /// Not everything could be written.
    pub(crate) async fn close(self) -> Result<(), ApiError> {
        match self.vm {
            Vm::Own(_) => Ok(()),
            Vm::Lone(lone) => lone.close().await,
        }
    }
}

impl Daemon {
    /// All volumes as they are, or the one of this name. Sizes take as long as there
    /// are files: this is for a thread that may wait, unless they are left out.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub(crate) fn volume_infos(&self, wanted: &Volumes) -> Result<Vec<VolumeInfo>, ApiError> {
        let mut volumes = self.volumes()?;
        if let Some(name) = &wanted.name {
            volumes.retain(|volume| volume.name == *name);
        }
        let info = |volume: &Volume| VolumeInfo {
            size: match wanted.sizes {
                true => tree::size(&volume.path),
                false => 0,
            },
            ..self.volume_info(volume)
        };
        Ok(volumes.iter().map(info).collect())
    }

    /// All but the size.
    fn volume_info(&self, volume: &Volume) -> VolumeInfo {
        let users = self.volume_users(volume);
        VolumeInfo {
            name: volume.name.clone(),
            project: volume.project.clone(),
            form: match volume.kind {
                VolumeKind::Disk => Form::Disk,
                VolumeKind::Tree => Form::Tree,
            },
            path: volume.path.display().to_string(),
            size: 0,
            anonymous: volume.anonymous_of.is_some() || volume.awaits.is_some(),
            labels: volume.labels.clone(),
            created_ms: volume.created_ms,
            users: users.iter().map(|handle| handle.container().name).collect(),
        }
    }

    /// The containers that mount the volume, running or not.
    fn volume_users(&self, volume: &Volume) -> Vec<Arc<Handle>> {
        // A container that was made when it was a disk has the disk's path.
        let disk = volume.path.with_extension("ext4");
        let mut handles = self.handles(None);
        handles.retain(|handle| {
            let blueprint = handle.record().blueprint;
            blueprint.disks.iter().any(|use_| use_.path == disk)
                || blueprint
                    .files
                    .iter()
                    .any(|share| share.path == volume.path)
        });
        handles
    }

    fn volume_named(&self, name: &str) -> Result<Volume, ApiError> {
        let found = self.ledger.get(Table::Volumes, name)?;
        found.ok_or_else(|| ApiError::new("no_such_volume", format!("there is no volume {name}")))
    }

    /// Makes a volume; one of this name that is there stays as it is.
    ///
    /// # Errors
    /// The name is not one, or there is no room.
    pub(crate) fn create_volume(&self, wanted: &CreateVolume) -> Result<VolumeInfo, ApiError> {
        let spec = VolumeSpec {
            labels: wanted.labels.clone(),
            size: wanted.size,
            ..VolumeSpec::default()
        };
        let order = WantedVolume {
            project: &wanted.project,
            spec: Some(&spec),
            kind: wanted.form.into(),
            ..WantedVolume::default()
        };
        let _alone = self.creation();
        let (volume, _) = self.ensure_volume(&wanted.name, &order)?;
        Ok(self.volume_info(&volume))
    }

    /// Removes a volume that no container mounts.
    ///
    /// # Errors
    /// There is none of that name, or somebody mounts or copies it.
    pub(crate) async fn remove_volume_named(&self, name: &str) -> Result<(), ApiError> {
        self.volume_named(name)?;
        let users = self.remove_unused_volume(name, None).await?;
        if users.is_empty() {
            return Ok(());
        }
        let message = format!("volume {name} is used by {}", users.join(", "));
        let help = match self.volume_leases.holders(name, None).is_empty() {
            true => "remove these containers first, with `stack down`",
            false => "try again when the operation is done",
        };
        Err(ApiError::new("volume_in_use", message).help(help))
    }

    /// Removes a volume, if it is there, unless somebody uses it: says who then. `own`:
    /// the operation that asks is one of this stack's, and has it leased itself.
    ///
    /// # Errors
    /// Somebody copies it, or it cannot be removed.
    pub(crate) async fn remove_unused_volume(
        &self,
        name: &str,
        own: Option<&str>,
    ) -> Result<Vec<String>, ApiError> {
        let turn = self.volume_turn(name).await?;
        let Some(volume) = self.ledger.get(Table::Volumes, name)? else {
            return Ok(Vec::new());
        };
        Self::clear_aside(&volume, &turn).await?;
        let users = self.set_aside_unused(&volume, own)?;
        if users.is_empty() {
            Self::clear_aside(&volume, &turn).await?;
        }
        Ok(users)
    }

    /// Takes a volume out of the way, unless containers mount it, or an operation is
    /// about to make some that do: says who then.
    fn set_aside_unused(
        &self,
        volume: &Volume,
        own: Option<&str>,
    ) -> Result<Vec<String>, ApiError> {
        let _alone = self.creation();
        let users = self.volume_users(volume);
        let mut users: Vec<String> = users.iter().map(|user| user.container().name).collect();
        let stacks = self.volume_leases.holders(&volume.name, own).into_iter();
        users.extend(stacks.map(|stack| format!("an operation on stack {stack}")));
        if users.is_empty() {
            self.set_aside(volume)?;
        }
        Ok(users)
    }

    /// Removes what nobody mounts, copies or is about to mount: without `all` only
    /// volumes without a name. As if the containers with the names in `leaving` were
    /// gone.
    ///
    /// # Errors
    /// A volume cannot be removed, or a record cannot be read: its container may mount any
    /// of them.
    pub(crate) async fn prune_volumes(
        &self,
        order: PruneVolumes,
        leaving: &BTreeSet<String>,
    ) -> Result<Vec<VolumeInfo>, ApiError> {
        let mut removed = Vec::new();
        if !self.knows_all() {
            let message = "a container or volume cannot be read, so nobody knows what is in use";
            let help = "a later version of stack may have written it: use that one";
            return Err(ApiError::new("unreadable", message).help(help));
        }
        for volume in self.volumes()? {
            let mut users = self.volume_users(&volume);
            users.retain(|handle| !leaving.contains(&handle.container().name));
            if !users.is_empty()
                || !(order.all || volume.anonymous_of.is_some())
                || !order.filter.takes(&volume.labels, volume.created_ms)
                || self.is_awaited(&volume)?
            {
                continue;
            }
            let Some(turn) = self.free_volume(&volume.name) else {
                continue;
            };
            // Whoever had its turn may have made something else of it.
            let Some(volume) = self.ledger.get::<Volume>(Table::Volumes, &volume.name)? else {
                continue;
            };
            let path = volume.path.clone();
            let size = tokio::task::spawn_blocking(move || tree::size(&path)).await;
            let info = VolumeInfo {
                size: size.unwrap_or(0),
                ..self.volume_info(&volume)
            };
            if !order.dry_run {
                Self::clear_aside(&volume, &turn).await?;
                if !self.set_aside_unused(&volume, None)?.is_empty() {
                    continue;
                }
                Self::clear_aside(&volume, &turn).await?;
            }
            removed.push(info);
        }
        Ok(removed)
    }

    /// An operation is about to use the volume. Or the next container of a name is to
    /// have it, and may still come: its stack is being changed, or has a place for it.
    fn is_awaited(&self, volume: &Volume) -> Result<bool, ApiError> {
        if !self.volume_leases.holders(&volume.name, None).is_empty() {
            return Ok(true);
        }
        let Some((container, _)) = &volume.awaits else {
            return Ok(false);
        };
        let project = &volume.project;
        if self.operation(project).try_lock().is_err() {
            return Ok(true);
        }
        let stack: Option<StackSpec> = self.ledger.stack(project)?;
        let services = stack.iter().flat_map(|stack| stack.services.values());
        let mut names = services.flat_map(|service| {
            let numbers = 1..=service.replicas;
            numbers.map(move |number| service.container_name_of(project, number))
        });
        Ok(names.any(|name| name == *container))
    }

    /// A way to a volume's files, to write them or only to read.
    ///
    /// # Errors
    /// There is none of that name, or its disk is in a VM that does not answer, or
    /// that cannot write.
    pub(crate) async fn reach_volume(
        self: &Arc<Self>,
        name: &str,
        writes: bool,
    ) -> Result<Reach, ApiError> {
        // One such VM at a time; and nobody starts another one with the disk,
        // makes a tree of it or removes it.
        self.volume_named(name)?;
        let turn = self.volume_turn(name).await?;
        let volume = self.volume_named(name)?;
        if volume.kind == VolumeKind::Disk {
            for handle in self.volume_users(&volume) {
                if let Some((found, read_only)) = inside(&handle, &volume.path) {
                    if writes && read_only {
                        let container = handle.container().name;
                        let message = format!("{container} has volume {name} read-only");
                        return Err(ApiError::new("volume_in_use", message)
                            .help("stop it first: then the volume can be written"));
                    }
                    return match handle.answering().await {
                        Some(_) => Ok(found),
                        None => Err(handle.silent()),
                    };
                }
                if handle.container().state.is_live() {
                    let container = handle.container().name;
                    let message = format!("{container} has volume {name} and does not answer yet");
                    return Err(
                        ApiError::new("volume_in_use", message).help("try again when it runs")
                    );
                }
            }
        }
        let lone = lone::start(self, name, vec![lone::Shown::from(&volume)], turn).await?;
        Ok(Reach {
            vm: Vm::Lone(lone),
            path: lone::path(volume.kind),
        })
    }
}

/// The whole disk as a running container has it, and whether it only reads it.
fn inside(handle: &Handle, disk: &Path) -> Option<(Reach, bool)> {
    let agent = handle.agent.borrow().clone()?;
    let blueprint = handle.record().blueprint;
    let used = blueprint.disks.iter().find(|used| used.path == disk)?;
    let reach = Reach {
        vm: Vm::Own(agent),
        path: config::disk_dir(&used.serial),
    };
    Some((reach, used.read_only))
}

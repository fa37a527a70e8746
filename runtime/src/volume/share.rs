//! Who has a volume's disk, when a second container comes that mounts it: from
//! then on the volume is a tree. Who has the disk is stopped for the time of the
//! copy, and started again whatever becomes of it.
//!
//! A container of `run` is not stopped for that: to be started again means that
//! its command is run twice. Its end is waited for.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use stack_api::event::ApiError;
use stack_api::spec::{ServiceSpec, StackSpec};
use stack_planner::plan::{Action, Plan};
use tokio::sync::OwnedMutexGuard;

use super::convert::{convert, has_room_for};
use super::{Volume, VolumeKind};
use crate::container::{Handle, Record};
use crate::daemon::Daemon;
use crate::ledger::Table;
use crate::progress::Progress;
use crate::stack::{Halted, stop};

/// How long what another stack does may take, when a container of it must be
/// stopped for a moment.
const PATIENCE: Duration = Duration::from_secs(30);

/// For `up`: makes a tree of every disk that the stack is to mount several
/// times, with the machines that stay beside what the plan starts. Whether there was
/// one. The caller holds the stack's lock.
///
/// # Errors
/// A copy fails, or another stack that has the disk is busy; the disk is in
/// use as before.
pub(crate) async fn with_replicas(
    daemon: &Arc<Daemon>,
    progress: &Progress,
    spec: &StackSpec,
    selected: &BTreeSet<String>,
    plan: &Plan,
    grace: Option<u64>,
) -> Result<bool, ApiError> {
    let mut any = false;
    let ends = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Recreate { id, .. } | Action::Remove { id, .. } => Some(id.as_str()),
        _ => None,
    });
    let ends: BTreeSet<&str> = ends.collect();
    for (key, wanted) in &spec.volumes {
        let Some(volume) = disk(daemon, &wanted.name)? else {
            continue;
        };
        let mounts = |service: &ServiceSpec| service.volume_keys().any(|k| k == key);
        let mut starting = selected.iter().filter_map(|name| spec.services.get(name));
        let is_needed = starting.any(mounts);
        // Containers of the file's services are counted with their services.
        let counted = |service: &str| spec.services.get(service).is_some_and(mounts);
        let others = users(daemon, &volume.path).into_iter().filter(|handle| {
            let container = handle.container();
            if container.project != spec.name {
                return true;
            }
            let stays = !container.one_off && !ends.contains(handle.id.as_str());
            is_needed && stays && !counted(&container.service) && is_up(handle)
        });
        if spec.mounting(key) as usize + others.count() >= 2 {
            share(daemon, progress, &spec.name, &volume, grace).await?;
            any = true;
        } else if is_needed {
            vacated(daemon, progress, &volume.path, None).await;
        }
    }
    Ok(any)
}

/// It has a machine, or gets one by itself.
fn is_up(handle: &Handle) -> bool {
    let record = handle.record();
    record.wanted || record.container.state.is_live()
}

/// For `run`: makes a tree of every disk that the new container would have to
/// wait for. One in the background (`detach`) is to stay beside its service:
/// it leaves it no disk to wait for. The caller holds the stack's lock.
///
/// # Errors
/// As [`with_replicas`].
pub(crate) async fn with_one_off(
    daemon: &Arc<Daemon>,
    progress: &Progress,
    spec: &StackSpec,
    service: &ServiceSpec,
    detach: bool,
) -> Result<(), ApiError> {
    for volume in disks(daemon, spec, service) {
        let volume = volume?;
        let users = users(daemon, &volume.path);
        if detach || users.iter().any(|h| h.container().state.is_live()) {
            share(daemon, progress, &spec.name, &volume, None).await?;
        }
    }
    Ok(())
}

/// Waits until no container of `run` has a disk of a volume that this one needs.
pub(crate) async fn before_start(daemon: &Daemon, progress: &Progress, handle: &Handle) {
    let volumes = daemon.paths.volumes();
    let disks = handle.record().blueprint.disks.into_iter();
    for disk in disks.filter(|disk| disk.path.parent() == Some(volumes.as_path())) {
        vacated(daemon, progress, &disk.path, Some(&handle.id)).await;
    }
}

/// Waits until no container of `run` but this one has the disk.
async fn vacated(daemon: &Daemon, progress: &Progress, disk: &Path, but: Option<&str>) {
    let name = disk.file_stem().unwrap_or_default().to_string_lossy();
    let others = || {
        users(daemon, disk).into_iter().find(|handle| {
            let Record {
                container, hook, ..
            } = handle.record();
            // A hook that was cut off is removed by the next start.
            let runs = container.one_off && container.state.is_live() && !hook;
            runs && but != Some(&handle.id)
        })
    };
    while let Some(other) = others() {
        let status = format!("waiting for the end of {}", other.container().name);
        progress.step("volume", &name, &status);
        other.stopped().await;
    }
}

/// [`vacated`], for all volumes that the service mounts.
///
/// # Errors
/// The ledger cannot be read.
pub(crate) async fn all_vacated(
    daemon: &Daemon,
    progress: &Progress,
    spec: &StackSpec,
    service: &ServiceSpec,
) -> Result<(), ApiError> {
    for volume in disks(daemon, spec, service) {
        let volume = volume?;
        vacated(daemon, progress, &volume.path, None).await;
    }
    Ok(())
}

/// The volume, if it is there and a disk.
fn disk(daemon: &Daemon, name: &str) -> Result<Option<Volume>, ApiError> {
    let known: Option<Volume> = daemon.ledger.get(Table::Volumes, name)?;
    Ok(known.filter(|volume| volume.kind == VolumeKind::Disk))
}

/// The volumes of a service that are disks, each as it is when its turn comes.
fn disks<'a>(
    daemon: &'a Daemon,
    spec: &'a StackSpec,
    service: &'a ServiceSpec,
) -> impl Iterator<Item = Result<Volume, ApiError>> + 'a {
    let keys = service.volume_keys();
    let wanted = keys.filter_map(|key| spec.volumes.get(key));
    wanted.filter_map(|wanted| disk(daemon, &wanted.name).transpose())
}

/// The containers that have the disk, or get it when they are started.
fn users(daemon: &Daemon, disk: &Path) -> Vec<Arc<Handle>> {
    let mut handles = daemon.handles(None);
    handles.retain(|handle| {
        let disks = handle.record().blueprint.disks;
        disks.iter().any(|own| own.path == disk)
    });
    handles
}

/// Makes a tree of the disk, whoever has it.
async fn share(
    daemon: &Arc<Daemon>,
    progress: &Progress,
    project: &str,
    volume: &Volume,
    grace: Option<u64>,
) -> Result<(), ApiError> {
    vacated(daemon, progress, &volume.path, None).await;
    let _turns = other_stacks(daemon, project, volume).await?;
    has_room_for(daemon, volume)?;
    let mut halted = Halted::default();
    for handle in users(daemon, &volume.path) {
        if handle.container().state.is_live() {
            halted.note(&handle);
            stop(progress, &handle, grace).await;
        }
    }
    progress.step("volume", &volume.name, "copying, to be shared");
    convert(daemon, volume).await?;
    progress.finish("volume", &volume.name, "shared from now on");
    halted.go_on(progress).await;
    Ok(())
}

/// The locks of the other stacks whose containers have the disk.
async fn other_stacks(
    daemon: &Daemon,
    project: &str,
    volume: &Volume,
) -> Result<Vec<OwnedMutexGuard<()>>, ApiError> {
    let users = users(daemon, &volume.path);
    let live = users.iter().map(|handle| handle.container());
    let projects: BTreeSet<String> = live
        .filter(|container| container.state.is_live() && container.project != project)
        .map(|container| container.project)
        .collect();
    let mut turns = Vec::new();
    for other in projects {
        let turn = daemon.operation(&other).lock_owned();
        // That one may wait for this one.
        let turn = tokio::time::timeout(PATIENCE, turn).await.map_err(|_| {
            let message = format!(
                "volume {}: stack {other} has its disk, and is busy with another operation",
                volume.name
            );
            ApiError::new("volume_in_use", message).help("try again when that is done")
        })?;
        turns.push(turn);
    }
    Ok(turns)
}

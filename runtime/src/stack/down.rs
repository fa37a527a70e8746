//! `down`: stops and removes, dependants first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::join_all;
use stack_api::request::Down;
use stack_api::spec::{ServiceSpec, StackSpec};
use stack_planner::plan;

use super::{Outcome, networks, turn};
use crate::container::{Handle, Wish, news};
use crate::daemon::Daemon;
use crate::ledger::Table;
use crate::progress::Progress;

/// `POST /v1/stacks/{name}/down`.
///
/// # Errors
/// Something cannot be removed; the rest is.
pub async fn down(
    daemon: Arc<Daemon>,
    project: String,
    request: Down,
    progress: Progress,
) -> Outcome {
    let orphan = |service: &String| {
        !request.services_known.is_empty() && !request.services_known.contains(service)
    };
    let chosen = || {
        let mut handles = daemon.handles(Some(&project));
        handles.retain(|handle| {
            let service = handle.container().service;
            (request.services.is_empty() || request.services.contains(&service))
                && (request.remove_orphans || !orphan(&service))
        });
        handles
    };
    if request.timeout == Some(0) {
        turn::stop_at_once(&chosen());
    }
    let _one = turn::take(&daemon, &project, &progress).await;
    let grace = request.timeout.map(|seconds| seconds.saturating_mul(1000));
    let handles = chosen();
    let mut failure = None;
    let latest: Option<StackSpec> = daemon.ledger.stack(&project)?;
    for wave in backwards(&handles, latest.as_ref()) {
        let removals = wave
            .iter()
            .map(|handle| remove(&daemon, &progress, handle, grace, request.volumes));
        for result in join_all(removals).await {
            if let Err(error) = result {
                failure.get_or_insert(error);
            }
        }
    }
    if let Some(failure) = failure {
        return Err(failure);
    }
    if !daemon.handles(Some(&project)).is_empty() || !request.services.is_empty() {
        return Ok(());
    }
    networks::remove_all(&daemon, &progress, &project).await?;
    if request.volumes {
        let spec: Option<StackSpec> = daemon.ledger.stack(&project)?;
        let external: BTreeSet<String> = spec
            .iter()
            .flat_map(|spec| spec.volumes.values())
            .filter(|volume| volume.external)
            .map(|volume| volume.name.clone())
            .collect();
        for volume in daemon.volumes()? {
            if volume.project == project && !external.contains(&volume.name) {
                let _turn = daemon.volume_turn(&volume.name).await?;
                daemon.remove_volume(&volume)?;
                progress.finish("volume", &volume.name, "removed");
            }
        }
        daemon.ledger.forget_history(&project)?;
    }
    daemon.ledger.forget(Table::Worked, &project)?;
    daemon.ledger.forget_stack(&project)
}

/// Containers in waves, dependants before what they depend on.
pub(super) fn backwards(
    handles: &[Arc<Handle>],
    latest: Option<&StackSpec>,
) -> Vec<Vec<Arc<Handle>>> {
    let mut specs: BTreeMap<String, ServiceSpec> = BTreeMap::new();
    for handle in handles {
        let record = handle.record();
        specs.entry(record.container.service).or_insert(record.spec);
    }
    // The last `up` may have brought other dependencies and left the
    // containers alone.
    for (name, spec) in &mut specs {
        if let Some(service) = latest.and_then(|stack| stack.services.get(name)) {
            spec.depends_on.clone_from(&service.depends_on);
        }
    }
    let mut waves = plan::waves(&specs);
    waves.reverse();
    waves
        .into_iter()
        .map(|wave| {
            let of = |h: &&Arc<Handle>| wave.contains(&h.container().service);
            handles.iter().filter(of).cloned().collect()
        })
        .collect()
}

/// Stops and removes one container. `volumes`: also those without a name.
pub(crate) async fn remove(
    daemon: &Arc<Daemon>,
    progress: &Progress,
    handle: &Arc<Handle>,
    grace: Option<u64>,
    volumes: bool,
) -> Outcome {
    let name = handle.container().name;
    stop(progress, handle, grace).await;
    progress.step("container", &name, "removing");
    handle.wish.send_replace(Wish::Gone);
    let _ = handle.ended.subscribe().wait_for(|ended| *ended).await;
    if volumes {
        for volume in daemon.volumes()? {
            if volume.anonymous_of.as_deref() == Some(&handle.id) {
                let _turn = daemon.volume_turn(&volume.name).await?;
                daemon.remove_volume(&volume)?;
            }
        }
    }
    let news = [news::happening(&handle.record(), "destroy", &[])];
    daemon.ledger.forget_container(&handle.id, &news)?;
    daemon.remove(&handle.id);
    let _ = std::fs::remove_file(daemon.paths.scratch(&handle.id));
    let _ = std::fs::remove_dir_all(daemon.paths.vm(&handle.id));
    crate::logs::remove(&daemon.paths.log(&handle.id));
    progress.finish("container", &name, "removed");
    Ok(())
}

/// Stops one container, if it is not stopped.
pub(super) async fn stop(progress: &Progress, handle: &Arc<Handle>, grace: Option<u64>) {
    let container = handle.container();
    if !container.state.is_live() {
        return;
    }
    progress.step("container", &container.name, "stopping");
    handle.stop(grace);
    handle.stopped().await;
    progress.finish("container", &container.name, "stopped");
}

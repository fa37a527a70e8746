//! `down`: stops and removes, dependants first.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use stack_api::event::ApiError;
use stack_api::request::Down;
use stack_api::spec::{ServiceSpec, StackSpec};
use stack_planner::plan;

use super::{Outcome, networks, secrets, turn};
use crate::container::{Handle, Wish, console, news};
use crate::daemon::Daemon;
use crate::ledger::Table;
use crate::progress::Progress;
use crate::volume::{Turn, Volume};

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
    if request.timeout == Some(0) {
        turn::stop_at_once(&chosen(&daemon, &project, &request));
    }
    let turn = turn::take(&daemon, &project, &progress).await;
    turn::to_the_end(turn, take_down(daemon, project, request, progress)).await
}

/// The containers that it is for.
fn chosen(daemon: &Daemon, project: &str, request: &Down) -> Vec<Arc<Handle>> {
    let orphan = |service: &String| {
        !request.services_known.is_empty() && !request.services_known.contains(service)
    };
    let mut handles = daemon.handles(Some(project));
    handles.retain(|handle| {
        let service = handle.container().service;
        (request.services.is_empty() || request.services.contains(&service))
            && (request.remove_orphans || !orphan(&service))
    });
    handles
}

/// With the stack's lock. Only stops are waited for no more when the client has gone.
async fn take_down(
    daemon: Arc<Daemon>,
    project: String,
    request: Down,
    progress: Progress,
) -> Outcome {
    let grace = request.timeout.map(|seconds| seconds.saturating_mul(1000));
    let handles = chosen(&daemon, &project, &request);
    let mut failure = None;
    let latest: Option<StackSpec> = daemon.ledger.stack(&project)?;
    for wave in backwards(&handles, latest.as_ref()) {
        let removals = wave
            .iter()
            .map(|handle| remove_wanted(&daemon, &progress, handle, grace, request.volumes));
        for result in join_all(removals).await {
            if let Err(error) = result {
                failure.get_or_insert(error);
            }
        }
    }
    if let Some(failure) = failure {
        return Err(failure);
    }
    if !request.services.is_empty() {
        return Ok(());
    }
    let left = daemon.handles(Some(&project));
    if !left.is_empty() {
        let names: Vec<_> = left.iter().map(|handle| handle.container().name).collect();
        progress.warn(format!(
            "orphan containers ({}) stay: if you removed or renamed these services, run this \
             command with --remove-orphans to clean up",
            names.join(", ")
        ));
    }
    networks::remove_all(&daemon, &progress, &project).await?;
    if request.volumes {
        let going = Going {
            project: &project,
            known: request.volumes_known.as_deref(),
            latest: latest.as_ref(),
            nameless: left.is_empty(),
        };
        going.remove(&daemon, &progress).await?;
    }
    if !left.is_empty() {
        return Ok(());
    }
    match request.volumes {
        true => daemon.ledger.forget_history(&project)?,
        false => secrets::forget_all(&daemon, &project)?,
    }
    daemon.ledger.forget(Table::Worked, &project)?;
    daemon.ledger.forget_stack(&project)?;
    daemon.ledger.forget_changes();
    Ok(())
}

/// The volumes that go with a stack.
struct Going<'a> {
    project: &'a str,
    /// Those that the file's enabled services use and that are not external; `None`: no file.
    known: Option<&'a [String]>,
    /// What the last `up` brought.
    latest: Option<&'a StackSpec>,
    /// Also those without a name that their containers have left.
    nameless: bool,
}

impl Going<'_> {
    fn has(&self, volume: &Volume) -> bool {
        if volume.project != self.project {
            return false;
        }
        if volume.anonymous_of.is_some() || volume.awaits.is_some() {
            return self.nameless;
        }
        let external = |latest: &StackSpec| {
            let mut all = latest.volumes.values();
            all.any(|spec| spec.external && spec.name == volume.name)
        };
        match self.known {
            // What was taken out of the file, is external there, or belongs to a profile
            // that is not active, is to stay.
            Some(known) => known.contains(&volume.name),
            None => !self.latest.is_some_and(external),
        }
    }

    /// Removes them, but for those that somebody mounts.
    async fn remove(&self, daemon: &Daemon, progress: &Progress) -> Outcome {
        let mut failure = None;
        for volume in daemon.volumes()? {
            if !self.has(&volume) {
                continue;
            }
            let name = &volume.name;
            match daemon.remove_unused_volume(name, None).await {
                Ok(users) if users.is_empty() => progress.finish("volume", name, "removed"),
                Ok(users) => {
                    let users = users.join(", ");
                    progress.warn(format!("volume {name} stays: it is used by {users}"));
                }
                Err(error) => {
                    failure.get_or_insert(error);
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }
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

/// As [`remove`]. One that does not stop stays when the client has gone.
///
/// # Errors
/// As well.
pub(super) async fn remove_wanted(
    daemon: &Arc<Daemon>,
    progress: &Progress,
    handle: &Arc<Handle>,
    grace: Option<u64>,
    volumes: bool,
) -> Outcome {
    let stopped = async {
        stop(progress, handle, grace).await;
        Ok(())
    };
    turn::while_wanted(progress, stopped).await?;
    remove(daemon, progress, handle, grace, volumes).await
}

/// Stops and removes one container. `volumes`: also those without a name.
///
/// # Errors
/// It cannot be removed; it is stopped then, and can be started. Or one of its
/// volumes cannot be.
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
    // As long as it is a container: who copies one of them may take long.
    let mut going = Vec::new();
    if volumes {
        let mut own = daemon.volumes()?;
        own.retain(|volume| volume.anonymous_of.as_deref() == Some(&handle.id));
        // In one order, so that nobody waits for the other one.
        own.sort_by(|a, b| a.name.cmp(&b.name));
        for volume in own {
            let turn = daemon.volume_turn(&volume.name).await?;
            going.push((volume, turn));
        }
    }
    let gone = gone(
        Arc::clone(daemon),
        progress.clone(),
        Arc::clone(handle),
        going,
    );
    // Cut off from here on, there would be a container that nobody drives.
    let gone = tokio::spawn(gone).await;
    gone.map_err(|error| ApiError::new("internal", error.to_string()))?
}

/// Removes a container that is stopped, and these volumes of it.
async fn gone(
    daemon: Arc<Daemon>,
    progress: Progress,
    handle: Arc<Handle>,
    going: Vec<(Volume, Turn)>,
) -> Outcome {
    let name = handle.container().name;
    handle.wish.send_replace(Wish::Gone);
    let _ = handle.ended.subscribe().wait_for(|ended| *ended).await;
    let news = [news::happening(&handle.record(), "destroy", &[])];
    if let Err(error) = daemon.ledger.forget_container(&handle.id, &news) {
        // Its driver has ended: another one drives what is still there.
        daemon.insert(handle.record());
        return Err(error);
    }
    daemon.remove(&handle.id);
    let _ = std::fs::remove_file(daemon.paths.scratch(&handle.id));
    let _ = std::fs::remove_dir_all(daemon.paths.vm(&handle.id));
    crate::logs::remove(&daemon.paths.log(&handle.id));
    console::forget(&daemon.paths, &handle.id);
    // One that stays is nobody's from now on, and goes with the next.
    let mut removed = Ok(());
    for (volume, turn) in going {
        removed = removed.and(daemon.remove_volume(&volume, &turn).await);
    }
    daemon.ledger.keep_room();
    progress.finish("container", &name, "removed");
    removed
}

/// Stops one container, if it is not stopped.
pub(crate) async fn stop(progress: &Progress, handle: &Arc<Handle>, grace: Option<u64>) {
    let container = handle.container();
    if !container.state.is_live() {
        return;
    }
    progress.step("container", &container.name, "stopping");
    handle.stop(grace);
    let halted = async {
        handle.halts().await;
        let status = "halted, because the disk of the host is full; `-t 0` ends it as it is";
        progress.step("container", &container.name, status);
        std::future::pending().await
    };
    tokio::select! {
        () = handle.stopped() => {}
        () = halted => {}
    }
    progress.finish("container", &container.name, "stopped");
}

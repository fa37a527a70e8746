//! start, stop, restart, kill, rm, pause and unpause.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use stack_api::container::State;
use stack_api::event::ApiError;
use stack_api::request::{Action, Verb};
use stack_api::spec::StackSpec;
use stack_planner::plan;
use stack_protocol::message::{Command, Outcome as GuestOutcome};
use stack_protocol::signal;

use super::down::{backwards, remove_wanted, stop};
use super::limit::{self, Limit};
use super::{Halted, Outcome, one_off, pre_start, turn, wait};
use crate::container::{Handle, vm_error};
use crate::daemon::Daemon;
use crate::progress::Progress;
use crate::volume::share;

/// How long a guest may take to do what it is told.
const ANSWERS: Duration = Duration::from_secs(60);

/// `POST /v1/stacks/{name}/action`.
///
/// # Errors
/// A service has no container, or something cannot be done.
pub async fn act(
    daemon: Arc<Daemon>,
    project: String,
    action: Action,
    progress: Progress,
) -> Outcome {
    if action.verb == Verb::Kill {
        // Whoever has the lock may be waiting for its end.
        let chosen = chosen(&daemon, &project, &action, &BTreeSet::new())?;
        return kill(&progress, &chosen, action.signal.as_deref()).await;
    }
    if action.verb == Verb::Stop && action.timeout == Some(0) {
        turn::stop_at_once(&chosen(&daemon, &project, &action, &BTreeSet::new())?);
    }
    let turn = turn::take(&daemon, &project, &progress).await;
    let latest: Option<StackSpec> = daemon.ledger.stack(&project)?;
    let more = match (&latest, action.verb, action.no_deps) {
        (Some(stack), Verb::Restart, false) => following(stack, &action.services),
        (Some(stack), Verb::Start, false) => {
            plan::select(&stack.services, &action.services, true).unwrap_or_default()
        }
        _ => BTreeSet::new(),
    };
    let chosen = chosen(&daemon, &project, &action, &more)?;
    let grace = action.timeout.map(|seconds| seconds.saturating_mul(1000));
    let down = backwards(&chosen, latest.as_ref());
    let up = || down.iter().rev();
    let limit = Limit::new(action.wait_timeout.filter(|_| action.wait));
    let begin = async |handle: &Arc<Handle>| {
        if handle.container().state == State::Running {
            return Ok(());
        }
        share::before_start(&daemon, &progress, handle).await;
        if let Some(stack) = &latest {
            pre_start::prepare(&daemon, &progress, limit, stack, handle).await?;
        }
        limit.within(start(&progress, handle)).await
    };
    match action.verb {
        Verb::Start => {
            let all = async {
                for wave in up() {
                    let needed = needed(latest.as_ref(), &chosen, wave, false, &progress);
                    limit.within(needed).await?;
                    all_ok(wave.iter().map(&begin)).await?;
                }
                match action.wait {
                    true => limit.within(ready(latest.as_ref(), &chosen)).await,
                    false => Ok(()),
                }
            };
            let done = all.await;
            done.map_err(|error| limit::told(error, latest.as_ref(), chosen.iter()))?;
        }
        Verb::Stop => {
            for wave in &down {
                join_all(wave.iter().map(|handle| stop(&progress, handle, grace))).await;
            }
        }
        Verb::Restart => {
            let mut halted = Halted::default();
            for wave in &down {
                let live = wave.iter().filter(|h| h.container().state.is_live());
                live.for_each(|handle| halted.note(handle));
                join_all(wave.iter().map(|handle| stop(&progress, handle, grace))).await;
            }
            let all = async {
                for wave in up() {
                    needed(latest.as_ref(), &chosen, wave, true, &progress).await?;
                    all_ok(wave.iter().map(&begin)).await?;
                }
                Ok(())
            };
            let done: Outcome = all.await;
            halted.forget();
            done?;
        }
        Verb::Kill => {}
        Verb::Rm => {
            let mut going: Vec<_> = down.iter().flatten().cloned().collect();
            going.retain(|handle| action.force || !handle.container().state.is_live());
            let (daemon, progress) = (Arc::clone(&daemon), progress.clone());
            let removed = rm(daemon, progress, going, grace, action.volumes);
            return turn::to_the_end(turn, removed).await;
        }
        Verb::Pause | Verb::Unpause => {
            let frozen = action.verb == Verb::Pause;
            let all = chosen.iter();
            all_ok(all.map(|handle| freeze(&progress, handle, frozen))).await?;
        }
    }
    Ok(())
}

/// Removes these, one after the other.
async fn rm(
    daemon: Arc<Daemon>,
    progress: Progress,
    handles: Vec<Arc<Handle>>,
    grace: Option<u64>,
    volumes: bool,
) -> Outcome {
    let mut failure = None;
    for handle in &handles {
        if let Err(error) = remove_wanted(&daemon, &progress, handle, grace, volumes).await {
            failure.get_or_insert(error);
        }
    }
    failure.map_or(Ok(()), Err)
}

/// The containers that the action is for; `more`: services that it is for, too,
/// whose containers are only restarted if they run.
fn chosen(
    daemon: &Daemon,
    project: &str,
    action: &Action,
    more: &BTreeSet<String>,
) -> Result<Vec<Arc<Handle>>, ApiError> {
    // What ends or removes things is for those of `run`, too.
    let ends = matches!(action.verb, Verb::Stop | Verb::Kill | Verb::Rm);
    let mut all = match ends && !action.replicas {
        true => daemon.handles(Some(project)),
        false => daemon.replicas(project),
    };
    let services: BTreeSet<String> = all.iter().map(|h| h.container().service).collect();
    // As in Docker Compose: what there is not need not be stopped.
    let mut named = action.services.iter();
    if action.verb == Verb::Start
        && let Some(unknown) = named.find(|name| !services.contains(*name))
    {
        let message = format!("service {unknown} has no container in stack {project}");
        return Err(ApiError::new("no_such_service", message).help("create it with `stack up`"));
    }
    all.retain(|handle| {
        let container = handle.container();
        action.services.is_empty()
            || action.services.contains(&container.service)
            || more.contains(&container.service)
                && (action.verb == Verb::Start || container.state.is_live())
    });
    Ok(all)
}

/// Services that are restarted with these: those that say so of what they
/// depend on (`restart: true`), and so on.
fn following(stack: &StackSpec, services: &[String]) -> BTreeSet<String> {
    let mut found: BTreeSet<String> = services.iter().cloned().collect();
    loop {
        let before = found.len();
        for (name, service) in &stack.services {
            let mut causes = service.depends_on.iter();
            if causes.any(|(on, how)| how.restart && found.contains(on)) {
                found.insert(name.clone());
            }
        }
        if found.len() == before {
            return found;
        }
    }
}

/// Waits until what the services of a wave depend on is as far as it must be, as
/// far as it is started, too. `restarted`: only what they are restarted with.
async fn needed(
    latest: Option<&StackSpec>,
    chosen: &[Arc<Handle>],
    wave: &[Arc<Handle>],
    restarted: bool,
    progress: &Progress,
) -> Outcome {
    let services: BTreeSet<String> = wave.iter().map(|h| h.container().service).collect();
    for service in latest.iter().flat_map(|stack| stack.services.values()) {
        if !services.contains(&service.name) {
            continue;
        }
        let handles = chosen.iter().filter(|handle| {
            let dependency = service.depends_on.get(&handle.container().service);
            dependency.is_some_and(|how| how.restart || !restarted)
        });
        one_off::dependencies(handles, service, progress).await?;
    }
    Ok(())
}

/// Waits until all are up; the first that cannot be is told at once.
async fn ready(latest: Option<&StackSpec>, chosen: &[Arc<Handle>]) -> Outcome {
    let all = chosen.iter().map(|handle| wait::ready(latest, handle));
    try_join_all(all).await.map(drop)
}

/// Does all, whatever becomes of one; gives the first failure.
async fn all_ok(jobs: impl Iterator<Item = impl Future<Output = Outcome>>) -> Outcome {
    join_all(jobs).await.into_iter().collect()
}

async fn start(progress: &Progress, handle: &Arc<Handle>) -> Outcome {
    let container = handle.container();
    if container.state == State::Running {
        return Ok(());
    }
    if container.state == State::Paused {
        let message = format!("{} is paused", container.name);
        let help = format!("go on with `stack unpause {}`", container.service);
        return Err(ApiError::new("paused", message).help(help));
    }
    progress.step("container", &container.name, "starting");
    wait::started(handle).await?;
    progress.finish("container", &container.name, "started");
    Ok(())
}

async fn kill(progress: &Progress, chosen: &[Arc<Handle>], name: Option<&str>) -> Outcome {
    let name = name.unwrap_or("SIGKILL");
    let number = signal::number(name)
        .ok_or_else(|| ApiError::new("bad_signal", format!("`{name}` is not a signal")))?;
    let all = chosen.iter();
    all_ok(all.map(|handle| kill_one(progress, handle, number))).await
}

async fn kill_one(progress: &Progress, handle: &Arc<Handle>, number: i32) -> Outcome {
    let container = handle.container();
    if !container.state.is_live() {
        return Ok(());
    }
    handle.tell("kill", &[("signal", number.to_string())]);
    // As in Docker Engine: who ends it by hand does not want it back.
    let ends = number == libc::SIGKILL || number == handle.record().stop_signal();
    // Between two runs there is nothing that could take a signal.
    let between = container.state == State::Restarting;
    if number == libc::SIGKILL || ends && between {
        handle.stop(Some(0));
        handle.stopped().await;
    } else if !between {
        if ends {
            handle.update(|record| record.told_to_end = true);
        }
        let told = tell(
            handle,
            Command::Signal {
                session: 0,
                signal: number,
            },
        )
        .await;
        if ends && told.is_err() {
            handle.update(|record| record.told_to_end = false);
        }
        told?;
    }
    progress.finish("container", &container.name, "killed");
    Ok(())
}

async fn freeze(progress: &Progress, handle: &Arc<Handle>, frozen: bool) -> Outcome {
    let container = handle.container();
    let from = if frozen {
        State::Running
    } else {
        State::Paused
    };
    if container.state != from {
        return Ok(());
    }
    tell(handle, Command::Freeze { frozen }).await?;
    handle.update(|record| {
        record.container.state = if frozen {
            State::Paused
        } else {
            State::Running
        };
    });
    progress.finish(
        "container",
        &container.name,
        if frozen { "paused" } else { "unpaused" },
    );
    Ok(())
}

async fn tell(handle: &Handle, command: Command) -> Outcome {
    let agent = handle.answering().await;
    let Some(agent) = agent else {
        let container = handle.container();
        if container.state.is_live() {
            return Err(handle.silent());
        }
        let message = format!("{} is not running", container.name);
        return Err(ApiError::new("not_running", message));
    };
    // Others wait for this stack.
    let answer = tokio::time::timeout(ANSWERS, agent.request(command)).await;
    match answer.map_err(|_| handle.silent())?.map_err(vm_error)? {
        GuestOutcome::Error { message, .. } => Err(ApiError::new("guest", message)),
        _ => Ok(()),
    }
}

//! Containers that are replaced a few at a time: watching the new ones, and
//! what it means when some fail.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use stack_api::container::{Health, State};
use stack_api::event::ApiError;
use stack_api::rollout::FailureAction;
use stack_planner::plan::{Action, Guard, beside};

use super::execute::Context;
use super::wait;
use crate::container::Record;
use crate::logs;

/// Containers that failed, of the services that are being updated.
#[derive(Debug)]
pub(super) struct Casualties<'a> {
    guards: &'a BTreeMap<String, Guard>,
    lost: Mutex<BTreeMap<String, BTreeSet<String>>>,
}

/// What a failure leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The rest goes on.
    Tolerated,
    /// The operation fails.
    Fatal,
}

/// A container and the one beside it are the same one here.
fn place(name: &str) -> &str {
    let suffix = beside("");
    name.strip_suffix(&suffix).unwrap_or(name)
}

impl<'a> Casualties<'a> {
    pub(super) fn new(guards: &'a BTreeMap<String, Guard>) -> Casualties<'a> {
        Casualties {
            guards,
            lost: Mutex::default(),
        }
    }

    /// Counts a container whose step failed.
    pub(super) fn add(&self, action: &Action, name: &str) -> Verdict {
        let service = action.container().map_or("", |(service, _)| service);
        let Some(guard) = self.guards.get(service) else {
            return Verdict::Fatal;
        };
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        let lost = lost.entry(service.to_owned()).or_default();
        lost.insert(place(name).to_owned());
        if guard.failure_action == FailureAction::Continue || lost.len() <= guard.tolerated {
            Verdict::Tolerated
        } else {
            Verdict::Fatal
        }
    }

    /// What is left to do of a step when containers have failed; `None`:
    /// nothing.
    pub(super) fn left_of(&self, action: &Action) -> Option<Action> {
        let lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((service, name)) = action.container() else {
            return Some(action.clone());
        };
        let Some(lost) = lost.get(service) else {
            return Some(action.clone());
        };
        let mut left = action.clone();
        if let Action::Watch { names, .. } = &mut left {
            names.retain(|name| !lost.contains(place(name)));
            return Some(left);
        }
        (!lost.contains(place(name))).then_some(left)
    }
}

/// Waits until these containers are up and have been so for a while; gives
/// those that are not.
pub(super) async fn watch(
    context: &Context,
    names: &[String],
    monitor_ms: u64,
) -> Vec<(String, ApiError)> {
    let handles = context.daemon.replicas(&context.request.spec.name);
    let all = names.iter().filter_map(|name| {
        let mut handles = handles.iter();
        handles.find(|handle| handle.container().name == *name)
    });
    let results = join_all(all.map(|handle| async move {
        let name = handle.container().name;
        context.progress.step("container", &name, "waiting");
        wait::ready(Some(&context.request.spec), handle)
            .await
            .map_err(|error| (name.clone(), error))?;
        let began = handle.container();
        let mut changes = handle.changes();
        let fails = |record: &Record| {
            let now = &record.container;
            let ended_well = now.state == State::Exited && now.exit_code == Some(0);
            now.restarts != began.restarts
                || now.health == Some(Health::Unhealthy)
                || !(matches!(now.state, State::Running | State::Stopping) || ended_well)
        };
        let fails = changes.wait_for(fails);
        if tokio::time::timeout(Duration::from_millis(monitor_ms), fails)
            .await
            .is_ok()
        {
            let now = handle.container();
            let what = match (now.exit_code, wait::not_up(handle)) {
                (Some(code), _) if now.state != State::Running => {
                    format!("{name} ended with exit code {code}")
                }
                (_, Some(what)) => what,
                (_, None) => format!("{name} was restarted"),
            };
            let error = ApiError::new("service_failed", format!("{what} soon after its update"));
            return Err((name, error));
        }
        let checked = handle.container().health.is_some();
        let status = if checked { "healthy" } else { "running" };
        context.progress.finish("container", &name, status);
        Ok(())
    }))
    .await;
    results.into_iter().filter_map(Result::err).collect()
}

/// Lines that are repeated of the output of a container that goes.
const WORDS: usize = 5;

/// The last output of the service's containers that do not run well.
pub(super) async fn last_words(context: &Context, service: &str) -> Vec<String> {
    let handles = context.daemon.replicas(&context.request.spec.name);
    let mut words = Vec::new();
    for handle in handles {
        let container = handle.container();
        let well = container.state == State::Running && container.health != Some(Health::Unhealthy);
        if container.service != service || well {
            continue;
        }
        let log = context.daemon.paths.log(&handle.id);
        // All of it is read.
        let lines = tokio::task::spawn_blocking(move || last_lines(&log)).await;
        let name = &container.name;
        let lines = lines.unwrap_or_default().into_iter();
        words.extend(lines.map(|line| format!("{name} said: {line}")));
    }
    words
}

fn last_lines(log: &Path) -> VecDeque<String> {
    let mut reader = logs::Reader::open(log);
    let mut lines = VecDeque::new();
    while let Some(entry) = reader.next_entry() {
        lines.push_back(entry.text());
        if lines.len() > WORDS {
            lines.pop_front();
        }
    }
    lines
}

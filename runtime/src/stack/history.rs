//! Definitions of a stack that were reached.

use std::collections::BTreeMap;

use stack_api::event::ApiError;
use stack_api::history::{Definition, Entry};
use stack_api::request::Up;
use stack_api::spec::{PullPolicy, StackSpec};
use stack_planner::plan;

use super::execute::Context;
use super::up::{self, Order};
use super::{images, secrets};
use crate::daemon::Daemon;
use crate::time::now_ms;

/// How many are kept.
const KEEP: u32 = 20;

/// The history of a stack, oldest first.
///
/// # Errors
/// The ledger cannot be read.
pub fn entries(daemon: &Daemon, project: &str) -> Result<Vec<Entry>, ApiError> {
    let history: Vec<Definition> = daemon.ledger.history(project)?;
    let present = present(daemon, project)?;
    let is_present =
        |definition: &Definition| secrets::is_same(&daemon.key, definition, present.as_ref());
    let last = history.iter().rposition(is_present);
    let entries = history.into_iter().enumerate();
    Ok(entries
        .map(|(n, definition)| Entry {
            present: last == Some(n),
            ..definition.entry
        })
        .collect())
}

/// What was applied last.
pub(super) fn present(daemon: &Daemon, project: &str) -> Result<Option<StackSpec>, ApiError> {
    daemon.ledger.stack(project)
}

/// Notes what was asked for, if it has been reached: nothing is left to do
/// for any service.
pub(super) fn note(context: &Context, by: &str) -> Result<(), ApiError> {
    let (daemon, request) = (&context.daemon, &context.request);
    let project = &request.spec.name;
    let spec = scaled(request);
    let whole = Up {
        spec: spec.clone(),
        pull: Some(PullPolicy::Missing),
        ..Up::default()
    };
    let order = Order {
        request: whole,
        images: context.images.clone(),
    };
    if !up::plan_order(daemon, &order)?.is_empty() {
        return Ok(());
    }
    let history: Vec<Definition> = daemon.ledger.history(project)?;
    let last = history.last();
    let mut images = ids(daemon, &spec)?;
    images.extend(context.images.clone());
    let same = last
        .filter(|last| secrets::is_same(&daemon.key, last, Some(&spec)) && last.images == images);
    if let Some(last) = same {
        return match last.secrets_forgotten {
            // As long as the stack is there, the way back has them.
            true => {
                let entry = last.entry.clone();
                add(daemon, entry, spec, images)
            }
            false => Ok(()),
        };
    }
    let mut changes = match last {
        Some(last) => plan::summary(
            Some(&last.spec),
            &secrets::as_known(&daemon.key, last, &spec),
        ),
        None => plan::summary(None, &spec),
    };
    if let Some(last) = last {
        let moved = images.iter().filter(|(name, id)| {
            let before = last.images.get(*name);
            before.is_some_and(|before| before != *id)
        });
        changes.extend(moved.map(|(name, _)| format!("{name}: another image")));
    }
    let number = last.map_or(1, |last| last.entry.number + 1);
    let entry = Entry {
        number,
        at_ms: now_ms(),
        by: by.to_owned(),
        changes,
        present: false,
    };
    add(daemon, entry, spec, images)
}

fn add(
    daemon: &Daemon,
    entry: Entry,
    spec: StackSpec,
    images: BTreeMap<String, String>,
) -> Result<(), ApiError> {
    let (project, number) = (spec.name.clone(), entry.number);
    let definition = Definition {
        entry,
        spec,
        images,
        secrets_forgotten: false,
        keyed: false,
    };
    daemon
        .ledger
        .add_history(&project, number, &definition, KEEP)
}

/// The spec with the number of containers that was asked for.
pub(super) fn scaled(request: &Up) -> StackSpec {
    let mut spec = request.spec.clone();
    for (name, count) in &request.scale {
        if let Some(service) = spec.services.get_mut(name) {
            service.replicas = *count;
        }
    }
    spec
}

/// What the references of a spec lead to.
fn ids(daemon: &Daemon, spec: &StackSpec) -> Result<BTreeMap<String, String>, ApiError> {
    let mut ids = BTreeMap::new();
    for service in spec.services.values() {
        if let Some(image) = daemon.images.get(&service.image).map_err(images::error)? {
            ids.insert(service.image.clone(), image.id);
        }
    }
    Ok(ids)
}

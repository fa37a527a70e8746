//! The way back to a definition that was reached before.

use std::collections::BTreeMap;
use std::sync::Arc;

use stack_api::event::ApiError;
use stack_api::history::{Definition, Rollback};
use stack_api::request::Up;
use stack_api::spec::{PullPolicy, StackSpec};
use stack_planner::plan::Plan;

use super::history::present;
use super::up::{self, Order};
use super::{Outcome, images, secrets, turn};
use crate::daemon::Daemon;
use crate::progress::Progress;

/// `POST /v1/stacks/{name}/rollback`.
///
/// # Errors
/// There is no such definition, or it cannot be reached.
pub async fn rollback(
    daemon: Arc<Daemon>,
    project: String,
    request: Rollback,
    progress: Progress,
) -> Outcome {
    let turn = turn::take(&daemon, &project, &progress).await;
    let (order, number) = order(&daemon, &project, &request, &progress)?;
    let by = format!("rollback to {number}");
    up::carry_out(daemon, order, &by, progress, turn).await
}

/// `POST /v1/stacks/{name}/rollback/plan`: what that would do.
///
/// # Errors
/// There is no such definition.
pub fn plan_rollback(daemon: &Daemon, project: &str, request: &Rollback) -> Result<Plan, ApiError> {
    let (progress, _) = Progress::new();
    let (order, _) = order(daemon, project, request, &progress)?;
    up::plan_order(daemon, &order)
}

fn order(
    daemon: &Daemon,
    project: &str,
    request: &Rollback,
    progress: &Progress,
) -> Result<(Order, u32), ApiError> {
    let history: Vec<Definition> = daemon.ledger.history(project)?;
    let present = present(daemon, project)?;
    let mut target = choose(daemon, project, &history, present.as_ref(), request.to)?;
    let kept = history.iter().filter(|known| !known.secrets_forgotten);
    let elsewhere = kept.map(|known| &known.spec).chain(&present);
    secrets::recall(&daemon.key, &mut target, elsewhere)?;
    let images = pins(daemon, &target.images, progress)?;
    let up = back(&target.spec, present.as_ref());
    let request = Up {
        timeout: request.timeout,
        wait: request.wait,
        ..up
    };
    Ok((Order { request, images }, target.entry.number))
}

fn choose(
    daemon: &Daemon,
    project: &str,
    history: &[Definition],
    present: Option<&StackSpec>,
    to: Option<u32>,
) -> Result<Definition, ApiError> {
    let numbers: Vec<String> = history
        .iter()
        .map(|definition| definition.entry.number.to_string())
        .collect();
    let wanted = match to {
        Some(number) => history.iter().find(|d| d.entry.number == number),
        // Not the present one, which may or may not have been reached.
        None => history
            .iter()
            .rfind(|d| !secrets::is_same(&daemon.key, d, present)),
    };
    wanted.cloned().ok_or_else(|| {
        let message = match to {
            Some(number) => format!("the history of {project} has no definition {number}"),
            None => format!("{project} has no definition to go back to"),
        };
        let help = if numbers.is_empty() {
            "a definition is kept when `stack up` has reached it".to_owned()
        } else {
            format!("there are: {} (`stack history`)", numbers.join(", "))
        };
        ApiError::new("not_found", message).help(help)
    })
}

/// The request that leads from `present` back to `target`.
pub(super) fn back(target: &StackSpec, present: Option<&StackSpec>) -> Up {
    let known = present.iter().flat_map(|spec| spec.services.keys());
    let retire = known.filter(|name| !target.services.contains_key(*name));
    Up {
        retire: retire.cloned().collect(),
        spec: target.clone(),
        pull: Some(PullPolicy::Missing),
        rollback: true,
        ..Up::default()
    }
}

/// References that lead elsewhere now, and to what they led then.
pub(super) fn pins(
    daemon: &Daemon,
    then: &BTreeMap<String, String>,
    progress: &Progress,
) -> Result<BTreeMap<String, String>, ApiError> {
    let mut pins = BTreeMap::new();
    for (reference, id) in then {
        let now = daemon.images.get(reference).map_err(images::error)?;
        if now.is_some_and(|image| image.id == *id) {
            continue;
        }
        if daemon.images.get(id).map_err(images::error)?.is_some() {
            pins.insert(reference.clone(), id.clone());
        } else {
            progress.warn(format!(
                "image {reference} is another one now, and the former one is not on this \
                 machine any more: the new one is used"
            ));
        }
    }
    Ok(pins)
}

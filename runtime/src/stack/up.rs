//! `up`: pull, look, plan, carry the plan out, and wait when asked to.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use stack_api::event::ApiError;
use stack_api::request::Up;
use stack_planner::plan::{self, Action, Plan};

use super::execute::{self, Context};
use super::images::{self, PullOrder, Wanted};
use super::observe::observe;
use super::{Outcome, resources, wait};
use crate::daemon::Daemon;
use crate::progress::Progress;

/// `POST /v1/stacks/{name}/plan`: what `up` would do now.
///
/// # Errors
/// A service does not exist, or the state cannot be read.
pub fn plan(daemon: &Daemon, request: &Up) -> Result<Plan, ApiError> {
    let observed = observe(daemon, &request.spec)?;
    plan::plan(request, &observed).map_err(|error| {
        let known = error.known.join(", ");
        ApiError::new("no_such_service", error.to_string()).help(format!("there are: {known}"))
    })
}

/// `PUT /v1/stacks/{name}`.
///
/// # Errors
/// The first thing that cannot be done; what was done stays, so that the
/// next `up` goes on from there.
pub async fn up(daemon: Arc<Daemon>, request: Up, progress: Progress) -> Outcome {
    let project = request.spec.name.clone();
    let turn = daemon.operation(&project).lock_owned().await;
    let preliminary = plan(&daemon, &request)?;
    images::ensure(&daemon, &progress, pulls(&request, &preliminary)).await?;
    // A pull may have brought another image: only now is the plan final.
    let request = Up {
        pull: Some(stack_api::spec::PullPolicy::Missing),
        ..request
    };
    let plan = plan(&daemon, &request)?;
    resources::check(&daemon, &request, &plan, &progress)?;
    daemon.ledger.put_stack(&project, &request.spec)?;
    if !plan.orphans.is_empty() && !request.ignore_orphans {
        progress.warn(format!(
            "found orphan containers ({}) for this project: if you removed or renamed these \
             services, run this command with --remove-orphans to clean up",
            plan.orphans.join(", ")
        ));
    }
    for name in &plan.unchanged {
        progress.finish("container", name, "running");
    }
    let selected: BTreeSet<String> =
        plan::select(&request.spec.services, &request.services, !request.no_deps)
            .unwrap_or_default();
    let context = Context {
        daemon,
        progress,
        request,
        _turn: Arc::new(turn),
    };
    execute::execute(&context, &plan).await?;
    if context.request.wait {
        wait_all(&context, &selected).await
    } else {
        Ok(())
    }
}

fn pulls(request: &Up, plan: &Plan) -> BTreeSet<(Wanted, PullOrder)> {
    let named = |reference: &String, order| {
        let services = request.spec.services.values();
        let platform = services
            .filter(|service| service.image == *reference)
            .find_map(|service| service.platform.clone());
        (
            Wanted {
                reference: reference.clone(),
                platform,
            },
            order,
        )
    };
    let mut wanted: BTreeSet<_> = plan
        .steps
        .iter()
        .filter_map(|step| match &step.action {
            Action::Pull { image } => Some(named(image, PullOrder::Always)),
            _ => None,
        })
        .collect();
    // Those that are there, and those that must be: `never` is checked too.
    for step in &plan.steps {
        if let Action::Create { service, .. } | Action::Recreate { service, .. } = &step.action {
            let image = &request.spec.services[service].image;
            if !wanted.iter().any(|(known, _)| known.reference == *image) {
                wanted.insert(named(image, PullOrder::Never));
            }
        }
    }
    wanted
}

async fn wait_all(context: &Context, selected: &BTreeSet<String>) -> Outcome {
    let project = &context.request.spec.name;
    let handles = context.daemon.handles(Some(project));
    let chosen = handles
        .iter()
        .filter(|handle| selected.contains(&handle.container().service));
    let all = join_all(chosen.map(|handle| async move {
        let name = handle.container().name;
        context.progress.step("container", &name, "waiting");
        wait::up(handle).await?;
        let checked = handle.container().health.is_some();
        context.progress.finish(
            "container",
            &name,
            if checked { "healthy" } else { "running" },
        );
        Ok(())
    }));
    let first_failure = async { all.await.into_iter().collect::<Outcome>() };
    match context.request.wait_timeout {
        None => first_failure.await,
        Some(seconds) => tokio::time::timeout(Duration::from_secs(seconds), first_failure)
            .await
            .unwrap_or_else(|_| Err(timed_out(context, selected, seconds))),
    }
}

fn timed_out(context: &Context, selected: &BTreeSet<String>, seconds: u64) -> ApiError {
    let handles = context.daemon.handles(Some(&context.request.spec.name));
    let late: Vec<String> = handles
        .iter()
        .filter(|handle| selected.contains(&handle.container().service))
        .filter_map(|handle| wait::not_up(handle))
        .collect();
    let message = format!(
        "not everything was ready within {seconds} s: {}",
        late.join("; ")
    );
    ApiError::new("wait_timeout", message).help("see `stack ps` and `stack logs`")
}

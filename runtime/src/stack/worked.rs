//! What a failed update goes back to: for each service, the definition that its
//! containers last ran by.

use std::collections::BTreeSet;

use stack_api::event::ApiError;
use stack_api::request::Up;
use stack_api::spec::{PullPolicy, StackSpec};
use stack_planner::plan::Action;

use super::execute::Context;
use super::up::{self, Order};

/// The definition after an operation that succeeded. It may have been for some
/// services only; `before` is what the others ran by.
pub(super) fn definition(
    context: &Context,
    before: Option<&StackSpec>,
) -> Result<StackSpec, ApiError> {
    let spec = context.request.spec.clone();
    let order = Order {
        request: Up {
            spec: spec.clone(),
            pull: Some(PullPolicy::Missing),
            ..Up::default()
        },
        images: context.images.clone(),
    };
    let plan = up::plan_order(&context.daemon, &order)?;
    // One that only has to be started has ended since.
    let left = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Start { .. } | Action::Stop { .. } => None,
        action => action.container().map(|(service, _)| service.to_owned()),
    });
    let left: BTreeSet<String> = left.collect();
    Ok(merged(spec, &left, before))
}

/// The definition, but for the services that are `left`.
fn merged(mut spec: StackSpec, left: &BTreeSet<String>, before: Option<&StackSpec>) -> StackSpec {
    let reached = spec
        .services
        .iter()
        .filter(|(name, _)| !left.contains(*name));
    let (mut networks, mut volumes) = (BTreeSet::new(), BTreeSet::new());
    for (_, service) in reached {
        networks.extend(service.networks.keys().cloned());
        volumes.extend(service.volume_keys().cloned());
    }
    let unreached = spec.services.values_mut();
    for service in unreached.filter(|service| left.contains(&service.name)) {
        let known = before.and_then(|stack| Some((stack, stack.services.get(&service.name)?)));
        let Some((stack, old)) = known else {
            // There was none of it.
            service.replicas = 0;
            continue;
        };
        service.clone_from(old);
        // A key that somebody uses already leads where that one is.
        for key in old.networks.keys().filter(|key| !networks.contains(*key)) {
            let known = stack.networks.get(key).cloned();
            spec.networks
                .extend(known.map(|known| (key.clone(), known)));
        }
        for key in old.volume_keys().filter(|key| !volumes.contains(*key)) {
            let known = stack.volumes.get(key).cloned();
            spec.volumes.extend(known.map(|known| (key.clone(), known)));
        }
    }
    spec
}

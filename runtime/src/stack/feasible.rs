//! Can the containers of a plan be made? Asked before any is stopped: a container that is
//! replaced goes before its successor is made, and is not to go for nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use stack_api::spec::StackSpec;
use stack_planner::plan::{Action, Plan};

use super::{Outcome, create, images, places};
use crate::container::{Handle, blueprint};
use crate::daemon::Daemon;

/// `references`: what image references lead to, where it is not what the store says.
///
/// # Errors
/// A name or an address is taken by a container that stays, the source of a bind mount is
/// not there, or there is nothing to run.
pub(super) fn check(
    daemon: &Daemon,
    spec: &StackSpec,
    references: &BTreeMap<String, String>,
    plan: &Plan,
) -> Outcome {
    let staying = staying(daemon, plan);
    let networks = places::unchanged_networks(daemon, plan)?;
    for step in &plan.steps {
        if let Action::Switch { name, .. } = &step.action {
            create::name_is_free(&staying, name)?;
        }
        let (Action::Create { service, name, .. }
        | Action::CreateBeside { service, name, .. }
        | Action::Recreate { service, name, .. }) = &step.action
        else {
            continue;
        };
        let service = &spec.services[service];
        create::name_is_free(&staying, name)?;
        places::can_be_placed(daemon, spec, service, &networks, &staying)?;
        let reference = references.get(&service.image).unwrap_or(&service.image);
        if let Some(image) = daemon.images.get(reference).map_err(images::error)? {
            blueprint::try_out(service, &image)?;
        }
    }
    Ok(())
}

/// The containers of all stacks that have what they have after the plan, too.
fn staying(daemon: &Daemon, plan: &Plan) -> Vec<Arc<Handle>> {
    let touched: BTreeSet<&str> = plan.steps.iter().filter_map(|s| s.action.old()).collect();
    let mut handles = daemon.handles(None);
    handles.retain(|handle| !touched.contains(handle.id.as_str()));
    handles
}

//! Networks that get other addresses. As long as a machine runs at one that its
//! network has no more, the network daemon takes nothing of the whole stack: who
//! has one goes before anything is announced.

use std::collections::BTreeSet;

use stack_api::request::Up;

use super::observed::{Observed, ObservedContainer};
use super::step::{Action, Plan};
use super::{Groundwork, handover};

/// An address of the container is none of its network, once that is as it is
/// wanted.
pub(super) fn is_left_behind(
    request: &Up,
    observed: &Observed,
    first: &Groundwork,
    old: &ObservedContainer,
) -> bool {
    old.places.iter().any(|(key, place)| {
        let Some(known) = observed.networks.get(&place.network) else {
            return false;
        };
        let wanted = request.spec.networks.get(key);
        let wanted = wanted.filter(|wanted| wanted.name == place.network);
        match wanted.filter(|_| first.networks.contains_key(key)) {
            Some(wanted) => known.updated(wanted).refuses(place),
            None => known.refuses(place),
        }
    })
}

/// Somebody is at an address that the network with this key does not have now.
fn is_left_behind_now(request: &Up, observed: &Observed, key: &str) -> bool {
    let wanted = request.spec.networks.get(key);
    let known = wanted.and_then(|wanted| observed.networks.get_key_value(&wanted.name));
    known.is_some_and(|(name, known)| {
        let places = observed.containers.iter().flat_map(|c| c.places.values());
        let mut places = places.filter(|place| place.network == *name);
        places.any(|place| known.refuses(place))
    })
}

/// Has everything that is announced follow the ends of those that are left
/// behind. These follow no start themselves: they are replaced all at once.
/// Who is at an address that the network gets back, after a plan that was cut
/// off, is left behind until it has it.
pub(super) fn order(request: &Up, observed: &Observed, first: &Groundwork, plan: &mut Plan) {
    let behind: BTreeSet<&str> = observed
        .containers
        .iter()
        .filter(|old| is_left_behind(request, observed, first, old))
        .map(|old| old.container.id.as_str())
        .collect();
    let steps = plan.steps.iter().enumerate();
    let ends = steps.filter_map(|(n, step)| match &step.action {
        Action::Recreate { id, .. } | Action::Remove { id, .. } => {
            behind.contains(id.as_str()).then_some(n)
        }
        _ => None,
    });
    let returns = (first.networks.iter())
        .filter(|(key, _)| is_left_behind_now(request, observed, key))
        .map(|(_, step)| *step);
    let ends: Vec<usize> = ends.chain(returns).collect();
    if ends.is_empty() {
        return;
    }
    for step in &mut plan.steps {
        let announces = matches!(
            step.action,
            Action::Start { .. } | Action::Update { .. } | Action::Switch { .. }
        );
        if announces {
            step.after.extend(&ends);
            step.after.sort_unstable();
            step.after.dedup();
        }
    }
    handover::sort(plan);
}

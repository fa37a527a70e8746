//! Ports that go from one service to another: who takes one waits for the
//! step that frees it.

use std::collections::{BTreeMap, BTreeSet};

use stack_api::request::Up;
use stack_api::spec::{PortSpec, ServiceSpec};

use super::observed::{Observed, ObservedContainer};
use super::step::{Action, Plan, Step};

/// Adds the edges, and sorts the steps so that each follows only earlier
/// ones. Where services swap ports there is no good order: one of them then
/// gives its port away before the first step.
pub(super) fn order(request: &Up, observed: &Observed, plan: &mut Plan) {
    let by_name: BTreeMap<&str, &ObservedContainer> = observed
        .containers
        .iter()
        .map(|old| (old.container.name.as_str(), old))
        .collect();
    let (mut taken, mut freed) = (Vec::new(), Vec::new());
    for (n, step) in plan.steps.iter().enumerate() {
        let Some((service, name)) = step.action.container() else {
            continue;
        };
        let spec = request.spec.services.get(service);
        let old = by_name.get(name).copied();
        let old = old.filter(|old| old.container.service == service);
        let takes = spec.map_or(Vec::new(), |spec| takes(&step.action, spec, old));
        let frees = old.map_or(Vec::new(), |old| frees(&step.action, spec, old));
        if !takes.is_empty() {
            taken.push((n, service.to_owned(), takes));
        }
        if !frees.is_empty() {
            let id = old.map_or(String::new(), |old| old.container.id.clone());
            freed.push((n, service.to_owned(), frees, id));
        }
    }
    let mut backwards = false;
    for (later, service, ports) in &taken {
        for (earlier, other, free, id) in &freed {
            let clashing = |free: &&PortSpec| ports.iter().any(|port| clash(port, free));
            let clashing: Vec<&PortSpec> = free.iter().filter(clashing).collect();
            if service == other || clashing.is_empty() {
                continue;
            }
            if follows(plan, *earlier, *later) {
                let released = plan.released.entry(id.clone()).or_default();
                for port in clashing {
                    if !released.contains(port) {
                        released.push(port.clone());
                    }
                }
                continue;
            }
            let after = &mut plan.steps[*later].after;
            if !after.contains(earlier) {
                after.push(*earlier);
                backwards |= earlier > later;
            }
        }
    }
    if backwards {
        sort(plan);
    }
}

/// Step `a` follows step `b`, directly or not.
fn follows(plan: &Plan, a: usize, b: usize) -> bool {
    let (mut queue, mut seen) = (vec![a], BTreeSet::new());
    while let Some(step) = queue.pop() {
        if step == b {
            return true;
        }
        if seen.insert(step) {
            queue.extend(&plan.steps[step].after);
        }
    }
    false
}

/// Numbers the steps anew, so that each follows only lower numbers; otherwise
/// they keep their order. There are no circles.
pub(super) fn sort(plan: &mut Plan) {
    let mut left: BTreeSet<usize> = (0..plan.steps.len()).collect();
    let mut order = Vec::new();
    while let Some(next) = left.iter().copied().find(|n| {
        let after = &plan.steps[*n].after;
        after.iter().all(|before| !left.contains(before))
    }) {
        left.remove(&next);
        order.push(next);
    }
    let mut number = vec![0; plan.steps.len()];
    for (new, old) in order.iter().enumerate() {
        number[*old] = new;
    }
    let mut steps: Vec<Step> = order.iter().map(|n| plan.steps[*n].clone()).collect();
    for step in &mut steps {
        for before in &mut step.after {
            *before = number[*before];
        }
    }
    plan.steps = steps;
}

/// Ports that are bound by the step and were not before.
fn takes(action: &Action, spec: &ServiceSpec, old: Option<&ObservedContainer>) -> Vec<PortSpec> {
    let is_new = |port: &&PortSpec| !old.is_some_and(|old| old.spec.ports.contains(port));
    match action {
        Action::Start { .. } => spec.ports.clone(),
        Action::Update { .. } => spec.ports.iter().filter(is_new).cloned().collect(),
        _ => Vec::new(),
    }
}

/// Ports that are free after the step.
fn frees(action: &Action, spec: Option<&ServiceSpec>, old: &ObservedContainer) -> Vec<PortSpec> {
    let kept = |port: &PortSpec| spec.is_some_and(|spec| spec.ports.contains(port));
    match action {
        Action::Remove { .. } | Action::Recreate { .. } => old.spec.ports.clone(),
        Action::Update { .. } => {
            let gone = old.spec.ports.iter().filter(|port| !kept(port));
            gone.cloned().collect()
        }
        _ => Vec::new(),
    }
}

fn clash(a: &PortSpec, b: &PortSpec) -> bool {
    let same_address = match (a.host_ip, b.host_ip) {
        (Some(a), Some(b)) => a == b || a.is_unspecified() || b.is_unspecified(),
        _ => true,
    };
    a.published.is_some() && a.published == b.published && a.udp == b.udp && same_address
}

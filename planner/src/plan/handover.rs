//! Ports that go from one service to another: who takes one waits for the
//! step that frees it.

use stack_api::request::Up;
use stack_api::spec::{PortSpec, ServiceSpec};

use super::observed::{Observed, ObservedContainer};
use super::step::{Action, Plan};

/// Adds the edges. Where two services swap ports there is no good order:
/// the earlier step then fails and says which port is in use.
pub(super) fn order(request: &Up, observed: &Observed, plan: &mut Plan) {
    let mut freed: Vec<(usize, &str, Vec<PortSpec>)> = Vec::new();
    for n in 0..plan.steps.len() {
        let Some((service, name)) = plan.steps[n].action.container() else {
            continue;
        };
        let spec = request.spec.services.get(service);
        let old = observed
            .containers
            .iter()
            .find(|old| old.container.name == name && old.container.service == service);
        let taken = spec.map_or(Vec::new(), |spec| takes(&plan.steps[n].action, spec, old));
        let before = freed
            .iter()
            .filter(|(_, other, ports)| {
                *other != service
                    && ports
                        .iter()
                        .any(|port| taken.iter().any(|t| clash(t, port)))
            })
            .map(|(step, ..)| *step);
        let before: Vec<usize> = before.collect();
        if let Some(old) = old {
            let ports = frees(&plan.steps[n].action, spec, old);
            if !ports.is_empty() {
                freed.push((n, old.container.service.as_str(), ports));
            }
        }
        let after = &mut plan.steps[n].after;
        for step in before {
            if !after.contains(&step) {
                after.push(step);
            }
        }
    }
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

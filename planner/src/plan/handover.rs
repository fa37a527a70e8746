//! What goes from one container to another, and only one can have: published ports,
//! names of containers, volumes that are disks. Who takes it waits for the step that
//! frees it.

use std::collections::{BTreeMap, BTreeSet};

use stack_api::request::Up;
use stack_api::spec::{PortSpec, ServiceSpec, StackSpec};

use super::observed::{Observed, ObservedContainer};
use super::step::{Action, Plan, Reason, Step};

/// What one container alone can have.
#[derive(Debug, Clone, PartialEq)]
enum Thing {
    Port(PortSpec),
    /// The name of a container.
    Name(String),
    /// A volume that is a disk, by its full name.
    Disk(String),
}

/// A step that takes or frees something.
struct Turn<'a> {
    step: usize,
    service: String,
    /// The container before the step, where there is one.
    old: Option<&'a ObservedContainer>,
    things: Vec<Thing>,
}

/// Adds the edges, and sorts the steps so that each follows only earlier
/// ones. Where services swap ports there is no good order: one of them then
/// gives its port away before the first step. Where they swap names, the plan cannot
/// be carried out as a whole, and has no circle all the same.
pub(super) fn order(request: &Up, observed: &Observed, plan: &mut Plan) {
    let by_id: BTreeMap<&str, &ObservedContainer> = observed
        .containers
        .iter()
        .map(|old| (old.container.id.as_str(), old))
        .collect();
    let (mut taken, mut freed) = (Vec::new(), Vec::new());
    for (n, step) in plan.steps.iter().enumerate() {
        let Some((service, _)) = step.action.container() else {
            continue;
        };
        let spec = request.spec.services.get(service);
        let old = step.action.old().and_then(|id| by_id.get(id).copied());
        let turn = |things| Turn {
            step: n,
            service: service.to_owned(),
            old,
            things,
        };
        if let Some(spec) = spec {
            taken.push(turn(takes(&step.action, &request.spec, spec, old)));
        }
        if let Some(old) = old {
            freed.push(turn(frees(step, spec, old)));
        }
    }
    // Ports come last: they have a way out of a circle.
    let is_port = |thing: &&Thing| matches!(thing, Thing::Port(_));
    let mut backwards = edges(plan, &taken, &freed, |thing| !is_port(thing));
    backwards |= edges(plan, &taken, &freed, is_port);
    if backwards {
        sort(plan);
    }
}

/// Adds the edges for these things. Some lead backwards.
fn edges(
    plan: &mut Plan,
    taken: &[Turn<'_>],
    freed: &[Turn<'_>],
    these: impl Fn(&&Thing) -> bool,
) -> bool {
    let mut backwards = false;
    for later in taken {
        for earlier in freed.iter().filter(|turn| turn.service != later.service) {
            let clashing = |free: &&Thing| later.things.iter().any(|thing| clash(thing, free));
            let things = earlier.things.iter().filter(&these);
            let clashing: Vec<&Thing> = things.filter(clashing).collect();
            if clashing.is_empty() {
                continue;
            }
            if follows(plan, earlier.step, later.step) {
                release(plan, earlier, &clashing);
                continue;
            }
            let after = &mut plan.steps[later.step].after;
            if !after.contains(&earlier.step) {
                after.push(earlier.step);
                backwards |= earlier.step > later.step;
            }
        }
    }
    backwards
}

/// Ports that are swapped are given away before the first step.
fn release(plan: &mut Plan, turn: &Turn<'_>, things: &[&Thing]) {
    let Some(old) = turn.old else {
        return;
    };
    for thing in things {
        if let Thing::Port(port) = thing {
            let released = plan.released.entry(old.container.id.clone()).or_default();
            if !released.contains(port) {
                released.push(port.clone());
            }
        }
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

/// What the step takes, and its container did not have before.
fn takes(
    action: &Action,
    stack: &StackSpec,
    spec: &ServiceSpec,
    old: Option<&ObservedContainer>,
) -> Vec<Thing> {
    let had_name = |name: &str| old.is_some_and(|old| old.container.name == name);
    let had_port = |port: &PortSpec| old.is_some_and(|old| old.spec.ports.contains(port));
    match action {
        Action::Create { name, .. }
        | Action::CreateBeside { name, .. }
        | Action::Recreate { name, .. }
        | Action::Switch { name, .. }
            if !had_name(name) =>
        {
            vec![Thing::Name(name.clone())]
        }
        Action::Start { .. } => {
            let ports = spec.ports.iter().cloned().map(Thing::Port);
            let volumes = spec.volume_keys().filter_map(|key| stack.volumes.get(key));
            let volumes = volumes.map(|volume| Thing::Disk(volume.name.clone()));
            ports.chain(volumes).collect()
        }
        Action::Update { .. } => {
            let new = spec.ports.iter().filter(|port| !had_port(port));
            new.cloned().map(Thing::Port).collect()
        }
        _ => Vec::new(),
    }
}

/// What is free after the step.
fn frees(step: &Step, spec: Option<&ServiceSpec>, old: &ObservedContainer) -> Vec<Thing> {
    let keeps_port = |port: &PortSpec| spec.is_some_and(|spec| spec.ports.contains(port));
    let old_name = &old.container.name;
    let name = || Thing::Name(old_name.clone());
    let machine = || {
        let ports = old.spec.ports.iter().cloned().map(Thing::Port);
        ports.chain(old.disks.iter().cloned().map(Thing::Disk))
    };
    match &step.action {
        // Its name has gone over to its successor.
        Action::Remove { .. } if step.reason == Reason::Replaced => machine().collect(),
        Action::Remove { .. } => machine().chain([name()]).collect(),
        Action::Recreate { name: new, .. } => {
            let given_up = (new != old_name).then(name);
            machine().chain(given_up).collect()
        }
        Action::Switch { name: new, .. } => (new != old_name).then(name).into_iter().collect(),
        Action::Update { .. } => {
            let gone = old.spec.ports.iter().filter(|port| !keeps_port(port));
            gone.cloned().map(Thing::Port).collect()
        }
        _ => Vec::new(),
    }
}

fn clash(a: &Thing, b: &Thing) -> bool {
    match (a, b) {
        (Thing::Port(a), Thing::Port(b)) => same_port(a, b),
        _ => a == b,
    }
}

fn same_port(a: &PortSpec, b: &PortSpec) -> bool {
    let same_address = match (a.host_ip, b.host_ip) {
        (Some(a), Some(b)) => a == b || a.is_unspecified() || b.is_unspecified(),
        _ => true,
    };
    a.published.is_some() && a.published == b.published && a.udp == b.udp && same_address
}

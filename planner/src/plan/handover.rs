//! What goes from one container to another, and only one can have: published ports,
//! names of containers, volumes that are disks, addresses. Who takes it waits for the
//! step that frees it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use stack_api::request::Up;
use stack_api::spec::{NetworkSpec, PortSpec, ServiceSpec, StackSpec};

use super::observed::{Observed, ObservedContainer, ObservedPlace};
use super::step::{Action, Plan, Reason, Step};

/// What one container alone can have.
#[derive(Debug, Clone, PartialEq)]
enum Thing {
    Port(PortSpec),
    /// The name of a container.
    Name(String),
    /// A volume that is a disk, by its full name.
    Disk(String),
    /// An address on the network of this name.
    Address(String, IpAddr),
    /// A hardware address on the network of this name.
    Card(String, String),
    /// Some address of the network of this name, which has few.
    Seat(String),
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
/// ones. Where services swap things there is no good order: of ports, one of them gives
/// its own away before the first step; of anything else, one of them is removed by a step
/// of its own, long before its successor is made. Where nobody is made anew, the steps
/// stay without an edge, and the plan cannot be carried out.
pub(super) fn order(request: &Up, observed: &Observed, plan: &mut Plan) {
    let by_id: BTreeMap<&str, &ObservedContainer> = observed
        .containers
        .iter()
        .map(|old| (old.container.id.as_str(), old))
        .collect();
    loop {
        let (taken, freed) = turns(request, &by_id, plan);
        let mut ordered = plan.clone();
        // Ports come last: they have a way out of a circle.
        let is_port = |thing: &&Thing| matches!(thing, Thing::Port(_));
        let edges = edges(&mut ordered, &taken, &freed, |thing| !is_port(thing))
            .and_then(|some| Ok(some | edges(&mut ordered, &taken, &freed, is_port)?));
        match edges {
            Ok(backwards) => {
                *plan = ordered;
                if backwards {
                    sort(plan);
                }
                return;
            }
            Err(Circle(step)) => split(plan, step, &by_id),
        }
    }
}

/// Who takes something, and who frees something.
fn turns<'a>(
    request: &Up,
    by_id: &BTreeMap<&str, &'a ObservedContainer>,
    plan: &Plan,
) -> (Vec<Turn<'a>>, Vec<Turn<'a>>) {
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
            freed.push(turn(frees(step, &request.spec, spec, old)));
        }
    }
    (taken, freed)
}

/// There is no order as long as this step both removes a container and makes another.
struct Circle(usize);

/// Adds the edges for these things. Whether some lead backwards.
fn edges(
    plan: &mut Plan,
    taken: &[Turn<'_>],
    freed: &[Turn<'_>],
    these: impl Fn(&&Thing) -> bool,
) -> Result<bool, Circle> {
    let mut backwards = false;
    for later in taken {
        let another = |turn: &&Turn<'_>| {
            // Containers of one service follow each other as its rollout has it.
            turn.service != later.service || plan.steps[turn.step].reason == Reason::ScaledDown
        };
        let earlier: Vec<_> = freed.iter().filter(another).collect();
        for earlier in earlier {
            let clashing = |free: &&Thing| later.things.iter().any(|thing| clash(thing, free));
            let things = earlier.things.iter().filter(&these);
            let clashing: Vec<&Thing> = things.filter(clashing).collect();
            if clashing.is_empty() {
                continue;
            }
            if plan.leading_to(earlier.step).contains(&later.step) {
                let is_made_anew =
                    |n: &usize| matches!(plan.steps[*n].action, Action::Recreate { .. });
                let has_port = clashing.iter().any(|thing| matches!(thing, Thing::Port(_)));
                let anew = [earlier.step, later.step].into_iter().find(is_made_anew);
                if let Some(step) = anew.filter(|_| !has_port) {
                    return Err(Circle(step));
                }
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
    Ok(backwards)
}

/// Makes two steps of one that makes a container anew: the old one goes when images,
/// networks and volumes are there, its successor comes in its turn. Who followed the end
/// of the old one follows that.
fn split(plan: &mut Plan, n: usize, by_id: &BTreeMap<&str, &ObservedContainer>) {
    let step = plan.steps[n].clone();
    let Action::Recreate {
        service,
        number,
        name,
        id,
    } = step.action
    else {
        return;
    };
    let starts = |action: &Action| {
        matches!(action, Action::Start { service: s, number: k, .. }
            if *s == service && *k == number)
    };
    for later in &mut plan.steps {
        let follows_the_new = starts(&later.action);
        for before in &mut later.after {
            *before += usize::from(*before > n || *before == n && follows_the_new);
        }
    }
    let is_ground = |before: &usize| plan.steps[*before].action.container().is_none();
    let old = by_id.get(id.as_str()).map(|old| &old.container.name);
    let remove = Step {
        after: step.after.iter().copied().filter(is_ground).collect(),
        action: Action::Remove {
            service: service.clone(),
            name: old.unwrap_or(&name).clone(),
            id,
            heir: Some(name.clone()),
        },
        reason: step.reason,
        wait_for: Vec::new(),
    };
    let create = &mut plan.steps[n];
    create.action = Action::Create {
        service,
        number,
        name,
    };
    create.after.push(n);
    plan.steps.insert(n, remove);
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
    let mut things = Vec::new();
    match action {
        Action::Create { name, .. }
        | Action::CreateBeside { name, .. }
        | Action::Recreate { name, .. }
        | Action::Switch { name, .. }
            if !had_name(name) =>
        {
            things.push(Thing::Name(name.clone()));
        }
        Action::Start { .. } => {
            let volumes = spec.volume_keys().filter_map(|key| stack.volumes.get(key));
            things.extend(volumes.map(|volume| Thing::Disk(volume.name.clone())));
            things.extend(spec.ports.iter().cloned().map(Thing::Port));
        }
        Action::Update { .. } => {
            let new = spec.ports.iter().filter(|port| !had_port(port));
            things.extend(new.cloned().map(Thing::Port));
        }
        _ => {}
    }
    if let Action::Create { .. }
    | Action::CreateBeside { .. }
    | Action::Recreate { .. }
    | Action::Update { .. } = action
    {
        let had = old.map_or_else(Vec::new, |old| on_networks(old.places.values()));
        things.extend(asked(stack, spec).filter(|thing| !had.contains(thing)));
    }
    if let Action::Create { .. } | Action::CreateBeside { .. } = action {
        let networks = spec.networks.keys();
        let networks = networks.filter_map(|key| stack.networks.get(key));
        let small = networks.filter(|network| has_few_addresses(network));
        things.extend(small.map(|network| Thing::Seat(network.name.clone())));
    }
    things
}

/// What is free after the step.
fn frees(
    step: &Step,
    stack: &StackSpec,
    spec: Option<&ServiceSpec>,
    old: &ObservedContainer,
) -> Vec<Thing> {
    let keeps_port = |port: &PortSpec| spec.is_some_and(|spec| spec.ports.contains(port));
    let old_name = &old.container.name;
    let name = || Thing::Name(old_name.clone());
    let machine = || {
        let ports = old.spec.ports.iter().cloned().map(Thing::Port);
        ports.chain(old.disks.iter().cloned().map(Thing::Disk))
    };
    let addresses = || on_networks(old.places.values());
    match &step.action {
        // Its name has gone over to its successor.
        Action::Remove { .. } if step.reason == Reason::Replaced => {
            machine().chain(addresses()).collect()
        }
        Action::Remove { .. } => {
            let networks = old.places.values();
            let seats = networks.map(|place| Thing::Seat(place.network.clone()));
            let things = machine().chain(addresses()).chain(seats);
            things.chain([name()]).collect()
        }
        Action::Recreate { name: new, .. } => {
            let given_up = (new != old_name).then(name);
            let keeps: Vec<Thing> = spec.map_or_else(Vec::new, |spec| asked(stack, spec).collect());
            let addresses = addresses()
                .into_iter()
                .filter(|thing| !keeps.contains(thing));
            machine().chain(addresses).chain(given_up).collect()
        }
        Action::Switch { name: new, .. } => (new != old_name).then(name).into_iter().collect(),
        Action::Update { .. } => {
            let gone = old.spec.ports.iter().filter(|port| !keeps_port(port));
            let stays = |key: &String| spec.is_some_and(|spec| spec.networks.contains_key(key));
            let left = old.places.iter().filter(|(key, _)| !stays(key));
            let left = on_networks(left.map(|(_, place)| place));
            gone.cloned().map(Thing::Port).chain(left).collect()
        }
        _ => Vec::new(),
    }
}

/// The addresses that a service asks for.
fn asked(stack: &StackSpec, spec: &ServiceSpec) -> impl Iterator<Item = Thing> {
    let places = spec.networks.iter().filter_map(|(key, wanted)| {
        Some(ObservedPlace {
            network: stack.networks.get(key)?.name.clone(),
            ipv4: wanted.ipv4,
            ipv6: wanted.ipv6,
            mac: wanted.mac.clone(),
        })
    });
    let places: Vec<ObservedPlace> = places.collect();
    on_networks(places.iter()).into_iter()
}

/// All addresses of these places.
fn on_networks<'a>(places: impl Iterator<Item = &'a ObservedPlace>) -> Vec<Thing> {
    let things = places.flat_map(|place| {
        let ips = [place.ipv4.map(IpAddr::from), place.ipv6.map(IpAddr::from)];
        let ips = ips.into_iter().flatten();
        let ips = ips.map(|ip| Thing::Address(place.network.clone(), ip));
        let cards = place.mac.iter().cloned();
        ips.chain(cards.map(|mac| Thing::Card(place.network.clone(), mac)))
    });
    things.collect()
}

/// As few as 16: whoever comes may need the place of one who goes.
fn has_few_addresses(network: &NetworkSpec) -> bool {
    let ipv4 = network.range.or(network.subnet);
    let ipv6 = network.range6.or(network.subnet6);
    ipv4.is_some_and(|net| net.prefix_len() >= 28)
        || ipv6.is_some_and(|net| net.prefix_len() >= 124)
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

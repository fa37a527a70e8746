//! The plan: what has to happen so that what runs becomes what is wanted.
//!
//! `wanted × observed → steps`, and nothing else: no I/O, no clock. The
//! steps form a directed acyclic graph (each names the steps it follows) and
//! hold every detail, so that whoever executes them makes no choices. Doing
//! all steps and planning again gives an empty plan.

mod change;
mod class;
mod difference;
mod handover;
mod moved;
mod observed;
mod order;
mod places;
mod rollout;
pub mod secret;
mod services;
mod show;
mod step;
mod summary;

#[cfg(test)]
mod address_tests;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod rollout_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;

use std::collections::{BTreeMap, BTreeSet};

use stack_api::build::{BuildSpec, BuildWhen};
use stack_api::request::Up;
use stack_api::spec::{NetworkSpec, PullPolicy};

pub use change::{Change, HIDDEN, Place};
pub use class::{ATTRIBUTES, Attribute, Class, table};
pub use observed::{Observed, ObservedContainer, ObservedNetwork, ObservedPlace, Room};
pub use order::{NoSuchService, select, waves};
pub use rollout::{Guard, beside};
pub use step::{Action, Kept, Plan, Reason, Step, WaitFor};
pub use summary::summary;

use services::Services;

/// Plans an `up`.
///
/// Images that have to be pulled first make the plan preliminary: a pull
/// step is in it, and what follows assumes that the image will be a new one.
///
/// # Errors
/// A service named in the request does not exist.
pub fn plan(request: &Up, observed: &Observed) -> Result<Plan, NoSuchService> {
    let spec = &request.spec;
    let selected = match request.orphans_only {
        true => BTreeSet::new(),
        false => select(&spec.services, &request.services, !request.no_deps)?,
    };
    let mut plan = Plan::default();
    let mut pulls = pulls(request, observed, &selected, &mut plan);
    let built = builds(request, observed, &selected, &pulls, &mut plan);
    pulls.extend(built);
    let networks = networks(request, observed, &selected, &mut plan);
    let volumes = volumes(request, observed, &selected, &mut plan);
    orphans(request, observed, &mut plan);
    let first = Groundwork {
        pulls,
        networks,
        volumes,
    };
    Services {
        request,
        observed,
        selected: &selected,
        first: &first,
        awaited: services::awaited(&spec.services),
    }
    .plan(&mut plan);
    moved::order(request, observed, &first, &mut plan);
    handover::order(request, observed, &mut plan);
    Ok(plan)
}

/// Steps that containers follow, by image reference, network key and volume
/// key.
#[derive(Debug, Default)]
struct Groundwork {
    pulls: BTreeMap<String, usize>,
    networks: BTreeMap<String, usize>,
    volumes: BTreeMap<String, usize>,
}

fn pulls(
    request: &Up,
    observed: &Observed,
    selected: &BTreeSet<String>,
    plan: &mut Plan,
) -> BTreeMap<String, usize> {
    let mut steps = BTreeMap::new();
    for name in selected {
        let service = &request.spec.services[name];
        if is_only_built(request, selected, name) {
            continue;
        }
        let reason = match request.pull.unwrap_or(service.pull_policy) {
            PullPolicy::Always => Reason::PullPolicy,
            PullPolicy::Missing if !observed.images.contains_key(&service.image) => Reason::Missing,
            PullPolicy::Every(_) if !observed.images.contains_key(&service.image) => {
                Reason::Missing
            }
            PullPolicy::Every(time) if is_old(observed, &service.image, time) => Reason::TooOld,
            PullPolicy::Missing | PullPolicy::Never | PullPolicy::Every(_) => continue,
        };
        if !steps.contains_key(&service.image) {
            let action = Action::Pull {
                image: service.image.clone(),
            };
            steps.insert(service.image.clone(), plan.add(action, reason, Vec::new()));
        }
    }
    steps
}

/// Was its registry last asked so many seconds ago?
fn is_old(observed: &Observed, image: &str, time: u64) -> bool {
    let asked = observed.asked_s.get(image);
    asked.is_none_or(|asked| *asked >= time)
}

/// Is the image of this service built, without a look whether a registry has
/// it? As in Docker Compose: when somebody asked for a build, with
/// `pull_policy: build`, and when the file gives the image no name.
fn is_only_built(request: &Up, selected: &BTreeSet<String>, service: &str) -> bool {
    if request.build == Some(BuildWhen::Never) {
        return false;
    }
    let image = &request.spec.services[service].image;
    let own = request.builds.get_key_value(service);
    let mut others = request.builds.iter();
    let Some((builder, build)) = own.or_else(|| others.find(|(_, build)| build.image == *image))
    else {
        return false;
    };
    let asked = request.build == Some(BuildWhen::Always) && selected.contains(builder);
    asked || always(request, build) || !build.is_named(&request.spec.name, builder)
}

/// Is it built although it is there? `--pull` says something else than
/// `pull_policy: build`.
fn always(request: &Up, build: &BuildSpec) -> bool {
    build.always && request.pull.is_none()
}

/// What is pulled is not built, unless no registry has it. Services that are not
/// selected build what those that are need and nobody has.
fn builds(
    request: &Up,
    observed: &Observed,
    selected: &BTreeSet<String>,
    pulls: &BTreeMap<String, usize>,
    plan: &mut Plan,
) -> BTreeMap<String, usize> {
    let mut steps = BTreeMap::new();
    let services = &request.spec.services;
    let used: BTreeSet<&String> = selected.iter().map(|name| &services[name].image).collect();
    let (own, others): (Vec<_>, Vec<_>) = request
        .builds
        .iter()
        .filter(|(name, build)| selected.contains(*name) || used.contains(&build.image))
        .partition(|(name, _)| selected.contains(*name));
    let own = own.into_iter().map(|(name, build)| {
        let when = match always(request, build) {
            true => BuildWhen::Always,
            false => BuildWhen::Missing,
        };
        (name, build, request.build.unwrap_or(when))
    });
    let others = others.into_iter().map(|(name, build)| {
        let when = match request.build {
            Some(BuildWhen::Never) => BuildWhen::Never,
            _ => BuildWhen::Missing,
        };
        (name, build, when)
    });
    for (name, build, when) in own.chain(others) {
        let image = &build.image;
        let is_there = pulls.contains_key(image) || observed.images.contains_key(image);
        let reason = match when {
            BuildWhen::Always if always(request, build) => Reason::PullPolicy,
            BuildWhen::Always => Reason::Forced,
            BuildWhen::Missing if !is_there => Reason::Missing,
            BuildWhen::Missing | BuildWhen::Never => continue,
        };
        if !steps.contains_key(image) {
            let action = Action::Build {
                service: name.clone(),
                image: image.clone(),
            };
            steps.insert(image.clone(), plan.add(action, reason, Vec::new()));
        }
    }
    steps
}

fn networks(
    request: &Up,
    observed: &Observed,
    selected: &BTreeSet<String>,
    plan: &mut Plan,
) -> BTreeMap<String, usize> {
    let spec = &request.spec;
    let used: BTreeSet<&String> = selected
        .iter()
        .flat_map(|name| spec.services[name].networks.keys())
        .collect();
    let mut steps = BTreeMap::new();
    // An external one is somebody else's: the daemon checks that it is there.
    let own = |(key, wanted): &(&String, &NetworkSpec)| used.contains(key) && !wanted.external;
    for (key, wanted) in spec.networks.iter().filter(own) {
        // As in Docker Compose, so is one that somebody else has made by that name.
        if let Some(owner) = observed.foreign_networks.get(&wanted.name) {
            plan.notes.push(foreign_network(&wanted.name, owner));
            continue;
        }
        let name = wanted.name.clone();
        let network = key.clone();
        let (action, reason) = match observed.networks.get(&name) {
            None => (Action::CreateNetwork { network, name }, Reason::Missing),
            Some(known) => {
                let differences = known.differences(wanted);
                if differences.is_empty() {
                    continue;
                }
                let changes = differences
                    .into_iter()
                    .map(|(attribute, from, to)| Change {
                        attribute: format!("networks.{key}.{attribute}"),
                        from: Some(from),
                        to: Some(to),
                        class: Class::Recreate,
                        place: None,
                    })
                    .collect();
                (
                    Action::UpdateNetwork { network, name },
                    Reason::Changed { changes },
                )
            }
        };
        steps.insert(key.clone(), plan.add(action, reason, Vec::new()));
    }
    steps
}

/// What is said of a network that another stack (`owner`, or nobody) has made.
pub fn foreign_network(name: &str, owner: &str) -> String {
    let whose = match owner {
        "" => "was made with `stack network create`".to_owned(),
        stack => format!("belongs to stack {stack}"),
    };
    format!(
        "network {name} {whose}, and is used as it is: write `external: true` if that is meant, \
         or give this one another `name:`"
    )
}

fn volumes(
    request: &Up,
    observed: &Observed,
    selected: &BTreeSet<String>,
    plan: &mut Plan,
) -> BTreeMap<String, usize> {
    let spec = &request.spec;
    let used: BTreeSet<&String> = selected
        .iter()
        .flat_map(|name| spec.services[name].volume_keys())
        .collect();
    let mut steps = BTreeMap::new();
    for (key, wanted) in spec.volumes.iter().filter(|(key, _)| used.contains(key)) {
        if wanted.external || observed.volumes.contains(&wanted.name) {
            continue;
        }
        let action = Action::CreateVolume {
            volume: key.clone(),
            name: wanted.name.clone(),
        };
        steps.insert(key.clone(), plan.add(action, Reason::Missing, Vec::new()));
    }
    steps
}

fn orphans(request: &Up, observed: &Observed, plan: &mut Plan) {
    let known = |service: &String| {
        request.spec.services.contains_key(service) || request.spec.disabled.contains(service)
    };
    for container in &observed.containers {
        let container = &container.container;
        if known(&container.service) {
            continue;
        }
        if request.remove_orphans || request.retire.contains(&container.service) {
            plan.add(Action::remove(container), Reason::Orphan, Vec::new());
        } else {
            plan.orphans.push(container.name.clone());
        }
    }
    // As in Docker Compose, but without a warning as long as they stay.
    for container in observed
        .ended_runs
        .iter()
        .filter(|_| request.remove_orphans)
    {
        plan.add(Action::remove(container), Reason::Orphan, Vec::new());
    }
}

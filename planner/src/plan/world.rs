//! The world that tests carry plans out in: what there is after a step.

use std::net::Ipv4Addr;

use stack_api::container::{Container, Health, State};
use stack_api::request::Up;
use stack_api::spec::{Condition, MountSource, ServiceSpec};

use super::*;

/// What there is after the whole plan was carried out.
pub(super) fn carry_out(request: &Up, plan: &Plan, observed: &mut Observed) {
    for (n, step) in plan.steps.iter().enumerate() {
        assert!(
            step.after.iter().all(|before| *before < n),
            "{step} follows a later step"
        );
        carry_out_one(request, step, observed);
    }
}

/// What there is after one step.
pub(super) fn carry_out_one(request: &Up, step: &Step, observed: &mut Observed) {
    for needed in &step.wait_for {
        let reached = observed
            .containers
            .iter()
            .filter(|c| needed.containers.contains(&c.container.name) && !c.standby)
            .all(|c| holds(&c.container, needed.condition));
        assert!(reached, "{step} did not wait for {needed:?}");
    }
    if let Action::Start { .. } | Action::Update { .. } | Action::Switch { .. } = step.action {
        nobody_is_left_behind(request, step, observed);
    }
    if let Action::Start { .. } = step.action {
        its_disks_are_free(request, step, observed);
    }
    match &step.action {
        Action::Pull { image } | Action::Build { image, .. } => {
            let id = format!("id of {image}");
            observed.images.insert(image.clone(), id);
        }
        Action::CreateNetwork { network, name } | Action::UpdateNetwork { network, name } => {
            let wanted = &request.spec.networks[network];
            let any = ObservedNetwork {
                subnet: "10.0.0.0/24".parse().ok(),
                subnet6: "fd00::/64".parse().ok(),
                ..ObservedNetwork::default()
            };
            let known = observed.networks.remove(name).unwrap_or_default();
            let subnet = known.subnet.or(any.subnet);
            let subnet6 = known.subnet6.or(any.subnet6);
            let known = ObservedNetwork {
                subnet,
                subnet6,
                ..known
            };
            observed
                .networks
                .insert(name.clone(), known.updated(wanted));
        }
        Action::CreateVolume { name, .. } => {
            observed.volumes.insert(name.clone());
        }
        Action::Create {
            service,
            number,
            name,
        } => create(request, observed, (service, *number, name), false),
        Action::CreateBeside {
            service,
            number,
            name,
        } => create(request, observed, (service, *number, name), true),
        Action::Recreate {
            service,
            number,
            name,
            id,
        } => {
            observed.containers.retain(|c| c.container.id != *id);
            create(request, observed, (service, *number, name), false);
        }
        Action::Update { service, id, .. } => {
            let spec = request.spec.services[service].clone();
            let mut ids = observed.containers.iter().map(|c| &c.container.id);
            let n = ids.position(|known| known == id);
            let n = n.expect("the container to update is there");
            let mut places = std::mem::take(&mut observed.containers[n].places);
            places.retain(|key, _| spec.networks.contains_key(key));
            for key in spec.networks.keys() {
                let new = || place(request, observed, &spec, key);
                places.entry(key.clone()).or_insert_with(new);
            }
            let found = &mut observed.containers[n];
            found.places = places;
            found.container.config_hash.clone_from(&spec.config_hash);
            found.spec = spec;
        }
        Action::Switch {
            name, beside, id, ..
        } => {
            for container in &mut observed.containers {
                if container.container.id == *id {
                    container.container.name.clone_from(beside);
                    container.standby = true;
                } else if container.container.name == *beside {
                    assert_eq!(container.container.state, State::Running, "{step}");
                    container.container.name.clone_from(name);
                    container.standby = false;
                }
            }
        }
        Action::Watch { names, .. } => {
            for name in names {
                let mut named = observed.containers.iter();
                let up = named.any(|c| c.container.name == *name && up(&c.container));
                assert!(up, "{step}: {name} is not up");
            }
        }
        Action::Start { name, .. } => state(observed, name, State::Running),
        Action::Stop { name, .. } => state(observed, name, State::Exited),
        Action::Remove { id, .. } => observed.containers.retain(|c| c.container.id != *id),
    }
}

/// One container alone mounts the volume with this key.
fn is_disk(request: &Up, key: &str) -> bool {
    let services = request.spec.services.values();
    let users = services.filter(|service| service.volume_keys().any(|k| k == key));
    users.map(|service| service.replicas).sum::<u32>() < 2
}

/// No machine has a disk that the service needs. What an orphan has that stays is
/// shared before the plan.
fn its_disks_are_free(request: &Up, step: &Step, observed: &Observed) {
    let Some((service, own)) = step.action.container() else {
        return;
    };
    let spec = &request.spec;
    let stays = |other: &&ObservedContainer| {
        !request.remove_orphans && !spec.services.contains_key(&other.container.service)
    };
    let others = observed.containers.iter().filter(|other| !stays(other));
    let others = others.filter(|other| other.container.name != own);
    let others: Vec<&ObservedContainer> = others.collect();
    let keys = spec.services[service].volume_keys();
    for key in keys.filter(|key| is_disk(request, key)) {
        let volume = &spec.volumes[key].name;
        let holder = others.iter().find(|other| other.disks.contains(volume));
        let holder = holder.map(|other| &other.container.name);
        assert_eq!(holder, None, "{step}: it has {volume}");
    }
}

/// Where a container of the service gets onto the network with this key.
fn place(request: &Up, observed: &Observed, spec: &ServiceSpec, key: &str) -> ObservedPlace {
    let name = request.spec.networks[key].name.clone();
    let network = &observed.networks[&name];
    let wanted = &spec.networks[key];
    let others = observed.containers.iter().flat_map(|c| c.places.values());
    let others = others.filter(|place| place.network == name);
    let taken: BTreeSet<Ipv4Addr> = others.filter_map(|place| place.ipv4).collect();
    if let Some(address) = wanted.ipv4 {
        assert!(
            !taken.contains(&address),
            "{}: {address} is taken",
            spec.name
        );
    }
    let services = request.spec.services.values();
    let kept = services.filter_map(|service| service.networks.get(key)?.ipv4);
    let kept: BTreeSet<Ipv4Addr> = kept.collect();
    let is_free = |ip: &Ipv4Addr| !taken.contains(ip) && !kept.contains(ip);
    let any = || {
        network
            .subnet
            .and_then(|net| net.hosts().skip(1).find(is_free))
    };
    ObservedPlace {
        ipv4: wanted.ipv4.or_else(any),
        ipv6: network.subnet6.and_then(|net| net.hosts().nth(1)),
        mac: wanted.mac.clone(),
        network: name,
    }
}

/// An orphan that stays has the name or the address that a service asks for: the daemon
/// refuses that before the first step.
pub(super) fn is_refused(request: &Up, observed: &Observed) -> bool {
    let spec = &request.spec;
    let stays = |old: &&ObservedContainer| {
        !request.remove_orphans && !spec.services.contains_key(&old.container.service)
    };
    let mut staying = observed.containers.iter().filter(stays);
    staying.any(|old| {
        let mut services = spec.services.values();
        services.any(|service| {
            let names = (1..=service.replicas).map(|n| service.container_name_of(&spec.name, n));
            let mut places = old.places.values();
            names.into_iter().any(|name| name == old.container.name)
                || places.any(|place| {
                    let mut wanted = service.networks.iter();
                    wanted.any(|(key, wanted)| {
                        spec.networks[key].name == place.network
                            && wanted.ipv4.is_some()
                            && wanted.ipv4 == place.ipv4
                    })
                })
        })
    })
}

/// The network daemon would refuse the whole stack. Where an orphan is, the plan is
/// not carried out.
fn nobody_is_left_behind(request: &Up, step: &Step, observed: &Observed) {
    let known = |c: &&ObservedContainer| {
        let services = &request.spec.services;
        up(&c.container) && services.contains_key(&c.container.service)
    };
    let running = observed.containers.iter().filter(known);
    for (found, place) in running.flat_map(|c| c.places.values().map(move |place| (c, place))) {
        let network = &observed.networks[&place.network];
        let name = &found.container.name;
        assert!(!network.refuses(place), "{step}: {name} is left behind");
    }
}

fn up(container: &Container) -> bool {
    container.state == State::Running
}

fn holds(container: &Container, condition: Condition) -> bool {
    match condition {
        Condition::ServiceStarted => container.started_ms.is_some(),
        Condition::ServiceHealthy => container.health == Some(Health::Healthy),
        Condition::ServiceCompletedSuccessfully => {
            container.state == State::Exited && container.exit_code == Some(0)
        }
    }
}

fn create(
    request: &Up,
    observed: &mut Observed,
    (service, number, name): (&str, u32, &str),
    standby: bool,
) {
    let spec = request.spec.services[service].clone();
    assert!(
        !observed.containers.iter().any(|c| c.container.name == name),
        "{name} is there already"
    );
    for key in spec.networks.keys() {
        let network = &request.spec.networks[key].name;
        assert!(observed.networks.contains_key(network), "no {network}");
    }
    for key in spec.volume_keys() {
        let volume = &request.spec.volumes[key].name;
        assert!(observed.volumes.contains(volume), "no {volume}");
    }
    let places = spec.networks.keys();
    let places = places.map(|key| (key.clone(), place(request, observed, &spec, key)));
    let places = places.collect();
    let volumes = spec.volume_keys();
    let volumes = volumes.map(|key| (key.clone(), request.spec.volumes[key].name.clone()));
    let volumes = volumes.collect();
    let disks = spec.mounts.iter().filter_map(|mount| match &mount.source {
        MountSource::Volume { volume, .. } if is_disk(request, volume) => {
            Some(request.spec.volumes[volume].name.clone())
        }
        MountSource::Anonymous { .. } => Some(format!("{name}:{}", mount.target)),
        _ => None,
    });
    let disks = disks.collect();
    let mounted = spec.mounted_images().filter_map(|reference| {
        let id = observed.images.get(reference)?;
        Some((reference.clone(), id.clone()))
    });
    let images = mounted.collect();
    // Ids are never used again: the clock of this world counts them.
    let id = observed.containers.iter().map(|c| c.container.created_ms);
    let id = id.max().unwrap_or(0) + 1;
    observed.containers.push(ObservedContainer {
        container: Container {
            id: format!("{service}{number}-{id}"),
            created_ms: id,
            name: name.to_owned(),
            service: service.to_owned(),
            number,
            image_id: observed.images[&spec.image].clone(),
            config_hash: spec.config_hash.clone(),
            ..Container::default()
        },
        spec,
        standby,
        disks,
        places,
        volumes,
        images,
        ..ObservedContainer::default()
    });
}

/// The container is in that state; one that runs is healthy.
pub(super) fn state(observed: &mut Observed, name: &str, state: State) {
    for found in observed
        .containers
        .iter_mut()
        .filter(|c| c.container.name == name)
    {
        let container = &mut found.container;
        // A job that others wait for has done its work at once.
        container.state = state;
        container.exit_code = (state == State::Exited).then_some(0);
        if state == State::Running {
            container.started_ms = Some(1);
            container.health = Some(Health::Healthy);
        }
    }
}

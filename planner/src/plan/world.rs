//! The world that tests carry plans out in: what there is after a step.

use stack_api::container::{Container, Health, State};
use stack_api::request::Up;
use stack_api::spec::{Condition, MountSource};

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
    match &step.action {
        Action::Pull { image } | Action::Build { image, .. } => {
            let id = format!("id of {image}");
            observed.images.insert(image.clone(), id);
        }
        Action::CreateNetwork { network, name } | Action::UpdateNetwork { network, name } => {
            let wanted = &request.spec.networks[network];
            let any = ("10.0.0.0/24".parse(), "fd00::/64".parse());
            let (subnet, subnet6) = (wanted.subnet.or(any.0.ok()), wanted.subnet6.or(any.1.ok()));
            let made = ObservedNetwork {
                internal: wanted.internal,
                subnet: subnet.filter(|_| !wanted.no_ipv4),
                gateway: wanted.gateway,
                subnet6: subnet6.filter(|_| wanted.ipv6),
                gateway6: wanted.gateway6,
                mtu: wanted.mtu,
            };
            observed.networks.insert(name.clone(), made);
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
            let found = observed
                .containers
                .iter_mut()
                .find(|c| c.container.id == *id);
            let container = found.expect("the container to update is there");
            container.spec = request.spec.services[service].clone();
            container
                .container
                .config_hash
                .clone_from(&container.spec.config_hash);
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
    let has_disks = spec.mounts.iter().any(|mount| {
        matches!(
            mount.source,
            MountSource::Volume { .. } | MountSource::Anonymous { .. }
        )
    });
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
        has_disks,
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

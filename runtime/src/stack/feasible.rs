//! Can the containers of a plan be made? Asked before any is stopped: a container that is
//! replaced goes before its successor is made, and is not to go for nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use stack_api::container::Container;
use stack_api::event::ApiError;
use stack_api::spec::StackSpec;
use stack_planner::plan::{Action, Plan};

use super::{Outcome, create, images, networks, places};
use crate::container::{Handle, blueprint};
use crate::daemon::Daemon;
use crate::network::{Network, Nic};

/// Looks whether each container finds its name and its addresses free when its turn comes.
///
/// # Errors
/// One is taken by a container that has it still then, or a network has too few addresses.
pub(super) fn check_places(daemon: &Daemon, spec: &StackSpec, plan: &Plan) -> Outcome {
    let handles = daemon.handles(None);
    let held = |handle: &Arc<Handle>| Held {
        container: handle.container(),
        nics: daemon.cards(handle),
    };
    let mut places = Places {
        spec,
        plan,
        networks: networks::planned(daemon, spec, plan)?,
        containers: handles.iter().map(held).collect(),
        made: Vec::new(),
    };
    for n in 0..plan.steps.len() {
        let mut others = places.others(n);
        let nics = places.step(n, &others).map_err(|error| {
            others.retain(|held| !is_orphan(spec, plan, &held.container));
            if places.step(n, &others).is_ok() {
                return error.help(
                    "a container of a service that is in the file no more is in the way: \
                     `stack up --remove-orphans` removes it first",
                );
            }
            let changes = |id: &str| plan.steps.iter().any(|step| step.action.old() == Some(id));
            others.retain(|held| !changes(&held.container.id));
            match places.step(n, &others) {
                Ok(_) => error.help(
                    "the container that has it gives it up too late: change that one in an \
                     `up` of its own before",
                ),
                Err(_) => error,
            }
        })?;
        places.made.extend(nics);
    }
    Ok(())
}

/// It stays only because nobody said `--remove-orphans`.
fn is_orphan(spec: &StackSpec, plan: &Plan, container: &Container) -> bool {
    container.project == spec.name && plan.orphans.contains(&container.name)
}

/// Looks whether there is something to run, and all that it needs. `references`: what
/// image references lead to, where it is not what the store says.
///
/// # Errors
/// The source of a bind mount is not there, or there is nothing to run.
pub(super) fn check(
    daemon: &Daemon,
    spec: &StackSpec,
    references: &BTreeMap<String, String>,
    plan: &Plan,
) -> Outcome {
    check_places(daemon, spec, plan)?;
    for step in &plan.steps {
        let (Action::Create { service, .. }
        | Action::CreateBeside { service, .. }
        | Action::Recreate { service, .. }) = &step.action
        else {
            continue;
        };
        let service = &spec.services[service];
        let reference = references.get(&service.image).unwrap_or(&service.image);
        if let Some(image) = daemon.images.get(reference).map_err(images::error)? {
            blueprint::try_out(service, &image)?;
        }
    }
    Ok(())
}

/// Who has which name and which addresses while the plan is carried out.
struct Places<'a> {
    spec: &'a StackSpec,
    plan: &'a Plan,
    /// As they will be.
    networks: Vec<Network>,
    /// Of all stacks, as they are now.
    containers: Vec<Held>,
    /// Cards of the containers that are made.
    made: Vec<Nic>,
}

/// A container, and the cards that it has or is about to have.
#[derive(Clone)]
struct Held {
    container: Container,
    nics: Vec<Nic>,
}

impl Places<'_> {
    /// The cards that a step makes, beside these containers.
    fn step(&self, n: usize, others: &[Held]) -> Result<Vec<Nic>, ApiError> {
        let action = &self.plan.steps[n].action;
        if let Action::Create { name, .. }
        | Action::CreateBeside { name, .. }
        | Action::Recreate { name, .. }
        | Action::Switch { name, .. } = action
        {
            create::name_is_free(others.iter().map(|held| &held.container), name)?;
        }
        let (Action::Create { service, .. }
        | Action::CreateBeside { service, .. }
        | Action::Recreate { service, .. }
        | Action::Update { service, .. }) = action
        else {
            return Ok(Vec::new());
        };
        let mut containers = self.containers.iter();
        let old = containers.find(|held| action.old() == Some(&held.container.id));
        let before = old.map_or(&[][..], |held| &held.nics);
        let is_update = matches!(action, Action::Update { .. });
        let stays = |key: &str| {
            let on = |nic: &Nic| nic.key.as_deref() == Some(key) && !nic.unplugged;
            is_update && before.iter().any(on)
        };
        let service = &self.spec.services[service];
        let mut found = Vec::new();
        for (key, wanted) in service.cards() {
            let name = self.spec.networks.get(key).map(|network| &network.name);
            let network = self.networks.iter().find(|n| Some(&n.name) == name);
            let Some(network) = network.filter(|_| !stays(key)) else {
                continue;
            };
            let network = places::as_defined(network, self.spec, key);
            let cards = others.iter().flat_map(|held| &held.nics);
            let taken = places::taken(&network.name, cards.chain(&self.made));
            let nic = places::find(self.spec, &network, (key, wanted), before, taken);
            found.push(nic.map_err(|error| places::of_service(service, error))?);
        }
        Ok(found)
    }

    /// What the containers that are there now have when the step's turn comes.
    fn others(&self, n: usize) -> Vec<Held> {
        let mut left = self.containers.clone();
        for done in self.plan.leading_to(n) {
            let action = &self.plan.steps[done].action;
            let Some(id) = action.old() else {
                continue;
            };
            match action {
                Action::Recreate { .. } | Action::Remove { .. } => {
                    left.retain(|held| held.container.id != id);
                }
                Action::Switch { .. } => {
                    let it = left.iter_mut().filter(|held| held.container.id == id);
                    it.for_each(|held| held.container.name.clear());
                }
                Action::Update { service, .. } => {
                    let spec = &self.spec.services[service];
                    let leaves = |nic: &Nic| {
                        let key = nic.key.as_ref();
                        key.is_some_and(|key| !spec.networks.contains_key(key))
                    };
                    for held in left.iter_mut().filter(|held| held.container.id == id) {
                        held.nics.retain(|nic| !leaves(nic));
                    }
                }
                _ => {}
            }
        }
        left
    }
}

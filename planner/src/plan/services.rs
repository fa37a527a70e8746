//! Steps for containers.

use std::collections::{BTreeMap, BTreeSet};

use stack_api::container::{Container, State};
use stack_api::request::Up;
use stack_api::spec::{Condition, ServiceSpec};

use super::Groundwork;
use super::difference;
use super::observed::{Observed, ObservedContainer};
use super::order::waves;
use super::step::{Action, Plan, Reason, WaitFor};

/// What the steps of the services depend on.
pub(super) struct Services<'a> {
    pub request: &'a Up,
    pub observed: &'a Observed,
    pub selected: &'a BTreeSet<String>,
    pub first: &'a Groundwork,
}

/// What has been planned for the services before.
#[derive(Default)]
struct Before {
    /// Start steps by service.
    starts: BTreeMap<String, Vec<usize>>,
    /// Services of which a container is started anew.
    anew: BTreeSet<String>,
}

impl Services<'_> {
    /// Adds the steps, dependencies first.
    pub(super) fn plan(&self, plan: &mut Plan) {
        let mut before = Before::default();
        for name in waves(&self.request.spec.services).into_iter().flatten() {
            if self.selected.contains(&name) {
                self.service(&self.request.spec.services[&name], &mut before, plan);
            }
        }
    }

    fn service(&self, spec: &ServiceSpec, before: &mut Before, plan: &mut Plan) {
        let replicas = self
            .request
            .scale
            .get(&spec.name)
            .copied()
            .unwrap_or(spec.replicas);
        let existing: Vec<&ObservedContainer> = self
            .observed
            .containers
            .iter()
            .filter(|c| c.container.service == spec.name)
            .collect();
        for surplus in existing.iter().filter(|c| c.container.number > replicas) {
            plan.add(
                Action::remove(&surplus.container),
                Reason::ScaledDown,
                Vec::new(),
            );
        }
        for number in 1..=replicas {
            let old = existing
                .iter()
                .find(|c| c.container.number == number)
                .copied();
            self.container(spec, number, old, before, plan);
        }
    }

    fn container(
        &self,
        spec: &ServiceSpec,
        number: u32,
        old: Option<&ObservedContainer>,
        before: &mut Before,
        plan: &mut Plan,
    ) {
        let service = spec.name.clone();
        let name = spec.container_name_of(&self.request.spec.name, number);
        let groundwork = self.groundwork(spec);
        let (made, why_start) = match old {
            None => {
                let action = Action::Create {
                    service: service.clone(),
                    number,
                    name: name.clone(),
                };
                let step = plan.add(action, Reason::Missing, groundwork);
                (Some(step), Some(Reason::Missing))
            }
            Some(old) => match self.why_recreate(spec, old) {
                Some(reason) => {
                    let id = old.container.id.clone();
                    let action = Action::Recreate {
                        service: service.clone(),
                        number,
                        name: name.clone(),
                        id,
                    };
                    let step = plan.add(action, reason.clone(), groundwork);
                    (Some(step), Some(reason))
                }
                None => match self.why_start(spec, &old.container, before) {
                    Some((reason, true)) => {
                        let action = Action::Stop {
                            service: service.clone(),
                            number,
                            name: name.clone(),
                        };
                        (
                            Some(plan.add(action, reason.clone(), Vec::new())),
                            Some(reason),
                        )
                    }
                    Some((reason, false)) => (None, Some(reason)),
                    None => (None, None),
                },
            },
        };
        let Some(reason) = why_start.filter(|_| !self.request.no_start) else {
            if made.is_none() {
                plan.unchanged.push(name);
            }
            return;
        };
        let mut after: Vec<usize> = made.into_iter().collect();
        let mut wait_for = Vec::new();
        for (dependency, how) in &spec.depends_on {
            if !self.selected.contains(dependency) {
                continue;
            }
            after.extend(before.starts.get(dependency).into_iter().flatten());
            wait_for.push(WaitFor {
                service: dependency.clone(),
                condition: how.condition,
                required: how.required,
            });
        }
        let step = plan.add(
            Action::Start {
                service: service.clone(),
                number,
                name,
            },
            reason,
            after,
        );
        plan.steps[step].wait_for = wait_for;
        before.starts.entry(service.clone()).or_default().push(step);
        before.anew.insert(service);
    }

    fn groundwork(&self, spec: &ServiceSpec) -> Vec<usize> {
        let first = self.first;
        let mut after: Vec<usize> = first.pulls.get(&spec.image).copied().into_iter().collect();
        after.extend(
            spec.networks
                .keys()
                .filter_map(|key| first.networks.get(key)),
        );
        after.extend(spec.volume_keys().filter_map(|key| first.volumes.get(key)));
        after.sort_unstable();
        after.dedup();
        after
    }

    fn why_recreate(&self, spec: &ServiceSpec, old: &ObservedContainer) -> Option<Reason> {
        if self.request.force_recreate {
            return Some(Reason::Forced);
        }
        if self.request.no_recreate {
            return None;
        }
        if old.container.config_hash != spec.config_hash {
            return Some(Reason::Changed {
                what: difference::changed(&old.spec, spec),
            });
        }
        if let Some(id) = self.observed.images.get(&spec.image)
            && *id != old.container.image_id
        {
            let (from, to) = (old.container.image_id.clone(), id.clone());
            return Some(Reason::ImageChanged { from, to });
        }
        spec.networks
            .keys()
            .find(|key| self.first.networks.contains_key(*key))
            .map(|network| Reason::NetworkChanged {
                network: network.clone(),
            })
    }

    /// Why it must be started, and whether it must be stopped before.
    fn why_start(
        &self,
        spec: &ServiceSpec,
        container: &Container,
        before: &Before,
    ) -> Option<(Reason, bool)> {
        if matches!(container.state, State::Running | State::Starting) {
            let restarts = spec
                .depends_on
                .iter()
                .find(|(name, how)| how.restart && before.anew.contains(*name));
            return restarts.map(|(service, _)| {
                (
                    Reason::DependencyRestarts {
                        service: service.clone(),
                    },
                    true,
                )
            });
        }
        if self.is_completed(spec, container) {
            return None;
        }
        Some((
            Reason::NotRunning {
                state: container.state.as_str().to_owned(),
            },
            false,
        ))
    }

    /// A service that others wait for to complete, and that has: once is
    /// enough.
    fn is_completed(&self, spec: &ServiceSpec, container: &Container) -> bool {
        let awaited = self.request.spec.services.values().any(|other| {
            other.depends_on.get(&spec.name).is_some_and(|dependency| {
                dependency.condition == Condition::ServiceCompletedSuccessfully
            })
        });
        awaited && container.state == State::Exited && container.exit_code == Some(0)
    }
}

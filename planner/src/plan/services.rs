//! Steps for containers.

use std::collections::{BTreeMap, BTreeSet};

use stack_api::container::{Container, State};
use stack_api::request::Up;
use stack_api::rollout::{FailureAction, Order, Rollout};
use stack_api::spec::{Condition, ServiceSpec};

use super::Groundwork;
use super::class::Class;
use super::difference;
use super::moved;
use super::observed::{Observed, ObservedContainer};
use super::order::waves;
use super::rollout::{self, Pace};
use super::step::{Action, Kept, Plan, Reason, WaitFor};

/// What the steps of the services depend on.
pub(super) struct Services<'a> {
    pub request: &'a Up,
    pub observed: &'a Observed,
    pub selected: &'a BTreeSet<String>,
    pub first: &'a Groundwork,
    /// Services that others wait for to complete.
    pub awaited: BTreeSet<&'a str>,
}

/// Services that others wait for to complete.
pub(super) fn awaited(services: &BTreeMap<String, ServiceSpec>) -> BTreeSet<&str> {
    services
        .values()
        .flat_map(|service| &service.depends_on)
        .filter(|(_, how)| how.condition == Condition::ServiceCompletedSuccessfully)
        .map(|(name, _)| name.as_str())
        .collect()
}

/// What has been planned for the services before.
#[derive(Default)]
struct Before {
    /// Steps by service after which its containers are there, as they are
    /// wanted.
    starts: BTreeMap<String, Vec<usize>>,
    /// Services of which a container is started anew.
    anew: BTreeSet<String>,
    /// Names of the containers by service, as they are at the end.
    names: BTreeMap<String, Vec<String>>,
}

/// What becomes of one container.
enum Fate {
    /// It is made.
    Create,
    /// It is replaced.
    Replace(Reason),
    /// It takes the changes as it is.
    Update(Reason),
    /// It is as wanted.
    Keep,
}

/// One container to plan for.
struct Case<'a> {
    spec: &'a ServiceSpec,
    number: u32,
    name: String,
    old: Option<&'a ObservedContainer>,
    /// Steps that everything about it follows.
    gate: Vec<usize>,
}

impl Services<'_> {
    /// Adds the steps, dependencies first.
    pub(super) fn plan(&self, plan: &mut Plan) {
        let mut before = Before::default();
        let mut existing: BTreeMap<&str, Vec<&ObservedContainer>> = BTreeMap::new();
        for found in &self.observed.containers {
            let service = found.container.service.as_str();
            existing.entry(service).or_default().push(found);
        }
        for name in waves(&self.request.spec.services).into_iter().flatten() {
            if self.selected.contains(&name) {
                let spec = &self.request.spec.services[&name];
                self.service(spec, &existing, &mut before, plan);
            }
        }
    }

    fn service(
        &self,
        spec: &ServiceSpec,
        existing: &BTreeMap<&str, Vec<&ObservedContainer>>,
        before: &mut Before,
        plan: &mut Plan,
    ) {
        let scale = self.request.scale.get(&spec.name).copied();
        let replicas = scale.unwrap_or(spec.replicas);
        let existing = existing.get(spec.name.as_str());
        let existing = existing.map_or(&[][..], Vec::as_slice);
        for surplus in existing.iter().filter(|c| c.container.number > replicas) {
            plan.add(
                Action::remove(&surplus.container),
                Reason::ScaledDown,
                Vec::new(),
            );
        }
        let cases: Vec<(Case<'_>, Fate)> = (1..=replicas)
            .map(|number| {
                let case = self.case(spec, number, existing, plan);
                let fate = self.fate(spec, case.old);
                (case, fate)
            })
            .collect();
        let names = cases.iter().map(|(case, _)| case.name.clone()).collect();
        before.names.insert(spec.name.clone(), names);
        let replaced: Vec<&ObservedContainer> = cases
            .iter()
            .filter(|(_, fate)| matches!(fate, Fate::Replace(_)))
            .filter_map(|(case, _)| case.old)
            .collect();
        let mut rollout = match self.request.rollback {
            false => spec.update.clone(),
            // Who wants no gap on the way there wants none on the way back. A
            // failure leads no further back.
            true => spec
                .rollback
                .clone()
                .or(spec.update.clone())
                .map(|rollout| Rollout {
                    failure_action: match rollout.failure_action {
                        FailureAction::Rollback => FailureAction::Pause,
                        action => action,
                    },
                    ..rollout
                }),
        };
        if let Some(rollout) = rollout.as_mut()
            && replaced.iter().any(|old| self.is_left_behind(old))
        {
            if replaced.len() > 1 || rollout.order == Order::StartFirst {
                plan.notes.push(format!(
                    "{}: its network gets other addresses: all its containers are stopped \
                     before a successor starts",
                    spec.name
                ));
            }
            (rollout.parallelism, rollout.order) = (0, Order::StopFirst);
        }
        match &rollout {
            Some(rollout) if !replaced.is_empty() && !self.request.no_start => {
                self.roll_out(rollout, &replaced, cases, before, plan);
            }
            _ => {
                for (case, fate) in cases {
                    self.container(&case, fate, before, plan);
                }
            }
        }
    }

    /// The container with that number. What an update that was cut off has
    /// left beside it is removed.
    fn case<'a>(
        &self,
        spec: &'a ServiceSpec,
        number: u32,
        existing: &[&'a ObservedContainer],
        plan: &mut Plan,
    ) -> Case<'a> {
        let name = spec.container_name_of(&self.request.spec.name, number);
        let mut same = existing.iter().filter(|c| c.container.number == number);
        let old = same
            .clone()
            .find(|c| !c.standby)
            .or_else(|| same.next())
            .copied();
        let mut gate = Vec::new();
        for other in existing.iter().filter(|c| c.container.number == number) {
            if old.is_some_and(|old| old.container.id != other.container.id) {
                let action = Action::remove(&other.container);
                gate.push(plan.add(action, Reason::Leftover, Vec::new()));
            }
        }
        Case {
            spec,
            number,
            name,
            old,
            gate,
        }
    }

    /// Replaces containers batch by batch.
    fn roll_out(
        &self,
        rollout: &Rollout,
        replaced: &[&ObservedContainer],
        cases: Vec<(Case<'_>, Fate)>,
        before: &mut Before,
        plan: &mut Plan,
    ) {
        let pace = Pace::new(rollout, replaced.len());
        let Some(spec) = cases.first().map(|(case, _)| case.spec) else {
            return;
        };
        let obstacle = rollout::obstacle(rollout, spec, replaced);
        let start_first = rollout.order == Order::StartFirst && obstacle.is_none();
        if let Some(obstacle) = obstacle {
            plan.notes.push(format!(
                "{}: start-first is not possible, for {obstacle}: \
                 each container is stopped before its successor starts",
                spec.name
            ));
        }
        plan.rollouts
            .insert(spec.name.clone(), pace.guard(replaced.len()));
        let (mut gate, mut done) = (Vec::new(), 0);
        let (mut started, mut names) = (Vec::new(), Vec::new());
        for (mut case, fate) in cases {
            let Fate::Replace(reason) = fate else {
                self.container(&case, fate, before, plan);
                continue;
            };
            case.gate.extend(&gate);
            let last = done + 1 == replaced.len();
            let ends_batch = last || pace.begins(done + 1);
            done += 1;
            names.push(case.name.clone());
            // One that stood by for a successor that never came is no peer.
            if start_first && let Some(old) = case.old.filter(|old| !old.standby) {
                self.beside(&case, old, &reason, pace.times(last), before, plan);
                // The next one begins when the old one has gone.
                started.push(plan.steps.len() - 1);
                if ends_batch {
                    gate = std::mem::take(&mut started);
                }
                continue;
            }
            self.container(&case, Fate::Replace(reason), before, plan);
            started.push(plan.steps.len() - 1);
            if ends_batch {
                let (monitor_ms, delay_ms) = pace.times(last);
                let action = Action::Watch {
                    service: spec.name.clone(),
                    names: std::mem::take(&mut names),
                    monitor_ms,
                    delay_ms,
                };
                gate = vec![plan.add(action, Reason::Rollout, std::mem::take(&mut started))];
            }
        }
    }

    /// Starts the new container beside the old one, which goes when the new
    /// one is up.
    fn beside(
        &self,
        case: &Case<'_>,
        old: &ObservedContainer,
        reason: &Reason,
        (monitor_ms, delay_ms): (u64, u64),
        before: &mut Before,
        plan: &mut Plan,
    ) {
        let (service, number) = (case.spec.name.clone(), case.number);
        let name = rollout::beside(&case.name);
        let mut after = self.groundwork(case.spec);
        after.extend(&case.gate);
        let action = Action::CreateBeside {
            service: service.clone(),
            number,
            name: name.clone(),
        };
        let made = plan.add(action, reason.clone(), after);
        let started = self.start(case.spec, number, &name, reason, vec![made], before, plan);
        let action = Action::Watch {
            service: service.clone(),
            names: vec![name.clone()],
            monitor_ms,
            delay_ms: 0,
        };
        let watched = plan.add(action, Reason::Rollout, vec![started]);
        let action = Action::Switch {
            service: service.clone(),
            number,
            name: case.name.clone(),
            beside: name,
            id: old.container.id.clone(),
        };
        let switched = plan.add(action, reason.clone(), vec![watched]);
        let removal = Action::Remove {
            service: service.clone(),
            name: case.name.clone(),
            id: old.container.id.clone(),
            heir: None,
        };
        let removed = plan.add(removal, Reason::Replaced, vec![switched]);
        before
            .starts
            .entry(service.clone())
            .or_default()
            .push(removed);
        if delay_ms > 0 {
            let action = Action::Watch {
                service,
                names: vec![case.name.clone()],
                monitor_ms: 0,
                delay_ms,
            };
            plan.add(action, Reason::Rollout, vec![removed]);
        }
    }

    /// As in Compose: what was named, or what that depends on.
    fn forced(&self, spec: &ServiceSpec) -> Option<Reason> {
        let (request, named) = (self.request, &self.request.services);
        if named.is_empty() || named.contains(&spec.name) {
            let renewed = request.renew_anon_volumes && !request.no_recreate;
            let forced = request.force_recreate.then_some(Reason::Forced);
            forced.or(renewed.then_some(Reason::Renewed))
        } else {
            request.always_recreate_deps.then_some(Reason::Forced)
        }
    }

    fn is_left_behind(&self, old: &ObservedContainer) -> bool {
        moved::is_left_behind(self.request, self.observed, self.first, old)
    }

    fn fate(&self, spec: &ServiceSpec, old: Option<&ObservedContainer>) -> Fate {
        let Some(old) = old else {
            return Fate::Create;
        };
        if let Some(reason) = self.forced(spec) {
            return Fate::Replace(reason);
        }
        let changes = difference::changes(&old.spec, spec, &old.room);
        let changed = !changes.is_empty() || old.container.config_hash != spec.config_hash;
        let live = changes.iter().all(|change| change.class == Class::Live);
        let new = self.other_reason(spec, old);
        match (changed, live, new) {
            (false, _, None) => Fate::Keep,
            (true, true, None) => Fate::Update(Reason::Changed { changes }),
            _ if self.request.no_recreate => Fate::Keep,
            (true, false, _) => Fate::Replace(Reason::Changed { changes }),
            (_, _, Some(reason)) => Fate::Replace(reason),
        }
    }

    /// Why it must be replaced although its attributes are as wanted.
    fn other_reason(&self, spec: &ServiceSpec, old: &ObservedContainer) -> Option<Reason> {
        if old.standby {
            return Some(Reason::Leftover);
        }
        let own = (&spec.image, &old.container.image_id);
        for (reference, id) in std::iter::once(own).chain(&old.images) {
            if let Some(now) = self.observed.images.get(reference)
                && now != id
            {
                let (from, to) = (id.clone(), now.clone());
                return Some(Reason::ImageChanged { from, to });
            }
        }
        let first = self.first;
        // One that it is not on yet is joined by a container that is there.
        let mut networks = old.spec.networks.keys();
        if let Some(network) = networks.find(|key| first.networks.contains_key(*key)) {
            let network = network.clone();
            return Some(Reason::NetworkChanged { network });
        }
        if let Some(network) = self.other_network(spec, old) {
            return Some(Reason::NetworkChanged { network });
        }
        // The name may lead to one that was there before.
        let other = |key: &String| {
            let wanted = self
                .request
                .spec
                .volumes
                .get(key)
                .map(|wanted| &wanted.name);
            let known = old.volumes.get(key);
            known.is_some_and(|known| wanted.is_some_and(|wanted| wanted != known))
        };
        let mut volumes = spec.volume_keys();
        let volume = volumes.find(|key| first.volumes.contains_key(*key) || other(key))?;
        Some(Reason::VolumeChanged {
            volume: volume.clone(),
        })
    }

    /// The key of a network that it is on, and that is not the one of the file; or
    /// that has changed when it was not its turn.
    fn other_network(&self, spec: &ServiceSpec, old: &ObservedContainer) -> Option<String> {
        let mut places = old.places.iter();
        let other = places.find(|(key, place)| {
            let known = self.observed.networks.get(&place.network);
            let wanted = self.request.spec.networks.get(*key);
            let wanted = wanted.filter(|_| spec.networks.contains_key(*key));
            // One that it is to leave has to be another one in no other way.
            known.is_some_and(|known| known.refuses(place))
                || wanted.is_some_and(|wanted| {
                    wanted.name != place.network || known.is_some_and(|n| n.has_more(place))
                })
        });
        other.map(|(key, _)| key.clone())
    }

    fn container(&self, case: &Case<'_>, fate: Fate, before: &mut Before, plan: &mut Plan) {
        let Case {
            spec,
            number,
            name,
            old,
            gate,
        } = case;
        let (service, number, name) = (spec.name.clone(), *number, name.clone());
        let id = old.map_or(String::new(), |old| old.container.id.clone());
        let mut made = None;
        let mut why_start = None;
        let mut after = gate.clone();
        match fate {
            Fate::Create | Fate::Replace(_) => {
                after.extend(self.groundwork(spec));
                let (action, reason) = match fate {
                    Fate::Replace(reason) => (
                        Action::Recreate {
                            service,
                            number,
                            name: name.clone(),
                            id,
                        },
                        reason,
                    ),
                    _ => (
                        Action::Create {
                            service,
                            number,
                            name: name.clone(),
                        },
                        Reason::Missing,
                    ),
                };
                made = Some(plan.add(action, reason.clone(), after));
                why_start = Some(reason);
            }
            Fate::Update(_) | Fate::Keep => {
                if let Fate::Update(reason) = fate {
                    after.extend(self.networks_first(spec));
                    let action = Action::Update {
                        service: service.clone(),
                        number,
                        name: name.clone(),
                        id,
                    };
                    made = Some(plan.add(action, reason, after.clone()));
                }
                let container = old.map(|old| &old.container);
                if let Some((reason, stop)) =
                    container.and_then(|c| self.why_start(spec, c, before))
                {
                    if stop && !self.request.no_start {
                        let action = Action::Stop {
                            service,
                            number,
                            name: name.clone(),
                        };
                        let after = made.into_iter().collect();
                        made = Some(plan.add(action, reason.clone(), after));
                    }
                    why_start = Some(reason);
                }
            }
        }
        let Some(reason) = why_start.filter(|_| !self.request.no_start) else {
            self.keep(spec, &name, before, plan);
            match made {
                // Another health check, perhaps: who waits for its health must
                // not see that of the old one.
                Some(update) => before
                    .starts
                    .entry(spec.name.clone())
                    .or_default()
                    .push(update),
                None => plan.unchanged.push(name),
            }
            return;
        };
        let made = made.into_iter().collect();
        let step = self.start(spec, number, &name, &reason, made, before, plan);
        before
            .starts
            .entry(spec.name.clone())
            .or_default()
            .push(step);
    }

    /// Adds the start of a container, after what it depends on.
    #[expect(clippy::too_many_arguments, reason = "one step with all its parts")]
    fn start(
        &self,
        spec: &ServiceSpec,
        number: u32,
        name: &str,
        reason: &Reason,
        mut after: Vec<usize>,
        before: &mut Before,
        plan: &mut Plan,
    ) -> usize {
        let wait_for: Vec<WaitFor> = self.needs(spec, before).collect();
        for needed in &wait_for {
            after.extend(before.starts.get(&needed.service).into_iter().flatten());
        }
        let action = Action::Start {
            service: spec.name.clone(),
            number,
            name: name.to_owned(),
        };
        let step = plan.add(action, reason.clone(), after);
        plan.steps[step].wait_for = wait_for;
        before.anew.insert(spec.name.clone());
        step
    }

    /// What the service depends on, of what is selected.
    fn needs(&self, spec: &ServiceSpec, before: &Before) -> impl Iterator<Item = WaitFor> {
        let selected = spec.depends_on.iter();
        let selected = selected.filter(|(name, _)| self.selected.contains(*name));
        selected.map(|(dependency, how)| WaitFor {
            service: dependency.clone(),
            condition: how.condition,
            required: how.required,
            containers: before.names.get(dependency).cloned().unwrap_or_default(),
        })
    }

    /// Notes what a container that stays depends on, once for all that do. As in Docker
    /// Compose: what runs needs its dependencies as what is started does.
    fn keep(&self, spec: &ServiceSpec, name: &str, before: &Before, plan: &mut Plan) {
        if self.request.no_start {
            return;
        }
        for needed in self.needs(spec, before) {
            let same = |known: &&mut Kept| {
                let known = &known.wait_for;
                known.service == needed.service && known.condition == needed.condition
            };
            match plan.kept.iter_mut().find(same) {
                _ if needed.condition == Condition::ServiceStarted => {}
                Some(known) => known.wait_for.required |= needed.required,
                None => plan.kept.push(Kept {
                    name: name.to_owned(),
                    wait_for: needed,
                }),
            }
        }
    }

    /// Steps that bring about a service's networks.
    fn networks_first(&self, spec: &ServiceSpec) -> impl Iterator<Item = usize> {
        let networks = spec.networks.keys();
        networks.filter_map(|key| self.first.networks.get(key).copied())
    }

    fn groundwork(&self, spec: &ServiceSpec) -> Vec<usize> {
        let first = self.first;
        let mut after: Vec<usize> = first.pulls.get(&spec.image).copied().into_iter().collect();
        after.extend(self.networks_first(spec));
        after.extend(spec.volume_keys().filter_map(|key| first.volumes.get(key)));
        after.sort_unstable();
        after.dedup();
        after
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
                let service = service.clone();
                (Reason::DependencyRestarts { service }, true)
            });
        }
        if self.is_completed(spec, container) {
            return None;
        }
        let state = container.state.as_str().to_owned();
        Some((Reason::NotRunning { state }, false))
    }

    /// A service that others wait for to complete, and that has: once is
    /// enough.
    fn is_completed(&self, spec: &ServiceSpec, container: &Container) -> bool {
        let awaited = self.awaited.contains(spec.name.as_str());
        awaited && container.state == State::Exited && container.exit_code == Some(0)
    }
}

//! Carries a plan out. It makes no choices: those are in the plan.
//!
//! Steps run side by side as soon as what they follow is done. After the
//! first failure none is begun any more; those that run are finished. A step
//! that changes something runs in a task of its own, so that it is finished
//! also when the client goes away; the task holds the stack's lock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{FutureExt, try_join_all};
use futures_util::stream::{FuturesUnordered, StreamExt};
use stack_api::event::ApiError;
use stack_api::request::Up;
use stack_api::spec::Condition;
use stack_planner::plan::{Action, Plan, Step, WaitFor};
use tokio::sync::{OwnedMutexGuard, watch};

use super::limit::{self, Limit};
use super::rollout::{Casualties, Verdict};
use super::{
    Outcome, create, down, images, networks, pre_start, replace, rollout, turn, update, wait,
};
use crate::container::Handle;
use crate::daemon::Daemon;
use crate::progress::Progress;
use crate::volume::Lease;

/// What the steps need.
#[derive(Debug, Clone)]
pub(super) struct Context {
    pub daemon: Arc<Daemon>,
    pub progress: Progress,
    pub request: Up,
    /// What image references lead to, where it is not what the store says:
    /// reference as written → image id.
    pub images: BTreeMap<String, String>,
    /// How long it is waited for services.
    pub limit: Limit,
    /// Held, not read: the lock of the stack,
    pub _turn: Arc<OwnedMutexGuard<()>>,
    /// and the volumes that the steps are about to use.
    pub _volumes: Option<Arc<Lease>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Pending,
    Done,
    /// It failed, or it was not begun.
    NotDone,
}

/// A plan that was not carried out to its end.
#[derive(Debug)]
pub(super) struct Broken {
    /// Why.
    pub error: ApiError,
    /// The service whose step failed, when it was the step of one.
    pub service: Option<String>,
}

impl From<ApiError> for Broken {
    fn from(error: ApiError) -> Broken {
        Broken {
            error,
            service: None,
        }
    }
}

/// Carries the plan out.
///
/// # Errors
/// The first step that failed.
pub(super) async fn execute(context: &Context, plan: &Plan) -> Result<(), Broken> {
    for (id, ports) in &plan.released {
        context.daemon.release(&*context.find(id)?, ports).await?;
    }
    let result = steps(context, plan).await;
    if result.is_err() && !plan.released.is_empty() {
        let handles = context.daemon.handles(Some(&context.request.spec.name));
        context.daemon.reclaim(&handles).await;
    }
    result
}

async fn steps(context: &Context, plan: &Plan) -> Result<(), Broken> {
    let marks: Vec<watch::Sender<Mark>> = plan
        .steps
        .iter()
        .map(|_| watch::Sender::new(Mark::Pending))
        .collect();
    let failed = watch::Sender::new(false);
    let casualties = Casualties::new(&plan.rollouts);
    let shared = Arc::new(context.clone());
    let mut running: FuturesUnordered<_> = plan
        .steps
        .iter()
        .enumerate()
        .map(|(n, step)| {
            let (marks, failed, shared) = (&marks, &failed, &shared);
            let casualties = &casualties;
            async move {
                let result = one(shared, step, marks, failed, casualties).await;
                let result = result.map_err(|broken| {
                    let own = || step.action.container().map(|(name, _)| name.to_owned());
                    Broken {
                        service: broken.service.or_else(own),
                        ..broken
                    }
                });
                let mark = if let Ok(true) = result {
                    Mark::Done
                } else {
                    Mark::NotDone
                };
                marks[n].send_replace(mark);
                if result.is_err() {
                    failed.send_replace(true);
                }
                result.map(|_| ())
            }
        })
        .collect();
    let mut first = Ok(());
    while let Some(result) = running.next().await {
        first = first.and(result);
    }
    first
}

/// `Ok(false)`: it was not begun.
async fn one(
    context: &Arc<Context>,
    step: &Step,
    marks: &[watch::Sender<Mark>],
    failed: &watch::Sender<bool>,
    casualties: &Casualties<'_>,
) -> Result<bool, Broken> {
    for before in &step.after {
        let mut mark = marks[*before].subscribe();
        let seen = mark.wait_for(|mark| *mark != Mark::Pending).await;
        if !seen.is_ok_and(|mark| *mark == Mark::Done) {
            return Ok(false);
        }
    }
    let mut stop = failed.subscribe();
    // Side by side: the first that fails is told, however long others take.
    let conditions = try_join_all(step.wait_for.iter().map(|needed| async {
        let told = |error: &ApiError| {
            let (_, dependant) = step.action.subject();
            format!("{dependant} was not started: its dependency {error}")
        };
        let reached = condition(context, needed, told, false);
        let reached = context.limit.within(reached).await;
        // It is not this step's service that failed.
        reached.map_err(|error| Broken {
            error,
            service: Some(needed.service.clone()),
        })
    }));
    tokio::select! {
        reached = conditions => reached.map(drop)?,
        _ = stop.wait_for(|failed| *failed) => return Ok(false),
    }
    if *stop.borrow() {
        return Ok(false);
    }
    let Some(action) = casualties.left_of(&step.action) else {
        return Ok(true);
    };
    if let Action::Watch {
        names,
        monitor_ms,
        delay_ms,
        ..
    } = &action
    {
        // It changes nothing, and may take long: it can be cut off.
        let watching = async {
            for (name, error) in rollout::watch(context, names, *monitor_ms).await {
                settle(context, casualties, &action, &name, error)?;
            }
            tokio::time::sleep(Duration::from_millis(*delay_ms)).await;
            Ok(true)
        };
        return tokio::select! {
            watched = context.limit.within(watching) => Ok(watched?),
            _ = stop.wait_for(|failed| *failed) => Ok(false),
        };
    }
    let (worker, job) = (Arc::clone(context), action.clone());
    let result = match tokio::spawn(async move { worker.act(&job).await }).await {
        Ok(result) => result,
        Err(error) => Err(ApiError::new(
            "internal",
            format!("a step of the plan broke: {error}"),
        )),
    };
    match result {
        Ok(()) => Ok(true),
        Err(error) => {
            let name = action.subject().1.to_owned();
            Ok(settle(context, casualties, &action, &name, error)?)
        }
    }
}

/// What the failure of a container leads to.
fn settle(
    context: &Context,
    casualties: &Casualties<'_>,
    action: &Action,
    name: &str,
    error: ApiError,
) -> Result<bool, ApiError> {
    if limit::is_over(&error) {
        return Err(error);
    }
    match casualties.add(action, name) {
        Verdict::Tolerated => {
            context
                .progress
                .warn(format!("the update goes on although {}", error.message));
            Ok(true)
        }
        Verdict::Fatal => Err(error),
    }
}

/// Waits for what containers depend on that the plan leaves as they are. Nothing is said
/// of what is reached already.
///
/// # Errors
/// The first that cannot be reached.
pub(super) async fn wait_for_kept(context: &Context, plan: &Plan) -> Result<(), Broken> {
    let all = plan.kept.iter().map(|kept| async move {
        let told = |error: &ApiError| {
            let name = &kept.name;
            format!("{name} was left as it is, but its dependency {error}")
        };
        let reached = condition(context, &kept.wait_for, told, true);
        let reached = context.limit.within(reached).await;
        reached.map_err(|error| Broken {
            error,
            service: Some(kept.wait_for.service.clone()),
        })
    });
    try_join_all(all).await.map(drop)
}

/// Waits for what a service must have reached; `told` makes a message of what it has not.
async fn condition(
    context: &Context,
    needed: &WaitFor,
    told: impl Fn(&ApiError) -> String,
    quiet: bool,
) -> Outcome {
    let project = &context.request.spec.name;
    let mut handles = context.daemon.handles(Some(project));
    handles.retain(|handle| {
        let name = handle.container().name;
        needed.containers.contains(&name) && !handle.record().standby
    });
    let told = &told;
    let all = handles.iter().map(|handle| async move {
        let at_once = || wait::reached(handle, needed.condition).now_or_never();
        if quiet && matches!(at_once(), Some(Ok(()))) {
            return Ok(());
        }
        let name = handle.container().name;
        if needed.condition == Condition::ServiceHealthy {
            context.progress.step("container", &name, "waiting");
        }
        match wait::reached(handle, needed.condition).await {
            Ok(()) => match needed.condition {
                Condition::ServiceHealthy => context.progress.finish("container", &name, "healthy"),
                Condition::ServiceCompletedSuccessfully => {
                    context.progress.finish("container", &name, "exited");
                }
                Condition::ServiceStarted => {}
            },
            Err(error) if needed.required => {
                let message = told(&error);
                return Err(ApiError { message, ..error });
            }
            Err(error) => context
                .progress
                .warn(format!("optional dependency: {error}")),
        }
        Ok(())
    });
    try_join_all(all).await.map(drop)
}

impl Context {
    async fn act(&self, action: &Action) -> Outcome {
        match action {
            // Done before the final plan was made, or by the caller.
            Action::Pull { .. } | Action::Build { .. } | Action::Watch { .. } => Ok(()),
            Action::CreateNetwork { network, .. } | Action::UpdateNetwork { network, .. } => {
                networks::network(&self.daemon, &self.progress, &self.request.spec, network)
            }
            Action::CreateVolume { volume, .. } => {
                create::volume(&self.daemon, &self.progress, &self.request.spec, volume)
            }
            Action::Create {
                service,
                number,
                name,
            } => self.create(service, *number, name, None, false),
            Action::CreateBeside {
                service,
                number,
                name,
            } => self.create(service, *number, name, None, true),
            Action::Switch {
                name, beside, id, ..
            } => {
                let (old, new) = (self.find(id)?, self.find(beside)?);
                replace::switch(&self.daemon, &old, &new, name).await?;
                self.progress.finish("container", name, "replaced");
                Ok(())
            }
            Action::Update {
                service, name, id, ..
            } => {
                self.progress.step("container", name, "updating");
                let spec = &self.request.spec.services[service];
                update::update(&self.daemon, &self.find(id)?, &self.request.spec, spec).await?;
                self.progress.finish("container", name, "updated");
                Ok(())
            }
            Action::Recreate {
                service,
                number,
                name,
                id,
            } => self.recreate(service, *number, name, id).await,
            Action::Start { service, name, .. } => self.start(service, name).await,
            Action::Stop { name, .. } => {
                down::stop(&self.progress, &self.find(name)?, self.grace()).await;
                Ok(())
            }
            Action::Remove { id, heir, .. } => {
                let old = self.find(id)?;
                let renew = heir.is_some() && self.request.renew_anon_volumes;
                if let Some(heir) = heir.as_ref().filter(|_| !renew) {
                    let inherited = create::Inherited::from(&old.record());
                    self.daemon.bequeath(inherited.anonymous.iter(), heir)?;
                }
                down::remove(&self.daemon, &self.progress, &old, self.grace(), renew).await
            }
        }
    }

    fn grace(&self) -> Option<u64> {
        let seconds = self.request.timeout;
        seconds.map(|seconds| seconds.saturating_mul(1000))
    }

    /// By id or name.
    fn find(&self, what: &str) -> Result<Arc<Handle>, ApiError> {
        let handles = self.daemon.handles(Some(&self.request.spec.name));
        handles
            .into_iter()
            .find(|handle| handle.id == what || handle.container().name == what)
            .ok_or_else(|| ApiError::new("gone", format!("container {what} was removed meanwhile")))
    }

    async fn recreate(&self, service: &str, number: u32, name: &str, id: &str) -> Outcome {
        let old = self.find(id)?;
        self.progress.step("container", name, "recreating");
        let mut inherited = create::Inherited::from(&old.record());
        let mut given_up = BTreeMap::new();
        if self.request.renew_anon_volumes {
            given_up = std::mem::take(&mut inherited.anonymous);
        }
        // Should the new container not come about, the next one of this name
        // gets them.
        self.daemon.bequeath(inherited.anonymous.iter(), name)?;
        down::remove(&self.daemon, &self.progress, &old, self.grace(), false).await?;
        let created = self.create(service, number, name, Some(&inherited), false);
        if created.is_err() {
            self.daemon.bequeath(given_up.iter(), name)?;
            return created;
        }
        let own = Some(self.request.spec.name.as_str());
        for volume in given_up.values() {
            match self.daemon.remove_unused_volume(volume, own).await {
                Ok(users) if users.is_empty() => {}
                Ok(users) => {
                    let users = users.join(", ");
                    let message = format!("volume {volume} stays: it is used by {users}");
                    self.progress.warn(message);
                }
                Err(error) => self.progress.warn(error.to_string()),
            }
        }
        Ok(())
    }

    fn create(
        &self,
        service: &str,
        number: u32,
        name: &str,
        inherited: Option<&create::Inherited>,
        standby: bool,
    ) -> Outcome {
        let stack = &self.request.spec;
        let spec = &stack.services[service];
        let reference = self.images.get(&spec.image).unwrap_or(&spec.image);
        let image = self.daemon.images.get(reference).map_err(images::error)?;
        let image = image.ok_or_else(|| {
            ApiError::new(
                "image_missing",
                format!("image {} was removed meanwhile", spec.image),
            )
        })?;
        let order = create::Order {
            stack,
            spec,
            number,
            name,
            image: &image,
            inherited,
            standby,
            one_off: None,
        };
        create::container(&self.daemon, &self.progress, &order)?;
        if self.request.no_start {
            self.progress.finish("container", name, "created");
        } else {
            self.progress.step("container", name, "created");
        }
        Ok(())
    }

    async fn start(&self, service: &str, name: &str) -> Outcome {
        let handle = self.find(name)?;
        let (daemon, spec) = (&self.daemon, &self.request.spec);
        pre_start::prepare(daemon, &self.progress, self.limit, spec, &handle).await?;
        self.progress.step("container", name, "starting");
        let started = async {
            let started = turn::while_wanted(&self.progress, wait::started(&handle)).await;
            started.map_err(|mut error| {
                error.message = format!("service {service}: {}", error.message);
                error
            })
        };
        self.limit.within(started).await?;
        self.progress.finish("container", name, "started");
        Ok(())
    }
}

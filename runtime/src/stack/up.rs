//! `up`: pull, look, plan, carry the plan out, and wait when asked to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::future::{join_all, try_join_all};
use stack_api::build::{Build, BuildSpec, BuildWhen};
use stack_api::event::ApiError;
use stack_api::history::Definition;
use stack_api::request::Up;
use stack_api::rollout::FailureAction;
use stack_api::spec::{PullPolicy, StackSpec};
use stack_planner::plan::{self, Action, Plan, Step};
use stack_vmm::AnyBackend;
use tokio::sync::OwnedMutexGuard;

use super::execute::{self, Context};
use super::images::{self, PullOrder, Wanted};
use super::limit::{self, Limit};
use super::observe::observe;
use super::{
    Outcome, build, feasible, history, networks, resources, rollback, rollout, turn, unresolved,
    wait, worked,
};
use crate::daemon::Daemon;
use crate::ledger::Table;
use crate::progress::Progress;
use crate::space::Lease;
use crate::volume;

/// What to bring about, and with which images.
#[derive(Debug, Clone, Default)]
pub(super) struct Order {
    /// The definition and how.
    pub request: Up,
    /// What image references lead to, where it is not what the store says.
    pub images: BTreeMap<String, String>,
}

/// `POST /v1/stacks/{name}/plan`: what `up` would do now.
///
/// # Errors
/// A service does not exist, or the state cannot be read.
pub fn plan(daemon: &Daemon, request: &Up) -> Result<Plan, ApiError> {
    let mut request = request.clone();
    unresolved::complete(daemon, &mut request.spec)?;
    let order = Order {
        request,
        ..Order::default()
    };
    plan_order(daemon, &order)
}

/// The plan for an order.
pub(super) fn plan_order(daemon: &Daemon, order: &Order) -> Result<Plan, ApiError> {
    can_be_scaled(&order.request)?;
    let mut observed = observe(daemon, &order.request.spec)?;
    observed.images.extend(order.images.clone());
    plan::plan(&order.request, &observed).map_err(|error| {
        let known: Vec<&str> = error.known.iter().map(String::as_str).collect();
        no_such_service(&error.name, &known)
    })
}

fn no_such_service(name: &str, known: &[&str]) -> ApiError {
    let error = ApiError::new("no_such_service", format!("no such service: {name}"));
    error.help(format!("there are: {}", known.join(", ")))
}

/// The file is checked by the planner; how many are asked for is not in it.
fn can_be_scaled(request: &Up) -> Outcome {
    let services = &request.spec.services;
    if let Some(unknown) = request
        .scale
        .keys()
        .find(|name| !services.contains_key(*name))
    {
        let known: Vec<&str> = services.keys().map(String::as_str).collect();
        return Err(no_such_service(unknown, &known));
    }
    for (name, service) in &request.spec.services {
        let count = request.scale.get(name).copied();
        let count = count.unwrap_or(service.replicas);
        if let (Some(own), 2..) = (&service.container_name, count) {
            let message = format!(
                "service {name} cannot have {count} containers: `container_name: {own}` is a \
                 name for one"
            );
            let help = "leave `container_name` out, or have one container";
            return Err(ApiError::new("container_name", message).help(help));
        }
    }
    Ok(())
}

/// `PUT /v1/stacks/{name}`.
///
/// # Errors
/// The first thing that cannot be done; what was done stays, so that the
/// next `up` goes on from there. Where the file asks for it, the stack goes
/// back to what it was.
pub async fn up(daemon: Arc<Daemon>, mut request: Up, progress: Progress) -> Outcome {
    let turn = turn::take(&daemon, &request.spec.name, &progress).await;
    unresolved::complete(&daemon, &mut request.spec)?;
    let order = Order {
        request,
        ..Order::default()
    };
    match order.request.orphans_only {
        true => remove_orphans(daemon, order, progress, turn).await,
        false => {
            let done = carry_out(Arc::clone(&daemon), order, "up", progress.clone(), turn).await;
            // Also when it took too long.
            note_emulation(&daemon, &progress);
            done
        }
    }
}

/// Says once in the daemon's life that VMs are emulated, when there are some.
fn note_emulation(daemon: &Daemon, progress: &Progress) {
    let AnyBackend::Qemu(qemu) = &daemon.backend else {
        return;
    };
    if let Some(why) = qemu.emulates()
        && !daemon.told_emulated.swap(true, Ordering::Relaxed)
    {
        progress.note(format!(
            "VMs are emulated, several times slower than with KVM: {why}"
        ));
    }
}

/// The stack itself stays what it is.
async fn remove_orphans(
    daemon: Arc<Daemon>,
    order: Order,
    progress: Progress,
    turn: OwnedMutexGuard<()>,
) -> Outcome {
    let plan = plan_order(&daemon, &order)?;
    let context = Context {
        daemon,
        progress,
        request: order.request,
        images: order.images,
        limit: Limit::default(),
        _turn: Arc::new(turn),
        _volumes: None,
    };
    let done = execute::execute(&context, &plan).await;
    done.map_err(|broken| broken.error)
}

/// Brings an order about, with the stack's lock. `by` is for the history.
pub(super) async fn carry_out(
    daemon: Arc<Daemon>,
    mut order: Order,
    by: &str,
    progress: Progress,
    turn: OwnedMutexGuard<()>,
) -> Outcome {
    // How many share a volume decides what it is.
    order.request.spec = history::scaled(&order.request);
    let project = order.request.spec.name.clone();
    // What there was, for the way back: what worked, not what was tried.
    let last: Option<Definition> = daemon.ledger.get(Table::Worked, &project)?;
    let (before, images_before) = match last.clone() {
        Some(last) => (Some(last.spec), last.images),
        None => (
            history::present(&daemon, &project)?,
            running_images(&daemon, &project),
        ),
    };
    let services = order.request.spec.services.values();
    let named = services.flat_map(|s| s.mounted_images().chain([&s.image]));
    let named: Vec<&String> = named.collect();
    let ids = order.images.values().chain(images_before.values());
    let _images = Lease::new(&daemon, named.into_iter().chain(ids)).await?;
    let definitions = before.iter().chain([&order.request.spec]);
    let volumes = volume::Lease::new(&daemon, &project, definitions)?;
    let spec = &order.request.spec;
    networks::check_external(&daemon, spec, spec.services.values())?;
    daemon.check_external_volumes(&order.request.spec)?;
    let (spec, grace) = (&order.request.spec, order.request.timeout);
    // What is refused is refused before anything is stopped.
    let mut plan = plan_order(&daemon, &order)?;
    resources::check_ports(&daemon, spec, &plan)?;
    networks::check_addresses(&daemon, spec, &plan)?;
    feasible::check_places(&daemon, spec, &plan)?;
    let selected: BTreeSet<String> = {
        let request = &order.request;
        plan::select(&spec.services, &request.services, !request.no_deps).unwrap_or_default()
    };
    let grace = grace.map(|seconds| seconds.saturating_mul(1000));
    if volume::share::with_replicas(&daemon, &progress, spec, &selected, &plan, grace).await? {
        // Another kind of volume allows another way.
        plan = plan_order(&daemon, &order)?;
    }
    // Building may take minutes: pulls go on beside it.
    let all = &order.request.builds;
    let may_build = order.request.build != Some(BuildWhen::Never);
    let (spare, needed) = pulls(&order.request, &plan)
        .into_iter()
        .partition(|(wanted, order)| {
            let is_built = builder(all, &wanted.reference).is_some();
            *order == PullOrder::Always && may_build && is_built
        });
    let pulled = images::ensure(&daemon, &progress, needed);
    let made = async {
        let mut services: Vec<String> = builds(&plan).map(|(name, _)| name.to_owned()).collect();
        services.extend(cannot_be_pulled(&daemon, &progress, spare, all).await?);
        let request = Build {
            project: project.clone(),
            builds: all.clone(),
            services,
            when: BuildWhen::Always,
        };
        build::build(Arc::clone(&daemon), request, progress.clone()).await
    };
    tokio::try_join!(async { pulled.await.map(drop) }, made)?;
    let is_pull = |step: &Step| matches!(step.action, Action::Pull { .. } | Action::Build { .. });
    if plan.steps.iter().any(is_pull) {
        // It may have brought another image: only now is the plan final.
        order.request.pull = Some(PullPolicy::Missing);
        order.request.build = Some(BuildWhen::Never);
        plan = plan_order(&daemon, &order)?;
    }
    let Order { request, images } = order;
    resources::check(&daemon, &request, &plan, &progress)?;
    feasible::check(&daemon, &request.spec, &images, &plan)?;
    daemon.ledger.put_stack(&project, &request.spec)?;
    daemon.label_volumes(&request.spec, &progress).await?;
    if !plan.orphans.is_empty() && !request.ignore_orphans {
        progress.warn(format!(
            "found orphan containers ({}) for this project: if you removed or renamed these \
             services, run this command with --remove-orphans to clean up",
            plan.orphans.join(", ")
        ));
    }
    for note in &plan.notes {
        progress.warn(note.clone());
    }
    if !plan.unchanged.is_empty() {
        let replicas = daemon.replicas(&project);
        for name in &plan.unchanged {
            let known = replicas
                .iter()
                .find(|handle| handle.container().name == *name);
            let status = known.map_or("running", |handle| wait::status(&handle.container()));
            progress.finish("container", name, status);
        }
    }
    let context = Context {
        daemon,
        progress,
        limit: Limit::new(request.wait_timeout.filter(|_| request.wait)),
        request,
        images,
        _turn: Arc::new(turn),
        _volumes: Some(Arc::new(volumes)),
    };
    let late = |error| {
        let handles = context.daemon.replicas(&project);
        let chosen = handles
            .iter()
            .filter(|handle| selected.contains(&handle.container().service));
        limit::told(error, Some(&context.request.spec), chosen)
    };
    let carried_out = async {
        execute::execute(&context, &plan).await?;
        execute::wait_for_kept(&context, &plan).await
    };
    if let Err(broken) = carried_out.await {
        if limit::is_over(&broken.error) {
            return Err(late(broken.error));
        }
        let service = broken.service.unwrap_or_default();
        let guard = plan.rollouts.get(&service);
        let back = guard.is_some_and(|guard| guard.failure_action == FailureAction::Rollback);
        return Err(match before.filter(|_| back) {
            Some(before) => {
                let was = (&before, &images_before);
                go_back(&context, was, &service, broken.error).await
            }
            None => broken.error,
        });
    }
    if !context.request.no_start {
        let worked = Definition {
            spec: worked::definition(&context, before.as_ref())?,
            images: running_images(&context.daemon, &project),
            ..Definition::default()
        };
        if last.as_ref() != Some(&worked) {
            let ledger = &context.daemon.ledger;
            ledger.put(Table::Worked, &project, &project, &worked)?;
        }
    }
    if context.request.wait {
        wait_all(&context, &selected).await.map_err(late)?;
    }
    history::note(&context, by)
}

/// Image ids of the containers by reference.
fn running_images(daemon: &Daemon, project: &str) -> BTreeMap<String, String> {
    let handles = daemon.replicas(project);
    let containers = handles.iter().map(|handle| handle.container());
    containers.map(|c| (c.image, c.image_id)).collect()
}

/// Takes an update back; gives the error that tells of both.
async fn go_back(
    context: &Context,
    (before, images_before): (&StackSpec, &BTreeMap<String, String>),
    service: &str,
    mut error: ApiError,
) -> ApiError {
    error.help = Some("correct the file, then `stack up` tries again".to_owned());
    let daemon = &context.daemon;
    context.progress.warn(format!(
        "{}: the stack goes back to what it was",
        error.message
    ));
    // Its container goes, and its log with it.
    for line in rollout::last_words(context, service).await {
        context.progress.warn(line);
    }
    let restored = async {
        let mut request = rollback::back(before, Some(&context.request.spec));
        request.timeout = context.request.timeout;
        let kept = |name: &&String| before.services.contains_key(*name);
        request.services = context
            .request
            .services
            .iter()
            .filter(kept)
            .cloned()
            .collect();
        let images = rollback::pins(daemon, images_before, &context.progress)?;
        let order = Order { request, images };
        let plan = plan_order(daemon, &order)?;
        let context = Context {
            request: order.request,
            images: order.images,
            limit: Limit::default(),
            ..context.clone()
        };
        execute::execute(&context, &plan)
            .await
            .map_err(|broken| broken.error)?;
        daemon.ledger.put_stack(&before.name, before)?;
        daemon.label_volumes(before, &context.progress).await
    };
    match restored.await {
        Ok(()) => ApiError {
            message: format!(
                "{}; the stack was rolled back to what it was",
                error.message
            ),
            ..error
        },
        Err(second) => ApiError {
            message: format!("{}; rolling back failed, too: {second}", error.message),
            ..error
        },
    }
}

/// Services that are built, with their images.
fn builds(plan: &Plan) -> impl Iterator<Item = (&str, &str)> {
    plan.steps.iter().filter_map(|step| match &step.action {
        Action::Build { service, image } => Some((service.as_str(), image.as_str())),
        _ => None,
    })
}

/// The service that builds an image.
fn builder<'a>(builds: &'a BTreeMap<String, BuildSpec>, image: &str) -> Option<&'a String> {
    let mut all = builds.iter();
    all.find(|(_, build)| build.image == image)
        .map(|(name, _)| name)
}

/// Pulls images that can be built as well; gives the services that build those
/// that are not there in the end.
async fn cannot_be_pulled(
    daemon: &Arc<Daemon>,
    progress: &Progress,
    wanted: BTreeSet<(Wanted, PullOrder)>,
    builds: &BTreeMap<String, BuildSpec>,
) -> Result<Vec<String>, ApiError> {
    let mut left = Vec::new();
    let pulls = wanted.into_iter().map(|(wanted, order)| async move {
        let image = wanted.reference.clone();
        let pulled = images::ensure(daemon, progress, [(wanted, order)].into()).await;
        (image, pulled.err())
    });
    for (image, error) in join_all(pulls).await {
        let Some(error) = error else {
            continue;
        };
        progress.warn(error.to_string());
        if daemon.images.get(&image).map_err(images::error)?.is_none() {
            left.extend(builder(builds, &image).cloned());
        }
    }
    Ok(left)
}

fn pulls(request: &Up, plan: &Plan) -> BTreeSet<(Wanted, PullOrder)> {
    let named = |reference: &String, order| {
        let services = request.spec.services.values();
        let platform = services
            .filter(|service| service.image == *reference)
            .find_map(|service| service.platform.clone());
        (
            Wanted {
                reference: reference.clone(),
                platform,
            },
            order,
        )
    };
    let mut wanted: BTreeSet<_> = plan
        .steps
        .iter()
        .filter_map(|step| match &step.action {
            Action::Pull { image } => Some(named(image, PullOrder::Always)),
            _ => None,
        })
        .collect();
    // Those that are there, and those that must be: `never` is checked too.
    for step in &plan.steps {
        if let Action::Create { service, .. }
        | Action::CreateBeside { service, .. }
        | Action::Recreate { service, .. } = &step.action
        {
            let service = &request.spec.services[service];
            let hooks = service.hooks.pre_start.iter();
            let hooks = hooks.filter_map(|hook| hook.image.as_ref());
            for own in hooks.chain(service.mounted_images()) {
                let is_built = builds(plan).any(|(_, built)| built == own);
                if !is_built && !wanted.iter().any(|(known, _)| known.reference == *own) {
                    wanted.insert(named(own, PullOrder::Missing));
                }
            }
            let image = &service.image;
            if builds(plan).any(|(_, built)| built == image) {
                continue;
            }
            if !wanted.iter().any(|(known, _)| known.reference == *image) {
                wanted.insert(named(image, PullOrder::Never));
            }
        }
    }
    wanted
}

async fn wait_all(context: &Context, selected: &BTreeSet<String>) -> Outcome {
    let spec = &context.request.spec;
    let handles = context.daemon.replicas(&spec.name);
    let chosen = handles
        .iter()
        .filter(|handle| selected.contains(&handle.container().service));
    let all = try_join_all(chosen.map(|handle| async {
        let name = handle.container().name;
        context.progress.step("container", &name, "waiting");
        wait::ready(Some(spec), handle).await?;
        let status = wait::status(&handle.container());
        context.progress.finish("container", &name, status);
        Ok(())
    }));
    context.limit.within(all).await.map(drop)
}

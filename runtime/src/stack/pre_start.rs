//! `pre_start`: commands in containers of their own, which have ended well
//! before a container of the service is started for the first time. They are
//! run once for all containers that are made from the same definition and
//! image, unless they ask for more.

use std::collections::BTreeSet;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use stack_api::event::ApiError;
use stack_api::hook::PreStart;
use stack_api::spec::{Condition, HealthCheckSpec, Restart, ServiceSpec, StackSpec};

use super::images::{self, PullOrder, Wanted};
use super::limit::Limit;
use super::{Outcome, create, down, turn, wait};
use crate::container::{Handle, Record};
use crate::daemon::Daemon;
use crate::progress::Progress;

/// Runs what has not been run for this container. The caller holds the
/// stack's lock.
///
/// # Errors
/// A hook cannot be run, or ends with another code than 0: the container must
/// not be started.
pub(super) async fn prepare(
    daemon: &Arc<Daemon>,
    progress: &Progress,
    limit: Limit,
    stack: &StackSpec,
    handle: &Arc<Handle>,
) -> Outcome {
    let record = handle.record();
    let hooks = &record.spec.hooks.pre_start;
    if hooks.is_empty() || record.prepared.is_some() {
        return Ok(());
    }
    let service = &record.container.service;
    // Containers of one service are started side by side.
    let turn = daemon.operation(&format!("{}/{service}", stack.name));
    let _one = turn.lock().await;
    let key = key(&record);
    let done = daemon.replicas(&stack.name).iter().any(|other| {
        let other = other.record();
        other.container.service == *service && other.prepared.as_deref() == Some(&key)
    });
    for (n, hook) in hooks.iter().enumerate() {
        if hook.per_replica || !done {
            let name = match hook.per_replica {
                true => format!("{}-pre_start-{n}", record.container.name),
                false => format!("{}-{service}-pre_start-{n}", stack.name),
            };
            one(daemon, progress, limit, stack, &record.spec, hook, &name).await?;
        }
    }
    handle.update(|record| record.prepared = Some(key));
    Ok(())
}

/// The same for containers with the same definition and image.
fn key(record: &Record) -> String {
    let mut hasher = Sha256::new();
    let hooks = serde_json::to_vec(&record.spec.hooks.pre_start).unwrap_or_default();
    hasher.update(hooks);
    hasher.update(&record.container.config_hash);
    hasher.update(&record.container.image_id);
    let digest = hasher.finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn one(
    daemon: &Arc<Daemon>,
    progress: &Progress,
    limit: Limit,
    stack: &StackSpec,
    service: &ServiceSpec,
    hook: &PreStart,
    name: &str,
) -> Outcome {
    // One that failed, or was cut off, has been left to be looked at.
    let handles = daemon.handles(Some(&stack.name));
    if let Some(old) = handles.iter().find(|old| old.container().name == name) {
        down::remove(daemon, progress, old, Some(0), true).await?;
    }
    let spec = spec(service, hook);
    let wanted = Wanted {
        reference: spec.image.clone(),
        platform: spec.platform.clone(),
    };
    let wanted = BTreeSet::from([(wanted, PullOrder::Missing)]);
    let pulled = images::ensure(daemon, progress, wanted);
    let mut images = turn::while_wanted(progress, pulled).await?;
    let image = images.remove(&spec.image).ok_or_else(|| {
        let message = format!("image {} was removed meanwhile", spec.image);
        ApiError::new("image_missing", message)
    })?;
    let order = create::Order {
        stack,
        spec: &spec,
        number: 1,
        name,
        image: &image,
        inherited: None,
        standby: false,
        one_off: Some(create::OneOff {
            named: false,
            remove: false,
            purpose: create::Purpose::Hook,
        }),
    };
    let handle = create::container(daemon, progress, &order)?;
    progress.step("container", name, "running");
    handle.start();
    let ended = wait::reached(&handle, Condition::ServiceCompletedSuccessfully);
    if let Err(error) = limit.within(turn::while_wanted(progress, ended)).await {
        let container = handle.container();
        let why = match (&container.error, container.exit_code) {
            (Some(why), _) => format!("failed: {why}"),
            (None, Some(code)) => format!("ended with exit code {code}"),
            (None, None) => {
                // Whoever starts the service next begins with another one.
                handle.stop(None);
                return Err(error);
            }
        };
        let command = spec.command.unwrap_or_default().join(" ");
        let message = format!(
            "service {}: its pre_start hook `{command}` {why} (container {name})",
            service.name
        );
        let help = format!("`stack logs {name}` shows what it said");
        return Err(ApiError::new(&error.code, message).help(help));
    }
    progress.finish("container", name, "exited");
    down::remove(daemon, progress, &handle, Some(0), true).await
}

/// The service as the hook has it.
fn spec(service: &ServiceSpec, hook: &PreStart) -> ServiceSpec {
    let run = &hook.hook;
    let mut spec = service.clone();
    if let Some(image) = &hook.image {
        spec.image.clone_from(image);
        spec.entrypoint = None;
        spec.working_dir = None;
    }
    // Without a command it is the image's, not the service's.
    spec.command = (!run.command.is_empty()).then(|| run.command.clone());
    for entry in &run.environment {
        match entry.split_once('=') {
            Some((name, value)) => {
                spec.environment_unset.remove(name);
                spec.environment.insert(name.to_owned(), value.to_owned());
            }
            None => {
                spec.environment.remove(entry);
                spec.environment_unset.insert(entry.clone());
            }
        }
    }
    spec.user = run.user.clone().or(spec.user);
    spec.working_dir = run.working_dir.clone().or(spec.working_dir);
    spec.privileged |= run.privileged;
    spec.container_name = None;
    spec.replicas = 1;
    spec.ports = Vec::new();
    spec.sockets = Vec::new();
    spec.links = Vec::new();
    spec.hooks = stack_api::hook::Hooks::default();
    spec.restart = Restart::No;
    spec.healthcheck = Some(HealthCheckSpec {
        disable: true,
        ..HealthCheckSpec::default()
    });
    (spec.tty, spec.stdin_open) = (false, false);
    for place in spec.networks.values_mut() {
        // Those are the container's.
        (place.ipv4, place.ipv6, place.mac) = (None, None, None);
    }
    spec
}

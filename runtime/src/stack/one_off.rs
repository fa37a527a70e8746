//! `run`: a container beside the replicas of a service.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::try_join_all;
use stack_api::event::ApiError;
use stack_api::run::Run;
use stack_api::spec::{ServiceSpec, StackSpec};

use super::images::{self, PullOrder, Wanted};
use super::{Outcome, create, down, networks, resources, turn, unresolved, wait};
use crate::container::Handle;
use crate::daemon::Daemon;
use crate::progress::Progress;
use crate::space::Lease;
use crate::volume::{self, share};

/// `POST /v1/stacks/{name}/run`.
///
/// # Errors
/// The image cannot be had, a dependency does not come up, or the name is
/// taken.
pub async fn run(daemon: Arc<Daemon>, mut request: Run, progress: Progress) -> Outcome {
    unresolved::complete(&daemon, &mut request.spec)?;
    let Run { spec, service, .. } = &request;
    resources::may_publish(&daemon, [service])?;
    let named = service.mounted_images().chain([&service.image]);
    let _image = Lease::new(&daemon, named).await?;
    let _volumes = volume::Lease::new(&daemon, &spec.name, [spec])?;
    let wanted = Wanted {
        reference: service.image.clone(),
        platform: service.platform.clone(),
    };
    let order = PullOrder::from(request.pull.unwrap_or(service.pull_policy));
    let mut wanted = BTreeSet::from([(wanted, order)]);
    wanted.extend(service.mounted_images().map(|mounted| {
        let reference = mounted.clone();
        let platform = None;
        (
            Wanted {
                reference,
                platform,
            },
            PullOrder::Missing,
        )
    }));
    let mut images = images::ensure(&daemon, &progress, wanted).await?;
    let image = images.remove(&service.image).ok_or_else(|| {
        let message = format!("image {} was removed meanwhile", service.image);
        ApiError::new("image_missing", message)
    })?;
    // The name may lead elsewhere before the container is made.
    let _kept = Lease::new(&daemon, std::iter::once(&image.id)).await?;
    let there = daemon.images.get(&image.id).map_err(images::error)?;
    if there.is_none() {
        let message = format!("image {} was removed meanwhile", service.image);
        return Err(ApiError::new("image_missing", message).help("try again"));
    }
    if !request.no_deps {
        dependencies(&daemon.replicas(&spec.name), service, &progress).await?;
    }
    if !request.detach {
        // Without the stack's lock, for it may take long.
        share::all_vacated(&daemon, &progress, spec, service).await?;
    }
    let _one = turn::take(&daemon, &spec.name, &progress).await;
    share::with_one_off(&daemon, &progress, spec, service, request.detach).await?;
    networks::check_external(&daemon, spec, std::iter::once(service))?;
    // One that another stack has made is used as it is.
    let known: BTreeSet<String> = daemon
        .all_networks()?
        .into_iter()
        .map(|network| network.name)
        .collect();
    for key in service.networks.keys() {
        let wanted = spec.networks.get(key);
        if wanted.is_some_and(|wanted| !known.contains(&wanted.name)) {
            networks::network(&daemon, &progress, spec, key)?;
        }
    }
    // The stack is known from now on, if it was not.
    if daemon.ledger.stack::<StackSpec>(&spec.name)?.is_none() {
        daemon.ledger.put_stack(&spec.name, spec)?;
    }
    let order = create::Order {
        stack: spec,
        spec: service,
        number: 1,
        name: &request.name,
        image: &image,
        inherited: None,
        standby: false,
        one_off: Some(create::OneOff {
            named: request.use_aliases,
            remove: request.remove,
            purpose: match request.detach {
                true => create::Purpose::Background,
                false => create::Purpose::Command,
            },
        }),
    };
    create::container(&daemon, &progress, &order)?;
    progress.finish("container", &request.name, "created");
    Ok(())
}

/// Waits until what the service depends on is as far as it must be. The first that
/// cannot be is told at once.
pub(super) async fn dependencies(
    handles: impl IntoIterator<Item = &Arc<Handle>>,
    service: &ServiceSpec,
    progress: &Progress,
) -> Outcome {
    let needed = handles.into_iter().filter_map(|handle| {
        let dependency = service.depends_on.get(&handle.container().service)?;
        Some((handle, dependency))
    });
    let all = needed.map(|(handle, dependency)| async move {
        match wait::reached(handle, dependency.condition).await {
            Err(error) if dependency.required => {
                let message = format!("its dependency {error}");
                Err(ApiError { message, ..error })
            }
            Err(error) => {
                progress.warn(format!("optional dependency: {error}"));
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    });
    try_join_all(all).await.map(drop)
}

/// Removes a container that has ended, once nobody reads its output any more.
pub async fn reap(daemon: Arc<Daemon>, handle: Arc<Handle>) {
    let mut attached = handle.attached.subscribe();
    let _ = attached.wait_for(|clients| *clients == 0).await;
    let turn = daemon.operation(&handle.container().project);
    let _one = turn.lock().await;
    // Somebody may have removed it, or started it again.
    if *handle.ended.borrow() || handle.record().wanted {
        return;
    }
    let (progress, _) = Progress::new();
    if let Err(error) = down::remove(&daemon, &progress, &handle, None, true).await {
        tracing::warn!(%error, container = handle.id, "not removed");
    }
}

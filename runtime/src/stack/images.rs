//! Getting images, several at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::stream::{FuturesUnordered, StreamExt, TryStreamExt};
use stack_api::event::{ApiError, LayerPhase};
use stack_api::image::Push;
use stack_api::request::{Load, Pull, Resolve, Resolved};
use stack_api::spec::PullPolicy;
use stack_images::{Image, PullOptions};

use super::Outcome;
use crate::daemon::Daemon;
use crate::progress::Progress;

/// An image wanted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wanted {
    pub reference: String,
    pub platform: Option<String>,
}

/// Gets the images; the first failure ends it.
pub(super) async fn ensure(
    daemon: &Arc<Daemon>,
    progress: &Progress,
    wanted: BTreeSet<(Wanted, PullOrder)>,
) -> Result<BTreeMap<String, Image>, ApiError> {
    let mut running: FuturesUnordered<_> = wanted
        .into_iter()
        .map(|(wanted, order)| async move {
            let image = one(daemon, progress, &wanted, order).await?;
            Ok::<_, ApiError>((wanted.reference, image))
        })
        .collect();
    let mut images = BTreeMap::new();
    while let Some(result) = running.next().await {
        let (reference, image) = result?;
        images.insert(reference, image);
    }
    Ok(images)
}

/// A pull policy that sorts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PullOrder {
    Always,
    Missing,
    Every(u64),
    Never,
}

impl From<PullPolicy> for PullOrder {
    fn from(policy: PullPolicy) -> PullOrder {
        match policy {
            PullPolicy::Always => PullOrder::Always,
            PullPolicy::Missing => PullOrder::Missing,
            PullPolicy::Never => PullOrder::Never,
            PullPolicy::Every(seconds) => PullOrder::Every(seconds),
        }
    }
}

/// The image that is here, unless it is for another platform than is asked for.
///
/// # Errors
/// The reference is not good, or the store cannot be read.
pub(super) fn fitting(
    daemon: &Daemon,
    reference: &str,
    platform: Option<&str>,
) -> Result<Option<Image>, ApiError> {
    let image = daemon.images.get(reference).map_err(error)?;
    let fits = |image: &Image| {
        platform.is_none_or(|wanted| stack_images::does_fit(wanted, &image.platform))
    };
    Ok(image.filter(fits))
}

/// Has its registry to be asked again, although it is here?
fn is_old(daemon: &Daemon, reference: &str, order: PullOrder) -> bool {
    let PullOrder::Every(seconds) = order else {
        return false;
    };
    let asked = daemon.images.asked(reference);
    let ago = asked.and_then(|asked| asked.elapsed().ok());
    ago.is_none_or(|ago| ago.as_secs() >= seconds)
}

async fn one(
    daemon: &Arc<Daemon>,
    progress: &Progress,
    wanted: &Wanted,
    order: PullOrder,
) -> Result<Image, ApiError> {
    let name = &wanted.reference;
    if order != PullOrder::Always
        && let Some(image) = fitting(daemon, name, wanted.platform.as_deref())?
        && !is_old(daemon, name, order)
    {
        return Ok(image);
    }
    if order == PullOrder::Never {
        let of = wanted.platform.as_deref();
        let of = of.map_or_else(String::new, |platform| format!(" for {platform}"));
        return Err(ApiError::new(
            "image_missing",
            format!("image {name} is not on this machine{of}"),
        )
        .help("its pull_policy is never: pull it first with `stack pull`"));
    }
    progress.step("image", name, "pulling");
    let options = PullOptions {
        platform: wanted.platform.clone(),
        ..PullOptions::from_env()
    };
    let image = daemon
        .images
        .pull(name, &options, report(progress))
        .await
        .map_err(error)?;
    progress.finish("image", name, "pulled");
    Ok(image)
}

/// Layers' progress as events.
pub(crate) fn report(
    progress: &Progress,
) -> impl Fn(stack_images::Progress) + Send + Sync + 'static {
    let progress = progress.clone();
    move |stack_images::Progress::Layer {
              reference,
              digest,
              phase,
              done,
              total,
          }| {
        let phase = match phase {
            stack_images::Phase::Downloading => LayerPhase::Downloading,
            stack_images::Phase::Extracting => LayerPhase::Extracting,
            stack_images::Phase::Uploading => LayerPhase::Uploading,
            stack_images::Phase::Done => LayerPhase::Done,
            stack_images::Phase::Exists => LayerPhase::Exists,
        };
        progress.layer(&reference, &digest, phase, done, total);
    }
}

/// Registries that are asked at a time.
const PARALLEL: usize = 8;

/// `POST /v1/images/resolve`.
///
/// # Errors
/// A reference is not good, or its registry does not have it.
pub async fn resolve(request: Resolve) -> Result<Vec<Resolved>, ApiError> {
    let options = PullOptions::from_env();
    let asked = request.images.into_iter().map(|reference| {
        let options = &options;
        async move {
            let found = stack_images::resolve(&reference, options).await;
            let found = found.map_err(error)?;
            Ok(Resolved {
                reference,
                name: found.name,
                digest: found.digest,
            })
        }
    });
    // In the order in which they were asked for.
    let asked = futures_util::stream::iter(asked).buffered(PARALLEL);
    asked.try_collect().await
}

/// `POST /v1/images/load`.
///
/// # Errors
/// The archive cannot be read, or is no image.
pub async fn load(daemon: Arc<Daemon>, request: Load, progress: Progress) -> Outcome {
    let loaded = daemon
        .images
        .load(&request.path, report(&progress))
        .await
        .map_err(error)?;
    for image in loaded {
        progress.finish("image", &image.reference, "loaded");
    }
    Ok(())
}

pub(crate) fn error(error: stack_images::Error) -> ApiError {
    let (code, help) = (error.code(), error.help());
    let mut out = ApiError::new(code, error.to_string());
    out.help = help;
    out
}

/// `POST /v1/images/pull`.
///
/// # Errors
/// An image cannot be had.
pub async fn pull(daemon: Arc<Daemon>, request: Pull, progress: Progress) -> Outcome {
    let mut failure = None;
    let mut running: FuturesUnordered<_> = request
        .images
        .iter()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .map(|reference| {
            let wanted = Wanted {
                reference: reference.clone(),
                platform: request.platforms.get(reference).cloned(),
            };
            let (daemon, progress) = (&daemon, &progress);
            let policy = match request.kept.contains(reference) {
                true => PullOrder::Missing,
                false => request.policy.into(),
            };
            async move {
                let pulled = one(daemon, progress, &wanted, policy).await;
                pulled.map_err(|error| (reference, error))
            }
        })
        .collect();
    while let Some(result) = running.next().await {
        if let Err((reference, error)) = result {
            if request.buildable.contains(reference) {
                progress.warn(format!("{error}: it can be built with `stack build`"));
            } else if request.ignore_failures {
                progress.warn(error.to_string());
            } else {
                and_tell(&mut failure, error, &progress);
            }
        }
    }
    failure.map_or(Ok(()), Err)
}

/// The first failure is the answer; of each other one it is told at once.
fn and_tell(first: &mut Option<ApiError>, error: ApiError, progress: &Progress) {
    match first {
        None => *first = Some(error),
        Some(_) => progress.warn(error.to_string()),
    }
}

/// Images that are pushed at a time.
const PUSHES: usize = 2;

/// `POST /v1/images/push`.
///
/// # Errors
/// A registry does not take one; the others are pushed nevertheless.
pub async fn push(daemon: Arc<Daemon>, request: Push, progress: Progress) -> Outcome {
    let options = PullOptions::from_env();
    let images: BTreeSet<String> = request.images.into_iter().collect();
    let pushes = images.into_iter().map(|name| {
        let (daemon, progress) = (Arc::clone(&daemon), progress.clone());
        let options = options.clone();
        async move {
            let name = name.as_str();
            progress.step("image", name, "pushing");
            let pushed = daemon.images.push(name, &options, report(&progress)).await;
            let digest = pushed.map_err(error)?;
            progress.detail("image", name, "pushing", digest);
            progress.finish("image", name, "pushed");
            Ok::<_, ApiError>(())
        }
    });
    let mut running = futures_util::stream::iter(pushes).buffer_unordered(PUSHES);
    let mut failure = None;
    while let Some(result) = running.next().await {
        match result {
            Ok(()) => {}
            Err(error) if request.ignore_failures => progress.warn(error.to_string()),
            Err(error) => and_tell(&mut failure, error, &progress),
        }
    }
    failure.map_or(Ok(()), Err)
}

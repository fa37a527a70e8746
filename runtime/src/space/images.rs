//! Images: which there are, and which can go.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use stack_api::event::ApiError;
use stack_api::history::Definition;
use stack_api::image::{Details, Prune, Remove, Removed};
use stack_images::Error;

use crate::container::Record;
use crate::daemon::Daemon;
use crate::stack::image_error;

/// How long somebody who adds an image is waited for.
const PATIENCE: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(200);

/// Names of the containers that were made from each image, or mount it, by its id.
fn containers(daemon: &Daemon) -> BTreeMap<String, Vec<String>> {
    let mut users: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for handle in daemon.handles(None) {
        let Record {
            container, images, ..
        } = handle.record();
        let ids: BTreeSet<String> = images.into_values().chain([container.image_id]).collect();
        for id in ids {
            users.entry(id).or_default().push(container.name.clone());
        }
    }
    users
}

/// Files of the store that containers have as disks: all that there are, if some
/// containers are not known.
pub(crate) fn disks(daemon: &Daemon) -> BTreeSet<PathBuf> {
    let handles = daemon.handles(None);
    let disks = handles
        .iter()
        .flat_map(|handle| handle.record().blueprint.disks);
    let mut disks: BTreeSet<PathBuf> = disks.map(|disk| disk.path).collect();
    if !daemon.knows_all() {
        for dir in ["layers", "chains"] {
            let entries = std::fs::read_dir(daemon.paths.images().join(dir));
            let files = entries.into_iter().flatten().flatten();
            disks.extend(files.map(|file| file.path()));
        }
    }
    disks
}

/// All images.
///
/// # Errors
/// The store cannot be read.
pub fn details(daemon: &Daemon) -> Result<Vec<Details>, ApiError> {
    let users = containers(daemon);
    let images = daemon.images.details().map_err(image_error)?;
    let shown = images.into_iter().map(|image| Details {
        containers: users.get(&image.id).cloned().unwrap_or_default(),
        reference: image.reference,
        nameless: image.nameless,
        id: image.id,
        digest: image.digest,
        size: image.size,
        unique: image.unique,
        platform: image.platform,
        stored_ms: image.stored_ms,
        made: image.made,
        labels: image.config.labels,
        config: image.raw,
    });
    Ok(shown.collect())
}

/// Forgets what `choose` says, as soon as nobody adds images.
async fn forget(
    daemon: &Arc<Daemon>,
    choose: impl Fn(&[stack_images::Details]) -> Result<Vec<String>, ApiError> + Send + Sync + 'static,
) -> Result<Removed, ApiError> {
    let began = tokio::time::Instant::now();
    let choose = Arc::new(choose);
    loop {
        let (own, choose) = (Arc::clone(daemon), Arc::clone(&choose));
        let work = tokio::task::spawn_blocking(move || {
            let mut refusal = None;
            let chosen = |all: &[stack_images::Details]| {
                choose(all).map_err(|error| {
                    refusal = Some(error);
                    Error::Busy
                })
            };
            let done = own.images.forget(chosen, &disks(&own));
            match (done, refusal) {
                (_, Some(refusal)) => Err(Some(refusal)),
                (Err(Error::Busy), None) => Err(None),
                (Err(error), None) => Err(Some(image_error(error))),
                (Ok(done), None) => Ok(done),
            }
        });
        let done = work
            .await
            .map_err(|error| ApiError::new("internal", error.to_string()))?;
        match done {
            Ok((gone, freed)) => {
                let mut removed = Removed {
                    bytes: freed.bytes,
                    ..Removed::default()
                };
                for image in gone {
                    if image.reference != image.id {
                        removed.untagged.push(image.reference);
                    }
                    if image.last {
                        removed.deleted.push(image.id);
                    }
                }
                return Ok(removed);
            }
            Err(Some(error)) => return Err(error),
            Err(None) if began.elapsed() > PATIENCE => return Err(image_error(Error::Busy)),
            Err(None) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// `POST /v1/images/remove`.
///
/// # Errors
/// One is not there or in use: then none goes.
pub async fn remove(daemon: &Arc<Daemon>, order: Remove) -> Result<Removed, ApiError> {
    let own = Arc::clone(daemon);
    // An image that containers need keeps its files, and gets no name back.
    let kept = Arc::new(std::sync::Mutex::new(Vec::<(String, String)>::new()));
    let keep = Arc::clone(&kept);
    let mut removed = forget(daemon, move |all| {
        let users = containers(&own);
        let mut chosen: Vec<String> = Vec::new();
        let mut nameless = Vec::new();
        for word in &order.images {
            let found = own.images.find_image(word).map_err(image_error)?;
            let Some(image) = all.iter().find(|image| image.reference == found) else {
                continue;
            };
            // By its id, as long as it has several names, it is not clear.
            let names: Vec<&stack_images::Details> =
                all.iter().filter(|other| other.id == image.id).collect();
            let digits = word.strip_prefix("sha256:").unwrap_or(word);
            let by_id = image.id["sha256:".len()..].starts_with(digits);
            let named = names.iter().filter(|image| !image.nameless).count();
            if by_id && named > 1 && !order.force {
                let names: Vec<&str> = names.iter().map(|i| i.reference.as_str()).collect();
                let message = format!("image {word} has several names: {}", names.join(", "));
                return Err(ApiError::new("image_in_use", message)
                    .help("remove a name, or all of them with --force"));
            }
            let going: Vec<String> = match by_id {
                true => names.iter().map(|image| image.reference.clone()).collect(),
                false => vec![image.reference.clone()],
            };
            if going
                .iter()
                .any(|name| own.leases.holds(name) || own.leases.holds(&image.id))
            {
                return Err(ApiError::new(
                    "image_in_use",
                    format!("image {word} is about to be used by an operation"),
                )
                .help("try again when it is over"));
            }
            let last = names
                .iter()
                .all(|image| going.contains(&image.reference) || chosen.contains(&image.reference));
            if let Some(containers) = users.get(&image.id).filter(|_| last) {
                if !order.force || image.nameless && going.len() == 1 {
                    let message = format!(
                        "image {word} is in use by container {}",
                        containers.join(", ")
                    );
                    let error = ApiError::new("image_in_use", message);
                    return Err(match image.nameless {
                        true => error.help("remove these containers first, with `stack down`"),
                        false => error.help(
                            "remove these containers first, with `stack down`; --force takes only \
                             the name away",
                        ),
                    });
                }
                nameless.push((image.reference.clone(), image.id.clone()));
            }
            chosen.extend(going);
        }
        // The image must not be unknown between the two names.
        for (name, id) in &nameless {
            own.images.keep_by_id(name).map_err(image_error)?;
            chosen.retain(|chosen| chosen != id);
        }
        *keep
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = nameless;
        Ok(chosen)
    })
    .await?;
    let kept = kept
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    removed
        .deleted
        .retain(|id| !kept.iter().any(|(_, kept)| kept == id));
    Ok(removed)
}

/// `POST /v1/images/prune`.
///
/// # Errors
/// The store cannot be written.
pub async fn prune(daemon: &Arc<Daemon>, order: &Prune) -> Result<Removed, ApiError> {
    if order.dry_run {
        return would_prune(daemon, order, &BTreeSet::new());
    }
    let (own, order) = (Arc::clone(daemon), order.clone());
    let none = BTreeSet::new();
    forget(daemon, move |all| unused(&own, all, &order, &none)).await
}

/// What would go if these containers were gone.
pub(super) fn would_prune(
    daemon: &Daemon,
    order: &Prune,
    without: &BTreeSet<String>,
) -> Result<Removed, ApiError> {
    let all = daemon.images.details().map_err(image_error)?;
    let chosen: BTreeSet<String> = unused(daemon, &all, order, without)?.into_iter().collect();
    let freed = daemon
        .images
        .would_free(&chosen, &disks(daemon))
        .map_err(image_error)?;
    let stays = |id: &str| {
        let mut others = all.iter().filter(|image| image.id == id);
        others.any(|image| !chosen.contains(&image.reference))
    };
    let mut removed = Removed {
        bytes: freed.bytes,
        ..Removed::default()
    };
    for image in all.iter().filter(|image| chosen.contains(&image.reference)) {
        if !image.nameless {
            removed.untagged.push(image.reference.clone());
        }
        if !stays(&image.id) && !removed.deleted.contains(&image.id) {
            removed.deleted.push(image.id.clone());
        }
    }
    Ok(removed)
}

/// References of images that can go. Those without a name that a stack's
/// history leads back to need `all`.
fn unused(
    daemon: &Daemon,
    all: &[stack_images::Details],
    order: &Prune,
    without: &BTreeSet<String>,
) -> Result<Vec<String>, ApiError> {
    let mut users = containers(daemon);
    users.retain(|_, names| names.iter().any(|name| !without.contains(name)));
    let history: Vec<Definition> = daemon.ledger.whole_history()?;
    let back: BTreeSet<&String> = history
        .iter()
        .flat_map(|past| past.images.values())
        .collect();
    let named: BTreeSet<&String> = all
        .iter()
        .filter(|image| !image.nameless)
        .map(|image| &image.id)
        .collect();
    let goes = |image: &&stack_images::Details| {
        let spare = image.nameless && named.contains(&image.id);
        let wanted = order.all || image.nameless && !back.contains(&image.id);
        (spare || wanted && !users.contains_key(&image.id))
            && !daemon.leases.holds(&image.reference)
            && !daemon.leases.holds(&image.id)
            && (order.only.is_empty() || order.only.contains(&image.id))
            && order.filter.takes(&image.config.labels, image.stored_ms)
    };
    let going = all.iter().filter(goes);
    Ok(going.map(|image| image.reference.clone()).collect())
}

//! `POST /v1/system/prune`: stopped containers, networks that nobody is on,
//! images that nobody needs, and what can be made again.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use stack_api::event::ApiError;
use stack_api::image;
use stack_api::system::{Item, Prune, Pruned};
use stack_api::volume::{PruneVolumes, Volumes};

use super::{blocks, images};
use crate::daemon::Daemon;
use crate::progress::Progress;
use crate::stack;

/// Does it, or says what it would do.
///
/// # Errors
/// Something cannot be removed; everything else is. Or the order contradicts itself:
/// nothing is then.
pub async fn prune(daemon: &Arc<Daemon>, order: &Prune) -> Result<Pruned, ApiError> {
    if order.volumes && order.filter.until_ms.is_some() {
        let message = "volumes are not pruned by time: a volume's data is newer than the volume";
        return Err(ApiError::new("bad_request", message)
            .help("leave out `--volumes` or `--filter until=…`"));
    }
    let mut pruned = Pruned::default();
    if order.build_cache {
        cache(daemon, order, &mut pruned).await?;
        fetched(daemon, order, &mut pruned)?;
        return Ok(pruned);
    }
    // On a full disk the ledger may refuse: what needs none of it makes room.
    let mut failure = containers(daemon, order, &mut pruned).await.err();
    let mut done = |result: Result<(), ApiError>| {
        if let Err(error) = result {
            failure.get_or_insert(error);
        }
    };
    // Nobody is on the network of a container that goes.
    if order.filter == image::Filter::default() {
        done(networks(daemon, order, &mut pruned).await);
    }
    if order.volumes {
        done(volumes(daemon, order, &mut pruned).await);
    }
    if order.all {
        done(cache(daemon, order, &mut pruned).await);
        done(fetched(daemon, order, &mut pruned));
        templates(daemon, order, &mut pruned);
    }
    done(unused_images(daemon, order, &mut pruned).await);
    match failure {
        Some(mut failure) if !pruned.items.is_empty() => {
            let message = failure.message;
            failure.message = format!("not everything could be removed: {message}");
            Err(failure)
        }
        Some(failure) => Err(failure),
        None => Ok(pruned),
    }
}

async fn networks(
    daemon: &Arc<Daemon>,
    order: &Prune,
    pruned: &mut Pruned,
) -> Result<(), ApiError> {
    let gone = match order.dry_run {
        true => stack::prunable_networks(daemon, &names(pruned, "container"))?,
        false => stack::prune_networks(daemon).await?,
    };
    pruned
        .items
        .extend(gone.into_iter().map(|name| item("network", name, 0)));
    Ok(())
}

async fn unused_images(
    daemon: &Arc<Daemon>,
    order: &Prune,
    pruned: &mut Pruned,
) -> Result<(), ApiError> {
    let wanted = image::Prune {
        all: order.all,
        filter: order.filter.clone(),
        only: Vec::new(),
        dry_run: order.dry_run,
    };
    let before = images::details(daemon)?;
    let removed = match order.dry_run {
        true => images::would_prune(daemon, &wanted, &names(pruned, "container")),
        false => images::prune(daemon, &wanted).await,
    };
    match removed {
        Ok(removed) => {
            for id in &removed.deleted {
                let found = before.iter().find(|image| image.id == *id);
                let name = found.map_or(id, |image| &image.reference).clone();
                pruned
                    .items
                    .push(item("image", name, found.map_or(0, |image| image.unique)));
            }
            pruned.bytes += removed.bytes;
        }
        Err(error) if error.code == "images_busy" => {
            pruned.notes.push(format!("images stay: {}", error.message));
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Names of what goes.
fn names(pruned: &Pruned, kind: &str) -> BTreeSet<String> {
    let ours = pruned.items.iter().filter(|item| item.kind == kind);
    ours.map(|item| item.name.clone()).collect()
}

fn item(kind: &str, name: String, size: u64) -> Item {
    Item {
        kind: kind.to_owned(),
        name,
        size,
        used_by: Vec::new(),
    }
}

async fn containers(
    daemon: &Arc<Daemon>,
    order: &Prune,
    pruned: &mut Pruned,
) -> Result<(), ApiError> {
    let quiet = Progress::new().0;
    let mut failure = None;
    for handle in daemon.handles(None) {
        let container = handle.container();
        let idle = |record: &crate::container::Record| {
            !record.container.state.is_live() && !record.wanted && record.process.is_none()
        };
        if container.project == stack::BUILDER
            || !idle(&handle.record())
            || !order.filter.takes(&container.labels, container.created_ms)
        {
            continue;
        }
        // Whoever changes the stack may be about to start it.
        let turn = daemon.operation(&container.project);
        let Ok(_one) = turn.try_lock() else {
            let note = format!(
                "{} stays: stack {} is being changed",
                container.name, container.project
            );
            pruned.notes.push(note);
            continue;
        };
        if !idle(&handle.record()) || *handle.ended.borrow() {
            continue;
        }
        let size = blocks(&daemon.paths.scratch(&handle.id));
        if !order.dry_run
            && let Err(error) = stack::remove_container(daemon, &quiet, &handle, None, false).await
        {
            failure.get_or_insert(error);
            continue;
        }
        pruned.bytes += size;
        pruned.items.push(item("container", container.name, size));
    }
    failure.map_or(Ok(()), Err)
}

async fn volumes(daemon: &Daemon, order: &Prune, pruned: &mut Pruned) -> Result<(), ApiError> {
    if !daemon.knows_all() {
        let note = "volumes stay: a container or volume cannot be read";
        pruned.notes.push(note.to_owned());
        return Ok(());
    }
    let wanted = PruneVolumes {
        all: false,
        filter: order.filter.clone(),
        dry_run: order.dry_run,
    };
    // Those that the containers leave, which are still there if nothing goes yet.
    let leaving = names(pruned, "container");
    let gone = daemon.prune_volumes(wanted, &leaving);
    for volume in gone.await? {
        pruned.bytes += volume.size;
        pruned.items.push(item("volume", volume.name, volume.size));
    }
    Ok(())
}

async fn cache(daemon: &Arc<Daemon>, order: &Prune, pruned: &mut Pruned) -> Result<(), ApiError> {
    // It is a disk: its size is known at once.
    let cache = Volumes {
        name: Some(stack::CACHE.to_owned()),
        ..Volumes::default()
    };
    let Some(volume) = daemon.volume_infos(&cache)?.pop() else {
        return Ok(());
    };
    if !stack::remove_builder(daemon, order.dry_run).await? {
        pruned
            .notes
            .push("the build cache stays: something is being built".to_owned());
        return Ok(());
    }
    pruned.bytes += volume.size;
    pruned
        .items
        .push(item("build cache", volume.name, volume.size));
    Ok(())
}

/// The next build fetches its context again.
fn fetched(daemon: &Daemon, order: &Prune, pruned: &mut Pruned) -> Result<(), ApiError> {
    let dir = daemon.paths.cache.join("git");
    let entries = std::fs::read_dir(&dir).into_iter().flatten().flatten();
    let found: Vec<Item> = entries
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            item("build context", name, tree(&entry.path()))
        })
        .collect();
    if found.is_empty() {
        return Ok(());
    }
    if !stack::remove_fetched(daemon, order.dry_run)? {
        let note = "fetched build contexts stay: something is being built";
        pruned.notes.push(note.to_owned());
        return Ok(());
    }
    pruned.bytes += found.iter().map(|item| item.size).sum::<u64>();
    pruned.items.extend(found);
    Ok(())
}

/// Bytes on disk of everything in a directory.
fn tree(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => tree(&entry.path()),
        Ok(kind) if kind.is_file() => blocks(&entry.path()),
        _ => 0,
    });
    sizes.sum()
}

/// A VM that is about to be restored from one boots instead.
fn templates(daemon: &Daemon, order: &Prune, pruned: &mut Pruned) {
    let dir = daemon.paths.cache.join("templates");
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let size = blocks(&entry.path());
        if order.dry_run || std::fs::remove_file(entry.path()).is_ok() {
            let name = entry.file_name().to_string_lossy().into_owned();
            pruned.bytes += size;
            pruned.items.push(item("template", name, size));
        }
    }
}

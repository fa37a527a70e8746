//! What takes up the disk.

use std::collections::BTreeSet;
use std::path::Path;

use stack_api::event::ApiError;
use stack_api::image::Prune;
use stack_api::system::{Item, Usage};
use stack_api::volume::{VolumeInfo, Volumes};

use super::{blocks, images};
use crate::daemon::Daemon;
use crate::stack::{BUILDER, CACHE, image_error};

/// `GET /v1/system/usage`. It looks at all files of all volumes: this is for a thread
/// that may wait.
///
/// # Errors
/// The state cannot be read.
pub fn usage(daemon: &Daemon) -> Result<Vec<Usage>, ApiError> {
    let infos = daemon.volume_infos(&Volumes::default())?;
    let (cache, others) = infos.into_iter().partition(|info| info.name == CACHE);
    Ok(vec![
        of_images(daemon)?,
        of_containers(daemon),
        of_volumes(daemon, others, false),
        of_volumes(daemon, cache, true),
        of_files(
            "templates",
            "template",
            &daemon.paths.cache.join("templates"),
            true,
        ),
        of_files("logs", "log", &daemon.paths.logs(), false),
        of_ledger(daemon),
    ])
}

/// Sums up.
fn summed(kind: &str, items: Vec<Item>) -> Usage {
    let idle = items.iter().filter(|item| item.used_by.is_empty());
    Usage {
        kind: kind.to_owned(),
        total: items.len() as u64,
        active: items.iter().filter(|item| !item.used_by.is_empty()).count() as u64,
        size: items.iter().map(|item| item.size).sum(),
        reclaimable: idle.map(|item| item.size).sum(),
        items,
    }
}

fn of_images(daemon: &Daemon) -> Result<Usage, ApiError> {
    let all = Prune {
        all: true,
        dry_run: true,
        ..Prune::default()
    };
    let reclaimable = images::would_prune(daemon, &all, &BTreeSet::new())?.bytes;
    let details = images::details(daemon)?;
    let ids: BTreeSet<&String> = details.iter().map(|image| &image.id).collect();
    let used: BTreeSet<&String> = details
        .iter()
        .filter(|image| !image.containers.is_empty())
        .map(|image| &image.id)
        .collect();
    let (total, active) = (ids.len() as u64, used.len() as u64);
    let items = details.iter().map(|image| Item {
        kind: "image".to_owned(),
        name: image.reference.clone(),
        size: image.unique,
        used_by: image.containers.clone(),
    });
    Ok(Usage {
        kind: "images".to_owned(),
        total,
        active,
        size: daemon.images.disk_size().map_err(image_error)?,
        reclaimable,
        items: items.collect(),
    })
}

fn of_containers(daemon: &Daemon) -> Usage {
    let items = daemon.handles(None).into_iter().map(|handle| {
        let container = handle.container();
        let live = container.state.is_live();
        Item {
            kind: "container".to_owned(),
            name: container.name,
            size: blocks(&daemon.paths.scratch(&handle.id)),
            used_by: live
                .then(|| container.state.as_str().to_owned())
                .into_iter()
                .collect(),
        }
    });
    summed("containers", items.collect())
}

/// Volumes; or the one of the builder.
fn of_volumes(daemon: &Daemon, infos: Vec<VolumeInfo>, cache: bool) -> Usage {
    let building = daemon
        .handles(Some(BUILDER))
        .iter()
        .any(|handle| handle.container().state.is_live());
    let items = infos.into_iter().map(|volume| Item {
        kind: if cache { "build cache" } else { "volume" }.to_owned(),
        name: volume.name,
        size: volume.size,
        used_by: match cache {
            true if !building => Vec::new(),
            true | false => volume.users,
        },
    });
    let kind = if cache { "build cache" } else { "volumes" };
    summed(kind, items.collect())
}

fn of_files(kind: &str, one: &str, dir: &Path, idle: bool) -> Usage {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    // A directory is one that is being made.
    let entries = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    let items = entries.map(|entry| Item {
        kind: one.to_owned(),
        name: entry.file_name().to_string_lossy().into_owned(),
        size: blocks(&entry.path()),
        used_by: match idle {
            true => Vec::new(),
            false => vec!["its container".to_owned()],
        },
    });
    summed(kind, items.collect())
}

/// The ledger, the journal in it included, and what SQLite has beside it.
fn of_ledger(daemon: &Daemon) -> Usage {
    let ledger = daemon.paths.ledger();
    let size = ["sqlite", "sqlite-wal", "sqlite-shm", "reserve"]
        .map(|kind| blocks(&ledger.with_extension(kind)))
        .iter()
        .sum();
    let item = Item {
        kind: "ledger".to_owned(),
        name: "ledger".to_owned(),
        size,
        used_by: vec!["stackd".to_owned()],
    };
    summed("ledger", vec![item])
}

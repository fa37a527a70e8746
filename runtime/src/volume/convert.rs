//! From a disk to a tree, when a second container comes that mounts the
//! volume. A VM copies the disk's content; then the tree takes the disk's
//! place in the ledger, and only then the disk goes. A kill at any moment
//! leaves one of the two whole and in use.

use std::path::Path;
use std::sync::Arc;

use stack_api::event::ApiError;
use stack_protocol::config::{MountSource as GuestSource, VmConfig};

use super::lone::{self, Shown};
use super::{Turn, Volume, VolumeKind};
use crate::container::blueprint::Blueprint;
use crate::daemon::Daemon;
use crate::ledger::Table;

/// Makes a tree of a disk that nobody uses.
///
/// # Errors
/// The copy fails; the disk counts as before.
pub(super) async fn convert(daemon: &Arc<Daemon>, volume: &Volume) -> Result<(), ApiError> {
    let turn = daemon.volume_turn(&volume.name).await?;
    let known: Option<Volume> = daemon.ledger.get(Table::Volumes, &volume.name)?;
    let Some(volume) = known.filter(|volume| volume.kind == VolumeKind::Disk) else {
        // It was removed, or converted for another stack.
        return Ok(());
    };
    let failed = |error: std::io::Error| {
        let message = format!("volume {} cannot be copied: {error}", volume.name);
        ApiError::new("volume", message).help("its disk is untouched; is the host's disk full?")
    };
    let tree = volume.path.with_extension("tree");
    let partial = volume.path.with_extension("tree.partial");
    for old in [&tree, &partial] {
        // What a kill has left: the ledger says that the disk counts.
        delete(old).map_err(failed)?;
    }
    crate::paths::private_dir(&partial).map_err(failed)?;
    let shown = vec![
        Shown::Disk(volume.path.clone()),
        Shown::Tree(partial.clone()),
    ];
    // When it has come up, it has copied; when it has ended, everything is there.
    lone::start(daemon, &volume.name, shown, Turn::clone(&turn))
        .await?
        .close()
        .await?;
    sync(&partial).map_err(failed)?;
    std::fs::rename(&partial, &tree).map_err(failed)?;
    sync(&daemon.paths.volumes()).map_err(failed)?;
    let converted = Volume {
        path: tree,
        kind: VolumeKind::Tree,
        ..volume.clone()
    };
    daemon
        .ledger
        .put(Table::Volumes, &volume.name, &volume.project, &converted)?;
    std::fs::remove_file(&volume.path).map_err(failed)
}

/// Deletes the forms of volumes that do not count: a kill in the middle of a
/// conversion leaves both. Nobody may use either meanwhile.
pub(crate) fn settle(daemon: &Daemon) {
    for volume in daemon.volumes().unwrap_or_default() {
        let other = volume.path.with_extension(match volume.kind {
            VolumeKind::Disk => "tree",
            VolumeKind::Tree => "ext4",
        });
        if volume.path.exists()
            && let Err(error) = delete(&other)
        {
            tracing::warn!(%error, path = %other.display(), "left behind, and stays");
        }
    }
}

/// Deletes a disk or a tree, if it is there.
pub(super) fn delete(path: &Path) -> std::io::Result<()> {
    match super::tree::delete(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn sync(dir: &Path) -> std::io::Result<()> {
    rustix::fs::syncfs(std::fs::File::open(dir)?)?;
    Ok(())
}

/// A container that was made when its volume was a disk: mounts the tree that
/// has come in its place.
pub(crate) fn follow(blueprint: &mut Blueprint) {
    let gone: Vec<_> = blueprint
        .disks
        .iter()
        .filter(|disk| !disk.path.exists() && disk.path.with_extension("tree").is_dir())
        .cloned()
        .collect();
    for disk in gone {
        let index = blueprint.files.len();
        blueprint.files.push(stack_files::spec::Share {
            path: disk.path.with_extension("tree"),
            kind: stack_files::spec::Kind::Volume,
            read_only: disk.read_only,
            cache_ms: stack_files::spec::VOLUME_MS,
        });
        blueprint.disks.retain(|other| other.serial != disk.serial);
        replace(&mut blueprint.config, &disk.serial, index);
    }
}

fn replace(config: &mut VmConfig, gone: &str, index: usize) {
    for mount in &mut config.mounts {
        if let GuestSource::Disk {
            serial,
            copy_image_content,
        } = &mount.source
            && serial == gone
        {
            mount.source = GuestSource::Share {
                tag: stack_files::TAG.to_owned(),
                name: index.to_string(),
                copy_image_content: *copy_image_content,
                foreign: false,
            };
        }
    }
}

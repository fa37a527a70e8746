//! From a disk to a tree, when a second container comes that mounts the
//! volume. A VM copies the disk's content; then the tree takes the disk's
//! place in the ledger, and only then the disk goes. A kill at any moment
//! leaves one of the two whole and in use.

use std::path::{Path, PathBuf};
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
/// The copy fails; the disk counts as before, and nothing is left of the copy.
pub(super) async fn convert(daemon: &Arc<Daemon>, volume: &Volume) -> Result<(), ApiError> {
    let turn = daemon.volume_turn(&volume.name).await?;
    let known: Option<Volume> = daemon.ledger.get(Table::Volumes, &volume.name)?;
    let Some(volume) = known.filter(|volume| volume.kind == VolumeKind::Disk) else {
        // It was removed, or converted for another stack.
        return Ok(());
    };
    let mut half = Half {
        daemon: Arc::clone(daemon),
        name: volume.name.clone(),
        path: volume.path.with_extension("tree.partial"),
        over: false,
    };
    let copied = copy(daemon, &volume, &half.path, turn).await;
    if copied.is_err() {
        // Whoever is told of it finds the room that there was.
        half.delete().await;
    }
    half.over = true;
    copied.map_err(|error| failed(&volume, error))
}

async fn copy(
    daemon: &Arc<Daemon>,
    volume: &Volume,
    partial: &Path,
    turn: Turn,
) -> Result<(), ApiError> {
    let io = |error: std::io::Error| ApiError::new("volume", error.to_string());
    let tree = volume.path.with_extension("tree");
    for old in [tree.as_path(), partial] {
        // What a kill has left: the ledger says that the disk counts.
        delete(old).map_err(io)?;
    }
    let dir = daemon.paths.volumes();
    room(daemon, volume)?;
    crate::paths::private_dir(partial).map_err(io)?;
    let shown = vec![
        Shown::Disk(volume.path.clone()),
        Shown::Tree(partial.to_path_buf()),
    ];
    // When it has come up, it has copied; when it has ended, everything is there.
    lone::start(daemon, &volume.name, shown, Turn::clone(&turn))
        .await?
        .close()
        .await?;
    sync(partial).map_err(io)?;
    std::fs::rename(partial, &tree).map_err(io)?;
    sync(&dir).map_err(io)?;
    let converted = Volume {
        path: tree,
        kind: VolumeKind::Tree,
        ..volume.clone()
    };
    let noted = daemon
        .ledger
        .put(Table::Volumes, &volume.name, &volume.project, &converted);
    if noted.is_err() {
        // It goes with what is not complete.
        let _ = std::fs::rename(&converted.path, partial);
        return noted;
    }
    // A power cut must not bring the ledger back to a disk that is gone.
    let safe = sync(&daemon.paths.data);
    if let Err(error) = safe.and_then(|()| std::fs::remove_file(&volume.path)) {
        // It does not count any more, and the next daemon deletes it.
        tracing::warn!(%error, path = %volume.path.display(), "left behind, and stays");
    }
    Ok(())
}

/// Is there room for a copy? To be asked before anybody is stopped for it.
///
/// # Errors
/// There is not (`disk_full`).
pub(super) fn has_room_for(daemon: &Daemon, volume: &Volume) -> Result<(), ApiError> {
    room(daemon, volume).map_err(|error| failed(volume, error))
}

fn room(daemon: &Daemon, volume: &Volume) -> Result<(), ApiError> {
    let free = crate::host::disk_free(&daemon.paths.volumes());
    has_room(super::tree::size(&volume.path), free.unwrap_or(u64::MAX))
}

/// The copy has room beside what is copied, whatever else is written meanwhile: on a
/// full disk, all machines are halted.
fn has_room(needed: u64, room: u64) -> Result<(), ApiError> {
    if needed < room {
        return Ok(());
    }
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let message = format!(
        "it takes {} MiB, and the host's disk has room for {} MiB",
        mib(needed),
        mib(room)
    );
    Err(ApiError::new("disk_full", message))
}

fn failed(volume: &Volume, error: ApiError) -> ApiError {
    let message = format!(
        "volume {} cannot be copied, to be shared: {}",
        volume.name, error.message
    );
    let untouched = "its disk is untouched, and nothing is left of the copy";
    let help = match (&error.help, error.code.as_str()) {
        (Some(help), _) => format!("{untouched}; {help}"),
        (None, "disk_full") => format!("{untouched}; `stack system df` shows what takes up room"),
        (None, _) => format!("{untouched}; is the host's disk full?"),
    };
    ApiError { message, ..error }.help(help)
}

/// A copy that is not complete, and goes with whoever made it.
struct Half {
    daemon: Arc<Daemon>,
    name: String,
    path: PathBuf,
    /// Nothing is left to be done.
    over: bool,
}

impl Half {
    /// Deletes it when nobody writes to it any more. What somebody makes anew until
    /// then is theirs, and complete when they have had their turn.
    async fn delete(&self) {
        let turn = self.daemon.volume_turn_in_time(&self.name).await;
        let path = self.path.clone();
        let deleted = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            if let Err(error) = delete(&path) {
                tracing::warn!(%error, path = %path.display(), "left behind, and stays");
            }
        });
        let _ = deleted.await;
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        // Without a runtime the daemon ends, and the next one sweeps.
        if !self.over
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let left = Half {
                daemon: Arc::clone(&self.daemon),
                name: std::mem::take(&mut self.name),
                path: std::mem::take(&mut self.path),
                over: true,
            };
            runtime.spawn(async move { left.delete().await });
        }
    }
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

#[cfg(test)]
mod tests {
    use stack_api::volume::CreateVolume;
    use stack_vmm::Fake;

    use super::super::kit;
    use super::*;

    #[tokio::test]
    async fn a_copy_that_fails_leaves_the_disk_alone() {
        let home = tempfile::Builder::new().prefix("st").tempdir().unwrap();
        let fake = Fake::default();
        fake.fail_next_start("no memory");
        let daemon = kit::daemon(home.path(), fake).await;
        let wanted = CreateVolume {
            name: "shop_v".to_owned(),
            ..CreateVolume::default()
        };
        daemon.create_volume(&wanted).unwrap();
        let volume = daemon.volumes().unwrap().remove(0);
        let files = || {
            let entries = std::fs::read_dir(daemon.paths.volumes()).unwrap().flatten();
            let names = entries.map(|entry| entry.file_name().into_string().unwrap());
            // Beside what new disks are copied from.
            let names = names.filter(|name| !name.starts_with('.'));
            names.collect::<Vec<_>>()
        };
        let error = convert(&daemon, &volume).await.unwrap_err();
        assert!(
            error.message.contains("volume shop_v cannot be copied"),
            "{error}"
        );
        assert!(error.help.unwrap().contains("its disk is untouched"));
        assert_eq!(files(), ["shop_v.ext4"]);
        // Whoever wanted it is gone, and a machine still writes to it.
        let turn = daemon.volume_turn("shop_v").await.unwrap();
        let path = volume.path.with_extension("tree.partial");
        std::fs::create_dir_all(path.join("dir")).unwrap();
        drop(Half {
            daemon: Arc::clone(&daemon),
            name: "shop_v".to_owned(),
            path: path.clone(),
            over: false,
        });
        tokio::task::yield_now().await;
        assert!(path.exists());
        drop(turn);
        while path.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        assert_eq!(files(), ["shop_v.ext4"]);
    }

    #[test]
    fn a_copy_needs_room_beforehand() {
        has_room(5 << 20, (5 << 20) + 1).unwrap();
        let error = has_room(5 << 20, 5 << 20).unwrap_err();
        assert_eq!(error.code, "disk_full");
        assert!(error.message.contains("it takes 5 MiB"), "{error}");
    }
}

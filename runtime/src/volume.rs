//! Volumes, kept until someone asks for their removal. One that a single
//! container mounts is an ext4 disk, which is faster; one that several mount
//! is a tree of files, which the file server shows to all of them.

pub(crate) mod convert;
#[cfg(test)]
pub(crate) mod kit;
mod labels;
mod lease;
mod lone;
mod manage;
pub(crate) mod share;
pub(crate) mod tree;
mod turn;

pub(crate) use lease::Lease;
pub use lease::Leases;
pub(crate) use manage::Reach;
pub(crate) use turn::Turn;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use stack_api::event::ApiError;
use stack_api::spec::{StackSpec, VolumeSpec};
use stack_api::volume::Form;
use stack_protocol::config::MountSource as GuestSource;

use crate::container::Blueprint;
use crate::container::blueprint::DiskUse;
use crate::daemon::Daemon;
use crate::ledger::Table;
use crate::stack::BUILDER;

/// Size of a volume's disk when the file does not say: sparse, so it costs
/// what is written.
const DEFAULT_SIZE: u64 = 64 << 30;

/// A volume.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Volume {
    /// Full name, or 64 hexadecimal digits for one without a name.
    pub name: String,
    /// Stack it was made for.
    pub project: String,
    /// Made without a name for this container.
    pub anonymous_of: Option<String>,
    /// Its container is being replaced: the next container of this name gets
    /// it, at this path.
    #[serde(default)]
    pub awaits: Option<(String, String)>,
    /// Never removed with the stack.
    pub external: bool,
    /// The disk or the top of the tree.
    pub path: PathBuf,
    /// What it is.
    #[serde(default)]
    pub kind: VolumeKind,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Milliseconds since the epoch; 0 if it is not known.
    #[serde(default)]
    pub created_ms: u64,
    /// No machine has come up with this disk yet: what an image has for it may be there
    /// in part.
    #[serde(default)]
    pub unfilled: bool,
}

/// What a volume is on the host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VolumeKind {
    /// An ext4 disk for one VM at a time.
    #[default]
    Disk,
    /// A directory for any number of VMs.
    Tree,
}

impl VolumeKind {
    /// As [`Form::suits`].
    pub fn suits(stack: &StackSpec, key: &str) -> VolumeKind {
        Form::suits(stack, key).into()
    }
}

impl From<Form> for VolumeKind {
    fn from(form: Form) -> VolumeKind {
        match form {
            Form::Disk => VolumeKind::Disk,
            Form::Tree => VolumeKind::Tree,
        }
    }
}

/// A volume to be there.
#[derive(Debug, Clone, Copy, Default)]
pub struct WantedVolume<'a> {
    /// Its stack, or nothing.
    pub project: &'a str,
    /// As the file says.
    pub spec: Option<&'a VolumeSpec>,
    /// What it is to be if it is new.
    pub kind: VolumeKind,
    /// Made without a name for this container.
    pub anonymous_of: Option<&'a str>,
}

impl Daemon {
    /// The volume of this name, made if need be. `true`: it is new.
    ///
    /// # Errors
    /// The name is not one, or the disk cannot be made.
    pub fn ensure_volume(
        &self,
        name: &str,
        wanted: &WantedVolume<'_>,
    ) -> Result<(Volume, bool), ApiError> {
        let WantedVolume {
            project,
            anonymous_of,
            kind,
            ..
        } = *wanted;
        let valid = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if name.is_empty() || name.len() > 200 || name.starts_with('.') || !name.chars().all(valid)
        {
            return Err(ApiError::new(
                "bad_volume",
                format!("`{name}` is not a volume name"),
            ));
        }
        let known = self
            .volumes()?
            .into_iter()
            .find(|volume| volume.name == name);
        if let Some(mut volume) = known
            && volume.path.exists()
        {
            if anonymous_of.is_some() && volume.anonymous_of.as_deref() != anonymous_of {
                // It goes over to the container that replaces its owner.
                volume.anonymous_of = anonymous_of.map(str::to_owned);
                self.ledger.put(Table::Volumes, name, project, &volume)?;
            }
            return Ok((volume, false));
        }
        // Made and not noted, or noted and not made: a kill came in between.
        let disk = self.paths.volumes().join(format!("{name}.ext4"));
        let tree = self.paths.volumes().join(format!("{name}.tree"));
        let (path, kind, existed) = match kind {
            _ if tree.exists() => (tree, VolumeKind::Tree, true),
            _ if disk.exists() => (disk, VolumeKind::Disk, true),
            VolumeKind::Tree => (tree, kind, false),
            VolumeKind::Disk => (disk, kind, false),
        };
        if !existed {
            self.make_volume(&path, kind, wanted)?;
        }
        let volume = Volume {
            name: name.to_owned(),
            project: project.to_owned(),
            anonymous_of: anonymous_of.map(str::to_owned),
            awaits: None,
            external: false,
            path,
            kind,
            labels: wanted
                .spec
                .map(|spec| spec.labels.clone())
                .unwrap_or_default(),
            created_ms: crate::time::now_ms(),
            unfilled: kind == VolumeKind::Disk,
        };
        if let Err(error) = self.ledger.put(Table::Volumes, name, project, &volume) {
            if !existed {
                let _ = convert::delete(&volume.path);
            }
            return Err(error);
        }
        Ok((volume, !existed))
    }

    fn make_volume(
        &self,
        path: &Path,
        kind: VolumeKind,
        wanted: &WantedVolume<'_>,
    ) -> Result<(), ApiError> {
        let size = wanted.spec.and_then(|spec| spec.size);
        match kind {
            VolumeKind::Disk => {
                let create = match wanted.anonymous_of {
                    None if wanted.project == BUILDER => stack_vmm::disk::create_cache,
                    None => stack_vmm::disk::create_volume,
                    Some(_) => stack_vmm::disk::create_nameless_volume,
                };
                create(path, size.unwrap_or(DEFAULT_SIZE)).map_err(crate::container::vm_error)
            }
            VolumeKind::Tree => crate::paths::private_dir(path).map_err(|error| {
                ApiError::new(
                    "volume",
                    format!("{} cannot be made: {error}", path.display()),
                )
            }),
        }
    }

    /// The external volumes of the services are there.
    ///
    /// # Errors
    /// One is not.
    pub(crate) fn check_external_volumes(&self, spec: &StackSpec) -> Result<(), ApiError> {
        let used = spec.services.values().flat_map(|s| s.volume_keys());
        used.filter_map(|key| spec.volumes.get(key))
            .try_for_each(|volume| self.check_external_volume(volume))
    }

    /// An external volume has been made by somebody else.
    ///
    /// # Errors
    /// It is not there.
    pub(crate) fn check_external_volume(&self, wanted: &VolumeSpec) -> Result<(), ApiError> {
        let known = || {
            Ok(self
                .volumes()?
                .iter()
                .any(|known| known.name == wanted.name))
        };
        if !wanted.external || known()? {
            return Ok(());
        }
        let message = format!("external volume {} does not exist", wanted.name);
        let help = format!(
            "make it with `stack volume create {}`, or take `external` away",
            wanted.name
        );
        Err(ApiError::new("no_such_volume", message).help(help))
    }

    /// Notes that volumes without a name, each with its path in the container,
    /// are for the next container of this name: whatever happens in between.
    ///
    /// # Errors
    /// The ledger cannot be read or written.
    pub fn bequeath<'a>(
        &self,
        volumes: impl Iterator<Item = (&'a String, &'a String)>,
        container: &str,
    ) -> Result<(), ApiError> {
        for (target, name) in volumes {
            self.set_awaits(name, Some((container.to_owned(), target.clone())))?;
        }
        Ok(())
    }

    /// The container of this name is there: what it has not taken waits for nobody.
    ///
    /// # Errors
    /// The ledger cannot be read or written.
    pub(crate) fn inherited(&self, project: &str, container: &str) -> Result<(), ApiError> {
        for volume in self.volumes()? {
            let awaits = volume.awaits.as_ref();
            if volume.project == project && awaits.is_some_and(|(name, _)| name == container) {
                self.set_awaits(&volume.name, None)?;
            }
        }
        Ok(())
    }

    fn set_awaits(&self, name: &str, awaits: Option<(String, String)>) -> Result<(), ApiError> {
        let known: Option<Volume> = self.ledger.get(Table::Volumes, name)?;
        let Some(mut volume) = known.filter(|volume| volume.awaits != awaits) else {
            return Ok(());
        };
        volume.awaits = awaits;
        self.ledger
            .put(Table::Volumes, name, &volume.project, &volume)
    }

    /// The volume that a container of this name was left for this path.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn bequeathed(
        &self,
        project: &str,
        container: &str,
        target: &str,
    ) -> Result<Option<String>, ApiError> {
        let handles = self.handles(Some(project));
        let is_it = |volume: &Volume| {
            let awaits = volume.awaits.as_ref();
            let owner = volume.anonymous_of.as_ref();
            volume.project == project
                && awaits.is_some_and(|(c, t)| c == container && t == target)
                && !handles.iter().any(|handle| Some(&handle.id) == owner)
        };
        let found = self.volumes()?.into_iter().find(is_it);
        Ok(found.map(|volume| volume.name))
    }

    /// All volumes.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn volumes(&self) -> Result<Vec<Volume>, ApiError> {
        self.ledger.all(Table::Volumes)
    }

    /// A machine has come up: what an image has for its disks is there.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub(crate) fn note_filled(&self, blueprint: &Blueprint) -> Result<(), ApiError> {
        let mounts = &blueprint.config.mounts;
        let copies = |disk: &DiskUse| {
            mounts.iter().any(|mount| match &mount.source {
                GuestSource::Disk {
                    serial,
                    copy_image_content,
                } => *copy_image_content && *serial == disk.serial,
                _ => false,
            })
        };
        let filled: Vec<_> = blueprint.disks.iter().filter(|disk| copies(disk)).collect();
        if filled.is_empty() {
            return Ok(());
        }
        for mut volume in self.volumes()? {
            if volume.unfilled && filled.iter().any(|disk| disk.path == volume.path) {
                volume.unfilled = false;
                let (name, project) = (&volume.name, &volume.project);
                self.ledger.put(Table::Volumes, name, project, &volume)?;
            }
        }
        Ok(())
    }

    /// Removes a volume and its data. It is out of the way at once, so that half
    /// of it never passes for a whole one; what a kill leaves of it is swept.
    ///
    /// # Errors
    /// Its files cannot be removed.
    pub(crate) async fn remove_volume(&self, volume: &Volume, turn: &Turn) -> Result<(), ApiError> {
        Self::clear_aside(volume, turn).await?;
        self.set_aside(volume)?;
        Self::clear_aside(volume, turn).await
    }

    /// Takes a volume out of the way, where [`Daemon::clear_aside`] has made room, and
    /// forgets it.
    ///
    /// # Errors
    /// It is there as before.
    fn set_aside(&self, volume: &Volume) -> Result<(), ApiError> {
        let aside = aside(volume);
        match std::fs::rename(&volume.path, &aside) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(stays(volume, &error));
            }
            _ => {}
        }
        if let Err(error) = self.ledger.forget(Table::Volumes, &volume.name) {
            let _ = std::fs::rename(&aside, &volume.path);
            return Err(error);
        }
        Ok(())
    }

    /// Deletes what was set aside of volumes of this name. A tree takes its time, in
    /// which nobody waits but those who want the same volume's `turn`.
    ///
    /// # Errors
    /// It cannot be deleted.
    async fn clear_aside(volume: &Volume, turn: &Turn) -> Result<(), ApiError> {
        let (path, turn) = (aside(volume), Turn::clone(turn));
        let deleted = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            convert::delete(&path)
        });
        let deleted = deleted.await.map_err(std::io::Error::other);
        deleted.flatten().map_err(|error| stays(volume, &error))
    }
}

/// Where a volume is on its way out.
fn aside(volume: &Volume) -> PathBuf {
    volume.path.with_extension("gone.partial")
}

fn stays(volume: &Volume, error: &std::io::Error) -> ApiError {
    let message = format!("volume {} cannot be removed: {error}", volume.name);
    ApiError::new("volume", message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use stack_protocol::config::{Mount, VmConfig};

    use super::*;

    #[tokio::test]
    async fn a_disk_is_filled_when_a_machine_has_come_up_that_fills_it() {
        let home = tempfile::Builder::new().prefix("st").tempdir().unwrap();
        let daemon = kit::daemon(home.path(), stack_vmm::Fake::default()).await;
        let wanted = WantedVolume::default();
        let volume = daemon.ensure_volume("v", &wanted).unwrap().0;
        let unfilled = || daemon.ensure_volume("v", &wanted).unwrap().0.unfilled;
        let comes_up = |copy_image_content| {
            let mount = Mount {
                target: "/v".to_owned(),
                source: GuestSource::Disk {
                    serial: "vol0".to_owned(),
                    copy_image_content,
                },
                read_only: true,
                subpath: String::new(),
            };
            let config = VmConfig {
                mounts: vec![mount],
                ..VmConfig::default()
            };
            let disk = DiskUse {
                path: volume.path.clone(),
                serial: "vol0".to_owned(),
                read_only: false,
            };
            let blueprint = json!({
                "config": config, "disks": [disk], "memory": 1, "cpus": null,
                "stop_signal": "TERM", "anonymous": [],
            });
            let blueprint = serde_json::from_value(blueprint).unwrap();
            daemon.note_filled(&blueprint).unwrap();
        };
        assert!(unfilled());
        comes_up(false);
        assert!(unfilled());
        comes_up(true);
        assert!(!unfilled());
    }
}

//! Volumes: one ext4 disk each, kept until someone asks for their removal.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use stack_api::event::ApiError;

use crate::daemon::Daemon;
use crate::ledger::Table;

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
    /// The disk.
    pub path: PathBuf,
}

impl Daemon {
    /// The volume of this name, made if need be. `true`: it is new.
    ///
    /// # Errors
    /// The name is not one, or the disk cannot be made.
    pub fn ensure_volume(
        &self,
        name: &str,
        project: &str,
        size: Option<u64>,
        anonymous_of: Option<&str>,
    ) -> Result<(Volume, bool), ApiError> {
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
        let path = self.paths.volumes().join(format!("{name}.ext4"));
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
        let existed = path.exists();
        if !existed {
            stack_vmm::disk::create_volume(&path, size.unwrap_or(DEFAULT_SIZE))
                .map_err(crate::container::vm_error)?;
        }
        let volume = Volume {
            name: name.to_owned(),
            project: project.to_owned(),
            anonymous_of: anonymous_of.map(str::to_owned),
            awaits: None,
            external: false,
            path,
        };
        self.ledger.put(Table::Volumes, name, project, &volume)?;
        Ok((volume, !existed))
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

    /// The containers of these volumes are there: they wait for none.
    ///
    /// # Errors
    /// The ledger cannot be read or written.
    pub fn inherited<'a>(&self, names: impl Iterator<Item = &'a String>) -> Result<(), ApiError> {
        for name in names {
            self.set_awaits(name, None)?;
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

    /// Removes a volume and its data.
    ///
    /// # Errors
    /// The disk cannot be removed.
    pub fn remove_volume(&self, volume: &Volume) -> Result<(), ApiError> {
        match std::fs::remove_file(&volume.path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(ApiError::new(
                    "volume",
                    format!("volume {} cannot be removed: {error}", volume.name),
                ));
            }
        }
        self.ledger.forget(Table::Volumes, &volume.name)
    }
}

//! Mounts: what the spec names becomes disks and shares of the VM.

use std::fs::Metadata;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use stack_api::event::ApiError;
use stack_api::spec::{MountSource, ServiceSpec};
use stack_protocol::config::{Mount, MountSource as GuestSource};

use super::blueprint::{DiskUse, Resolved};

/// The devices of a VM while its blueprint is drawn.
pub(super) struct Parts<'a> {
    pub disks: Vec<DiskUse>,
    /// Tag, directory, read-only.
    pub shares: Vec<(String, PathBuf, bool)>,
    /// Directory for the sources of single-file bind mounts.
    pub binds: &'a Path,
}

impl Parts<'_> {
    fn disk(&mut self, path: PathBuf, read_only: bool) -> String {
        let serial = format!("vol{}", self.disks.len());
        if let Some(known) = self.disks.iter().find(|disk| disk.path == path) {
            return known.serial.clone();
        }
        self.disks.push(DiskUse {
            path,
            serial: serial.clone(),
            read_only,
        });
        serial
    }

    /// The guest's mounts, in the order to make them; their devices are
    /// added.
    pub(super) fn mounts(
        &mut self,
        spec: &ServiceSpec,
        resolved: &Resolved,
    ) -> Result<Vec<Mount>, ApiError> {
        let mut mounts = Vec::new();
        for mount in &spec.mounts {
            let mut subpath_of = String::new();
            let source = match &mount.source {
                MountSource::Volume {
                    volume,
                    nocopy,
                    subpath,
                } => {
                    let path = resolved.volumes.get(volume).cloned().unwrap_or_default();
                    subpath_of = subpath.clone().unwrap_or_default();
                    let serial = self.disk(path, mount.read_only);
                    GuestSource::Disk {
                        serial,
                        copy_image_content: !nocopy && !mount.read_only,
                    }
                }
                MountSource::Anonymous => continue,
                MountSource::Bind { path, create } => self.bind(path, *create, mount.read_only)?,
                MountSource::Tmpfs { size, mode } => GuestSource::Tmpfs {
                    size: *size,
                    mode: *mode,
                },
            };
            mounts.push(Mount {
                target: mount.target.clone(),
                source,
                read_only: mount.read_only,
                subpath: subpath_of,
            });
        }
        for (target, _, path) in &resolved.anonymous {
            let serial = self.disk(path.clone(), false);
            let source = GuestSource::Disk {
                serial,
                copy_image_content: true,
            };
            let (target, subpath) = (target.clone(), String::new());
            mounts.push(Mount {
                target,
                source,
                read_only: false,
                subpath,
            });
        }
        // A mount below another must come after it.
        mounts.sort_by_key(|mount| mount.target.split('/').filter(|p| !p.is_empty()).count());
        Ok(mounts)
    }

    fn bind(&mut self, path: &PathBuf, create: bool, ro: bool) -> Result<GuestSource, ApiError> {
        if !path.exists() && create {
            std::fs::create_dir_all(path).map_err(|error| {
                ApiError::new("bind", format!("cannot make {}: {error}", path.display()))
            })?;
        }
        let meta = std::fs::metadata(path).map_err(|error| {
            ApiError::new("bind", format!("bind mount {}: {error}", path.display()))
                .help("the path is relative to the project directory; make it first")
        })?;
        let tag = format!("share{}", self.shares.len());
        if meta.is_dir() {
            self.shares.push((tag.clone(), path.clone(), ro));
            return Ok(GuestSource::Share { tag, file: None });
        }
        let dir = self.binds.join(&tag);
        single_file(path, &meta, &dir, ro)?;
        self.shares.push((tag.clone(), dir, ro));
        Ok(GuestSource::Share {
            tag,
            file: Some("file".to_owned()),
        })
    }
}

/// A share is always a directory, and the file's own would show the guest
/// its neighbours: so the file gets a second name in a directory of its own.
/// Like Docker's bind mount, that is the file as it is now: an editor that
/// replaces it leaves the old one mounted.
fn single_file(path: &Path, meta: &Metadata, dir: &Path, ro: bool) -> Result<(), ApiError> {
    let failed = |error: std::io::Error| {
        ApiError::new("bind", format!("bind mount {}: {error}", path.display()))
    };
    if !meta.is_file() {
        let kind = if meta.file_type().is_socket() {
            "a socket"
        } else {
            "neither file nor directory"
        };
        return Err(ApiError::new(
            "bind",
            format!("bind mount {}: it is {kind}", path.display()),
        )
        .help("files and directories can be mounted into a micro-VM"));
    }
    crate::paths::private_dir(dir).map_err(failed)?;
    let real = std::fs::canonicalize(path).map_err(failed)?;
    let link = dir.join("file");
    match std::fs::hard_link(&real, &link) {
        Ok(()) => Ok(()),
        // Another file system, or a file that is not this user's.
        Err(_) if ro => std::fs::copy(&real, &link).map(drop).map_err(failed),
        Err(error) => Err(ApiError::new(
            "bind",
            format!(
                "bind mount {}: it cannot be linked into {}: {error}",
                path.display(),
                dir.display()
            ),
        )
        .help("mount it read-only (`:ro`), mount its directory, or keep both on one file system")),
    }
}

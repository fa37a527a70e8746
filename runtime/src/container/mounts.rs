//! Mounts: what the spec names becomes disks and shares of the VM.

use std::net::IpAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use stack_api::event::ApiError;
use stack_api::spec::{MountSource, ServiceSpec};
use stack_files::spec::{BIND_MS, Kind, Share, VOLUME_MS};
use stack_netd::config::HostSocket;
use stack_protocol::config::{Mount, MountSource as GuestSource};

use super::blueprint::{DiskUse, Resolved};
use crate::volume::VolumeKind;

/// The devices of a VM while its blueprint is drawn.
pub(super) struct Parts {
    pub disks: Vec<DiskUse>,
    /// Entries of the VM's file system.
    pub files: Vec<Share>,
    /// The router of the VM's first network, where sockets of the host are
    /// found.
    pub router: Option<IpAddr>,
}

/// The first port of the router that leads to a socket of the host; each
/// mount of the service has its own, by its number.
const FIRST_SOCKET: u16 = 61_000;

/// Sockets of the host that the service's bind mounts are of, with the ports
/// of the router that lead to them. One that is not there now may come back.
pub fn host_sockets(spec: &ServiceSpec) -> Vec<HostSocket> {
    let sockets = spec.mounts.iter().enumerate().filter_map(|(n, mount)| {
        let MountSource::Bind { path, .. } = &mount.source else {
            return None;
        };
        let other = std::fs::metadata(path).is_ok_and(|found| !found.file_type().is_socket());
        (!other).then(|| HostSocket {
            port: socket_port(n),
            path: path.clone(),
        })
    });
    sockets.collect()
}

fn socket_port(mount: usize) -> u16 {
    u16::try_from(mount).map_or(u16::MAX, |n| FIRST_SOCKET.saturating_add(n))
}

impl Parts {
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
        for (n, mount) in spec.mounts.iter().enumerate() {
            let mut subpath_of = String::new();
            let source = match &mount.source {
                MountSource::Volume {
                    volume,
                    nocopy,
                    subpath,
                } => {
                    let (path, kind) = resolved.volumes.get(volume).cloned().unwrap_or_default();
                    subpath_of = subpath.clone().unwrap_or_default();
                    let copy = !nocopy && !mount.read_only;
                    self.volume(path, kind, mount.read_only, copy)
                }
                MountSource::Anonymous => continue,
                MountSource::Bind { path, .. } if is_socket(path) => self.socket(path, n)?,
                MountSource::Bind {
                    path,
                    create,
                    copy,
                    subpath,
                } => {
                    // The guest looks for it: what it has made of it leads nowhere else.
                    subpath_of = subpath.clone().unwrap_or_default();
                    let copy = *copy && !mount.read_only;
                    self.bind(path, *create, mount.read_only, copy)?
                }
                MountSource::Nfs {
                    server,
                    path,
                    options,
                    copy,
                    subpath,
                } => {
                    subpath_of = subpath.clone().unwrap_or_default();
                    GuestSource::Nfs {
                        server: self.reachable(server)?,
                        path: path.clone(),
                        options: options.clone(),
                        copy_image_content: *copy && !mount.read_only,
                    }
                }
                MountSource::Tmpfs {
                    size,
                    mode,
                    options,
                } => GuestSource::Tmpfs {
                    size: *size,
                    mode: *mode,
                    options: options.clone(),
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
            let (path, kind) = path.clone();
            let source = self.volume(path, kind, false, true);
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

    fn volume(&mut self, path: PathBuf, kind: VolumeKind, ro: bool, copy: bool) -> GuestSource {
        match kind {
            VolumeKind::Disk => GuestSource::Disk {
                serial: self.disk(path, ro),
                copy_image_content: copy,
            },
            VolumeKind::Tree => {
                let share = Share {
                    path,
                    kind: Kind::Volume,
                    read_only: ro,
                    cache_ms: VOLUME_MS,
                };
                self.share(share, copy)
            }
        }
    }

    /// A mount of files of the host.
    fn share(&mut self, share: Share, copy_image_content: bool) -> GuestSource {
        let known = self.files.iter().position(|other| *other == share);
        let index = known.unwrap_or_else(|| {
            self.files.push(share);
            self.files.len() - 1
        });
        GuestSource::Share {
            tag: stack_files::TAG.to_owned(),
            name: index.to_string(),
            copy_image_content,
        }
    }

    /// A socket is no file that another kernel could use: the guest has one of
    /// its own, and its connections are relayed by the network.
    fn socket(&self, path: &Path, mount: usize) -> Result<GuestSource, ApiError> {
        let address = self.router.ok_or_else(|| {
            let message = format!("bind mount {}: it is a socket", path.display());
            ApiError::new("bind", message)
                .help("a service without a network cannot use sockets of the host")
        })?;
        let port = socket_port(mount);
        Ok(GuestSource::Socket { address, port })
    }

    /// The host's loopback is the router's address in a guest.
    fn reachable(&self, server: &str) -> Result<String, ApiError> {
        let address: Option<IpAddr> = server.parse().ok();
        let of_host = server == "localhost" || address.is_some_and(|a| a.is_loopback());
        match self.router {
            Some(router) if of_host => Ok(router.to_string()),
            Some(_) => Ok(server.to_owned()),
            None => Err(ApiError::new(
                "network",
                format!("NFS server {server}: a service without a network cannot reach it"),
            )),
        }
    }

    fn bind(
        &mut self,
        path: &Path,
        create: bool,
        ro: bool,
        copy: bool,
    ) -> Result<GuestSource, ApiError> {
        if !path.exists() && create {
            std::fs::create_dir_all(path).map_err(|error| {
                ApiError::new("bind", format!("cannot make {}: {error}", path.display()))
            })?;
        }
        let failed = |error: std::io::Error| {
            ApiError::new("bind", format!("bind mount {}: {error}", path.display()))
                .help("the path is relative to the project directory; make it first")
        };
        // Where a link leads is decided here and now, by the host.
        let real = std::fs::canonicalize(path).map_err(failed)?;
        let kind = std::fs::metadata(&real).map_err(failed)?.file_type();
        let kind = if kind.is_dir() {
            Kind::Bind
        } else if kind.is_file() {
            Kind::File
        } else {
            let what = "it is neither file nor directory nor socket";
            let message = format!("bind mount {}: {what}", path.display());
            return Err(ApiError::new("bind", message));
        };
        let share = Share {
            path: real,
            kind,
            read_only: ro,
            cache_ms: BIND_MS,
        };
        Ok(self.share(share, copy))
    }
}

fn is_socket(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

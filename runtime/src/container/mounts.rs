//! Mounts: what the spec names becomes disks and shares of the VM.

use std::fs::Permissions;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::Access;
use stack_api::event::ApiError;
use stack_api::spec::{MountSource, ServiceSpec};
use stack_files::spec::{BIND_MS, Kind, Share, VOLUME_MS};
use stack_netd::config::HostSocket;
use stack_protocol::config::{Mount, MountSource as GuestSource};

use super::blueprint::{DiskUse, Resolved, VolumeUse};
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
        if let Some(known) = self.disks.iter_mut().find(|disk| disk.path == path) {
            // Each mount is read-only for itself, too.
            known.read_only &= read_only;
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
                    let volume = resolved.volumes.get(volume).cloned().unwrap_or_default();
                    subpath_of = subpath.clone().unwrap_or_default();
                    let copy = !nocopy && subpath.is_none();
                    self.volume(volume, mount.read_only, copy)
                }
                MountSource::Anonymous { .. } => continue,
                MountSource::Bind { path, .. } if is_socket(path) => self.socket(path, n)?,
                MountSource::Bind {
                    path,
                    create,
                    copy,
                    subpath,
                } => {
                    // The guest looks for it: what it has made of it leads nowhere else.
                    subpath_of = subpath.clone().unwrap_or_default();
                    self.bind(path, *create, mount.read_only, *copy)?
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
                        copy_image_content: *copy,
                    }
                }
                MountSource::Image { image, subpath } => {
                    subpath_of = subpath.clone().unwrap_or_default();
                    let layers = resolved.images.get(image).map(|image| &image.layers);
                    let layers = layers.into_iter().flatten();
                    GuestSource::Image {
                        layers: layers.map(|path| self.disk(path.clone(), true)).collect(),
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
        for nameless in &resolved.anonymous {
            // Its disk is writable: only the mount is not.
            let source = self.volume(nameless.volume.clone(), false, !nameless.nocopy);
            mounts.push(Mount {
                target: nameless.target.clone(),
                source,
                read_only: nameless.read_only,
                subpath: String::new(),
            });
        }
        // A mount below another must come after it.
        mounts.sort_by_key(|mount| mount.target.split('/').filter(|p| !p.is_empty()).count());
        Ok(mounts)
    }

    /// What has to be filled is attached writable; the mount is read-only all the same.
    fn volume(&mut self, volume: VolumeUse, ro: bool, copy: bool) -> GuestSource {
        let VolumeUse {
            path,
            kind,
            unfilled,
        } = volume;
        let fill = copy
            && match kind {
                VolumeKind::Disk => unfilled || stack_vmm::disk::is_unused(&path),
                // Empty, or a copy was cut off.
                VolumeKind::Tree => is_empty(&path) || path.join(".stack-fill").exists(),
            };
        let (ro, copy) = (ro && !fill, copy && (fill || !ro));
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
        let foreign = share.kind != Kind::Volume;
        let known = self.files.iter().position(|other| *other == share);
        let index = known.unwrap_or_else(|| {
            self.files.push(share);
            self.files.len() - 1
        });
        GuestSource::Share {
            tag: stack_files::TAG.to_owned(),
            name: index.to_string(),
            copy_image_content,
            foreign,
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
            make_dirs(path).map_err(|error| {
                ApiError::new("bind", format!("cannot make {}: {error}", path.display()))
            })?;
        }
        let failed = |error: std::io::Error| {
            let help = match error.kind() {
                ErrorKind::PermissionDenied => "it is used with the rights of who runs stackd",
                _ => "the path is relative to the project directory; make it first",
            };
            ApiError::new("bind", format!("bind mount {}: {error}", path.display())).help(help)
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
        let wanted = match kind {
            Kind::Bind => Access::EXEC_OK,
            _ => Access::READ_OK,
        };
        rustix::fs::access(&real, wanted).map_err(|error| failed(error.into()))?;
        let fill = copy && is_empty(&real);
        let share = Share {
            path: real,
            kind,
            read_only: ro && !fill,
            cache_ms: BIND_MS,
        };
        Ok(self.share(share, copy && (fill || !ro)))
    }
}

/// Makes a directory of the user's, and what is missing above it: with the mode that
/// Docker gives it, whatever the daemon's own files have.
fn make_dirs(path: &Path) -> std::io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|dir| !dir.exists()).collect();
    for dir in missing.into_iter().rev() {
        match std::fs::create_dir(dir) {
            Ok(()) => std::fs::set_permissions(dir, Permissions::from_mode(0o755))?,
            // Another service's, at the same time.
            Err(error) if error.kind() == ErrorKind::AlreadyExists && dir.is_dir() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none())
}

fn is_socket(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

#[cfg(test)]
mod tests {
    use stack_api::spec::MountSpec;

    use super::*;
    use crate::container::blueprint::Nameless;

    fn parts() -> Parts {
        Parts {
            disks: Vec::new(),
            files: Vec::new(),
            router: None,
        }
    }

    /// A service that mounts the volume `v` at these targets, each read-only or not.
    fn service(mounts: &[(&str, bool)]) -> ServiceSpec {
        let mount = |(target, read_only): &(&str, bool)| MountSpec {
            target: (*target).to_owned(),
            read_only: *read_only,
            source: MountSource::Volume {
                volume: "v".to_owned(),
                nocopy: false,
                subpath: None,
            },
        };
        ServiceSpec {
            mounts: mounts.iter().map(mount).collect(),
            ..ServiceSpec::default()
        }
    }

    #[test]
    fn a_bind_mount_without_a_source_is_made_only_if_it_may_be() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("mistyped/data");
        let error = parts().bind(&missing, false, false, false).err().unwrap();
        assert!(error.message.contains("mistyped/data"), "{}", error.message);
        assert!(error.help.unwrap().contains("make it first"));
        assert!(!missing.exists());
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let below = parts().bind(&file.join("data"), true, false, false);
        assert!(below.err().unwrap().message.contains("cannot make"));
        // The daemon's: what is made is the user's nevertheless.
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        assert!(parts().bind(&missing, true, false, false).is_ok());
        for made in [missing.parent().unwrap(), &missing] {
            let mode = std::fs::metadata(made).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o755);
        }
    }

    fn resolved(path: &Path, kind: VolumeKind) -> Resolved {
        let volume = VolumeUse {
            path: path.to_path_buf(),
            kind,
            unfilled: false,
        };
        Resolved {
            volumes: [("v".to_owned(), volume)].into(),
            ..Resolved::default()
        }
    }

    #[test]
    fn a_volume_without_a_name_may_begin_empty() {
        let volume = |target: &str, read_only, nocopy| Nameless {
            target: target.to_owned(),
            name: String::new(),
            volume: VolumeUse {
                path: format!("/none{target}.tree").into(),
                kind: VolumeKind::Tree,
                unfilled: false,
            },
            read_only,
            nocopy,
        };
        let resolved = Resolved {
            anonymous: vec![volume("/a", false, false), volume("/b", true, true)],
            ..Resolved::default()
        };
        let mut parts = parts();
        let mounts = parts.mounts(&ServiceSpec::default(), &resolved).unwrap();
        let shown = mounts.into_iter().map(|mount| match mount.source {
            GuestSource::Share {
                copy_image_content, ..
            } => (mount.read_only, copy_image_content),
            other => panic!("{other:?}"),
        });
        assert_eq!(shown.collect::<Vec<_>>(), [(false, true), (true, false)]);
    }

    #[test]
    fn one_volume_at_two_places_is_written_at_the_second() {
        let mut parts = parts();
        let disk = resolved(Path::new("/none/v.ext4"), VolumeKind::Disk);
        let mounts = parts.mounts(&service(&[("/a", true), ("/b", false)]), &disk);
        let read_only = mounts
            .unwrap()
            .iter()
            .map(|m| m.read_only)
            .collect::<Vec<_>>();
        assert_eq!(read_only, [true, false]);
        assert_eq!(parts.disks.len(), 1);
        assert!(!parts.disks[0].read_only);
    }

    #[test]
    fn what_has_to_be_filled_is_attached_writable() {
        let dir = tempfile::tempdir().unwrap();
        let service = service(&[("/a", true)]);
        let attached_as = |unfilled: bool, path: &Path, kind| {
            let mut parts = parts();
            let mut resolved = resolved(path, kind);
            resolved
                .volumes
                .values_mut()
                .for_each(|v| v.unfilled = unfilled);
            let mounts = parts.mounts(&service, &resolved).unwrap();
            assert!(mounts[0].read_only);
            let copies = match &mounts[0].source {
                GuestSource::Disk {
                    copy_image_content, ..
                }
                | GuestSource::Share {
                    copy_image_content, ..
                } => *copy_image_content,
                other => panic!("{other:?}"),
            };
            let disks = parts.disks.iter().map(|disk| disk.read_only);
            let read_only = disks.chain(parts.files.iter().map(|share| share.read_only));
            (copies, read_only.collect::<Vec<_>>())
        };
        let attached = |path: &Path, kind| attached_as(false, path, kind);
        let disk = dir.path().join("v.ext4");
        stack_vmm::disk::create_volume(&disk, 64 << 20).unwrap();
        assert_eq!(attached(&disk, VolumeKind::Disk), (true, vec![false]));
        // As the kernel does when it is mounted.
        let file = std::fs::File::options().write(true).open(&disk).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &[1], 1024 + 0x2c).unwrap();
        assert_eq!(attached(&disk, VolumeKind::Disk), (false, vec![true]));
        // And if the machine did not come up.
        let again = attached_as(true, &disk, VolumeKind::Disk);
        assert_eq!(again, (true, vec![false]));
        let tree = dir.path().join("v.tree");
        std::fs::create_dir(&tree).unwrap();
        assert_eq!(attached(&tree, VolumeKind::Tree), (true, vec![false]));
        std::fs::write(tree.join("file"), "").unwrap();
        assert_eq!(attached(&tree, VolumeKind::Tree), (false, vec![true]));
    }
}

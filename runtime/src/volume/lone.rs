//! A VM that has nothing but a volume or two: what is in a disk is read by the
//! kernel that wrote it, not by the host.

use std::path::PathBuf;
use std::sync::Arc;

use stack_api::event::ApiError;
use stack_files::spec::{Kind, Share, VOLUME_MS};
use stack_protocol::config::{Mount, MountSource, VmConfig, disk_dir, share_dir};
use stack_vmm::{Disk, VmSpec};

use super::{Turn, Volume, VolumeKind};
use crate::container::aside::Lone;
use crate::daemon::Daemon;

/// Where the volume is in the VM.
const PLACE: &str = "/volume";
/// Its memory: bytes.
const MEMORY: u64 = 256 << 20;

/// What the VM mounts at [`PLACE`], one over the other.
#[derive(Debug)]
pub(super) enum Shown {
    /// An ext4 disk.
    Disk(PathBuf),
    /// A tree; if it is empty, what the one below has is copied to it.
    Tree(PathBuf),
}

impl From<&Volume> for Shown {
    fn from(volume: &Volume) -> Shown {
        match volume.kind {
            VolumeKind::Disk => Shown::Disk(volume.path.clone()),
            VolumeKind::Tree => Shown::Tree(volume.path.clone()),
        }
    }
}

/// Where the agent of a VM with this volume alone has it.
pub(super) fn path(kind: VolumeKind) -> String {
    match kind {
        VolumeKind::Disk => disk_dir("vol0"),
        VolumeKind::Tree => format!("{}/0", share_dir(stack_files::TAG)),
    }
}

/// Starts one. `name`: of the volume; `turn`: what keeps others from it.
pub(super) async fn start(
    daemon: &Arc<Daemon>,
    name: &str,
    shown: Vec<Shown>,
    turn: Turn,
) -> Result<Lone, ApiError> {
    let id = key(name);
    let dir = Lone::dir(daemon, &id)?;
    let (mut disks, mut shares, mut mounts) = (Vec::new(), Vec::new(), Vec::new());
    for shown in shown {
        let source = match shown {
            Shown::Disk(path) => {
                let serial = format!("vol{}", disks.len());
                disks.push(Disk {
                    path,
                    serial: serial.clone(),
                    read_only: false,
                });
                MountSource::Disk {
                    serial,
                    copy_image_content: false,
                }
            }
            Shown::Tree(path) => {
                let name = shares.len().to_string();
                shares.push(Share {
                    path,
                    kind: Kind::Volume,
                    read_only: false,
                    cache_ms: VOLUME_MS,
                });
                MountSource::Share {
                    tag: stack_files::TAG.to_owned(),
                    name,
                    copy_image_content: !mounts.is_empty(),
                    foreign: false,
                }
            }
        };
        mounts.push(Mount {
            target: PLACE.to_owned(),
            source,
            read_only: false,
            subpath: String::new(),
        });
    }
    let files = daemon
        .open_files(&format!("volume-{id}"), &dir, &shares)
        .await?;
    let spec = VmSpec {
        name: format!("volume-{name}"),
        dir,
        kernel: daemon.assets.kernel.clone(),
        initramfs: daemon.assets.initramfs.clone(),
        memory: MEMORY,
        cpus: daemon.backend.default_cpus().await,
        disks,
        nics: Vec::new(),
        files,
        rates: stack_vmm::Rates::default(),
        affinity: Vec::new(),
        template: daemon.assets.templates,
    };
    let config = VmConfig {
        hostname: "volume".to_owned(),
        mounts,
        ..VmConfig::default()
    };
    Lone::start(daemon, &spec, &config, vec![turn]).await
}

/// Eleven characters that no other volume has.
fn key(name: &str) -> String {
    use std::hash::{Hash, Hasher};
    let mut hasher = std::hash::DefaultHasher::new();
    name.hash(&mut hasher);
    format!("v{:010x}", hasher.finish() & 0xff_ffff_ffff)
}

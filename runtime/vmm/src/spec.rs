//! What a VM is made of.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A VM to start.
#[derive(Debug, Clone)]
pub struct VmSpec {
    /// For the process list.
    pub name: String,
    /// Directory of this VM, 0700: `qmp.sock`, `agent.sock`, `console.log`,
    /// `qemu.log`. Short, for socket paths have 108 bytes.
    pub dir: PathBuf,
    /// `vmlinux` or `Image`.
    pub kernel: PathBuf,
    /// The archive with `vminit`.
    pub initramfs: PathBuf,
    /// Bytes, whole MiB.
    pub memory: u64,
    /// Virtual processors.
    pub cpus: u32,
    /// Disks.
    pub disks: Vec<Disk>,
    /// Network devices.
    pub nics: Vec<Nic>,
    /// Socket of the file server, for a VM that mounts files of the host
    /// (vhost-user-fs).
    pub files: Option<PathBuf>,
    /// How fast all disks together may be read and written.
    pub rates: Rates,
    /// Processors of the host that it may run on; empty: all.
    pub affinity: Vec<u32>,
    /// It may be restored from a machine that has booted, where the backend
    /// can do that.
    pub template: bool,
}

/// Limits of disk access; absent ones do not exist.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rates {
    /// Bytes a second.
    pub read_bps: Option<u64>,
    /// Bytes a second.
    pub write_bps: Option<u64>,
    /// Requests a second.
    pub read_iops: Option<u64>,
    /// Requests a second.
    pub write_iops: Option<u64>,
}

/// A raw disk image as a virtio-blk device.
#[derive(Debug, Clone)]
pub struct Disk {
    /// Image file.
    pub path: PathBuf,
    /// virtio-blk serial number, at most 20 bytes.
    pub serial: String,
    /// Attach read-only.
    pub read_only: bool,
}

/// A network device.
#[derive(Debug, Clone)]
pub struct Nic {
    /// Hardware address.
    pub mac: String,
    /// How its frames travel.
    pub transport: Transport,
    /// Socket that the VMM binds, for datagrams.
    pub local: PathBuf,
    /// Socket of the network daemon.
    pub remote: PathBuf,
}

/// How frames go between a VM and the network daemon.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// As unix datagrams.
    #[default]
    Datagram,
    /// Through the VM's memory (vhost-user).
    VhostUser,
}

impl std::fmt::Display for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Transport::Datagram => "dgram",
            Transport::VhostUser => "vhost-user",
        })
    }
}

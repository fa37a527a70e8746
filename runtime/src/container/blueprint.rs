//! What a container's VM is made of: fixed when the container is created,
//! used at each of its starts.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use stack_api::event::ApiError;
use stack_api::spec::{Boot, DiskRates, ServiceSpec};
use stack_files::spec::Share;
use stack_images::{Image, ImageConfig};
use stack_protocol::config::{File, Interface, Root, VmConfig};
use stack_vmm::Rates;

use super::mounts::Parts;
use super::{process, sockets};
use crate::network::{Network, Nic};
use crate::stack::Placed;
use crate::volume::{Volume, VolumeKind};

/// Largest frame: what one unix datagram carries without fragments.
pub const MTU: u16 = 65_520;

/// Memory of a VM whose service has no limit.
pub(super) const DEFAULT_MEMORY: u64 = 1 << 30;

/// What the guest's kernel and agent need beside the service's limit.
pub(super) const MEMORY_OVERHEAD: u64 = 96 << 20;

/// What a VM is made of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Blueprint {
    /// Configuration without clock and entropy.
    pub config: VmConfig,
    /// Disks in the order of their devices.
    pub disks: Vec<DiskUse>,
    /// Files of the host: the entries of its file system.
    #[serde(default)]
    pub files: Vec<Share>,
    /// Bytes.
    pub memory: u64,
    /// Virtual processors; `None`: as many as suit the backend.
    pub cpus: Option<u32>,
    /// Processors of the host that it may run on; empty: all.
    #[serde(default)]
    pub affinity: Vec<u32>,
    /// How fast its disks may be read and written.
    #[serde(default)]
    pub rates: Rates,
    /// A kernel of the service's own.
    #[serde(default)]
    pub kernel: Option<PathBuf>,
    /// It boots each time.
    #[serde(default)]
    pub boots: bool,
    /// Signal name or number.
    pub stop_signal: String,
    /// Volumes without a name: target in the container, volume name.
    pub anonymous: Vec<(String, String)>,
}

/// One disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DiskUse {
    /// Image file.
    pub path: PathBuf,
    /// Name for the guest.
    pub serial: String,
    /// Attached read-only.
    pub read_only: bool,
}

/// One volume, as it is when the blueprint is drawn.
#[derive(Debug, Clone, Default)]
pub struct VolumeUse {
    /// Disk or top of the tree.
    pub path: PathBuf,
    /// What it is.
    pub kind: VolumeKind,
    /// No machine has come up with the disk yet.
    pub unfilled: bool,
}

impl From<Volume> for VolumeUse {
    fn from(volume: Volume) -> VolumeUse {
        VolumeUse {
            path: volume.path,
            kind: volume.kind,
            unfilled: volume.unfilled,
        }
    }
}

/// What the mounts of a spec stand for on this host.
#[derive(Default)]
pub struct Resolved {
    /// Named volumes by key.
    pub volumes: BTreeMap<String, VolumeUse>,
    /// Volumes without a name.
    pub anonymous: Vec<Nameless>,
    /// Mounted images by their references.
    pub images: BTreeMap<String, Image>,
}

/// A volume without a name: made for this container, or left to it.
pub struct Nameless {
    /// Path in the container.
    pub target: String,
    /// What it is known by.
    pub name: String,
    /// The volume.
    pub volume: VolumeUse,
    /// The service may only read it.
    pub read_only: bool,
    /// It begins without what the image has at the target.
    pub nocopy: bool,
}

/// Where a container is made.
pub struct Site<'a> {
    /// 64 hexadecimal digits.
    pub id: &'a str,
    /// Its places on networks, in the order of its cards.
    pub networks: &'a [Placed],
    /// Its mounts.
    pub resolved: &'a Resolved,
    /// Its scratch disk.
    pub scratch: PathBuf,
}

/// Draws the blueprint.
///
/// # Errors
/// The image has no command, or a bind mount's source is missing.
pub fn draw(site: &Site<'_>, spec: &ServiceSpec, image: &Image) -> Result<Blueprint, ApiError> {
    let Site {
        id,
        networks,
        resolved,
        ..
    } = *site;
    let mut disks = Vec::new();
    for (n, path) in image.layers.iter().enumerate() {
        disks.push(DiskUse {
            path: path.clone(),
            serial: format!("layer{n}"),
            read_only: true,
        });
    }
    disks.push(DiskUse {
        path: site.scratch.clone(),
        serial: "scratch".to_owned(),
        read_only: false,
    });
    let mut parts = Parts {
        disks,
        files: Vec::new(),
        router: networks.iter().find_map(|place| place.network.router()),
    };
    let mounts = parts.mounts(spec, resolved)?;

    let interfaces = interfaces(networks);
    let gateway = networks
        .iter()
        .find(|place| place.nic.default_route)
        .and_then(|place| place.network.router());
    let nameservers = nameservers(
        spec,
        networks.iter().map(|place| (&place.network, &place.nic)),
    );
    let hostname = spec.hostname.clone().unwrap_or_else(|| id[..12].to_owned());
    let config = VmConfig {
        hostname,
        domainname: spec.domainname.clone().unwrap_or_default(),
        root: Root {
            layers: (0..image.layers.len())
                .map(|n| format!("layer{n}"))
                .collect(),
            scratch: Some("scratch".to_owned()),
            read_only: spec.read_only,
        },
        mounts,
        files: spec
            .files
            .iter()
            .map(|file| File {
                path: file.target.clone(),
                content: file.content.clone(),
                mode: file.mode,
                uid: file.uid,
                gid: file.gid,
            })
            .collect(),
        interfaces,
        nameservers,
        search: spec.dns_search.clone(),
        resolver_options: spec.dns_opt.clone(),
        hosts: hosts(spec, gateway),
        sysctls: spec
            .sysctls
            .iter()
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect(),
        inward: sockets::inward(
            spec,
            networks.iter().map(|place| (&place.network, &place.nic)),
        ),
        process: process::process(spec, &image.config)?,
        healthcheck: process::healthcheck(spec, &image.config),
        init: spec.init,
        privileged: spec.privileged,
        pids_limit: spec.pids_limit,
        memory_limit: spec.memory,
        shm_size: spec.shm_size,
        cpus: spec.cpus,
        ..VmConfig::default()
    };
    let (memory, cpus) = size(spec);
    Ok(Blueprint {
        config,
        disks: parts.disks,
        files: parts.files,
        memory,
        cpus,
        affinity: spec.cpuset.clone(),
        rates: rates(&spec.disk_rates),
        kernel: kernel(spec)?,
        boots: spec.machine.boot == Some(Boot::Cold),
        stop_signal: stop_signal(spec, &image.config),
        anonymous: resolved
            .anonymous
            .iter()
            .map(|volume| (volume.target.clone(), volume.name.clone()))
            .collect(),
    })
}

/// Could one be drawn? Asked while there is neither a place nor a volume for it yet.
/// Sources of bind mounts that are to be made are made.
///
/// # Errors
/// As [`draw`].
pub fn try_out(spec: &ServiceSpec, image: &Image) -> Result<(), ApiError> {
    let mut parts = Parts {
        disks: Vec::new(),
        files: Vec::new(),
        router: (!spec.networks.is_empty()).then_some(Ipv4Addr::UNSPECIFIED.into()),
    };
    parts.mounts(spec, &Resolved::default())?;
    process::process(spec, &image.config)?;
    kernel(spec).map(drop)
}

fn kernel(spec: &ServiceSpec) -> Result<Option<PathBuf>, ApiError> {
    let kernel = spec.machine.kernel.clone();
    if let Some(missing) = kernel.as_ref().filter(|kernel| !kernel.is_file()) {
        return Err(ApiError::new(
            "kernel_missing",
            format!(
                "service {}: there is no kernel {}",
                spec.name,
                missing.display()
            ),
        )
        .help("`x-stack.machine.kernel` is the path of a vmlinux (Image on aarch64)"));
    }
    Ok(kernel)
}

/// Memory in bytes and processors of a VM for these limits.
pub(super) fn size(spec: &ServiceSpec) -> (u64, Option<u32>) {
    let machine = &spec.machine;
    let limit = spec
        .memory
        .map(|limit| limit.saturating_add(MEMORY_OVERHEAD));
    let memory = machine.memory.or(limit).unwrap_or(DEFAULT_MEMORY);
    let cpus = spec.cpus.map(|cpus| (cpus.ceil() as u32).clamp(1, cores()));
    // QEMU wants whole MiB; a kernel and an initramfs want some.
    let memory = memory.clamp(128 << 20, u64::MAX >> 1);
    (memory.next_multiple_of(2 << 20), machine.vcpus.or(cpus))
}

fn rates(wanted: &DiskRates) -> Rates {
    Rates {
        read_bps: wanted.read_bps,
        write_bps: wanted.write_bps,
        read_iops: wanted.read_iops,
        write_iops: wanted.write_iops,
    }
}

/// Processors of this host.
pub(super) fn cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| n.get() as u32)
}

pub(super) fn stop_signal(spec: &ServiceSpec, image: &ImageConfig) -> String {
    let signal = spec.stop_signal.clone().or(image.stop_signal.clone());
    signal.unwrap_or_else(|| "SIGTERM".to_owned())
}

fn interfaces(places: &[Placed]) -> Vec<Interface> {
    let named: Vec<&String> = places
        .iter()
        .filter_map(|place| place.wanted.interface.as_ref())
        .collect();
    let mut numbers = (0..)
        .map(|n| format!("eth{n}"))
        .filter(|name| !named.contains(&name));
    let interfaces = places.iter().map(|place| {
        let Placed {
            network,
            nic,
            wanted,
        } = place;
        let name = wanted.interface.clone().or_else(|| numbers.next());
        card(network, nic, name.unwrap_or_default())
    });
    interfaces.collect()
}

/// What the guest is told of a network card.
pub fn card(network: &Network, nic: &Nic, name: String) -> Interface {
    let routed = nic.default_route;
    let prefix = network.subnet.map(|net| net.prefix_len());
    let prefix6 = network.subnet6.map(|net| net.prefix_len());
    Interface {
        mac: nic.mac.clone(),
        device: None,
        name,
        ipv4: nic.ipv4.zip(prefix),
        gateway4: network.gateway.filter(|_| routed && nic.ipv4.is_some()),
        ipv6: nic.ipv6.zip(prefix6),
        gateway6: network.gateway6.filter(|_| routed && nic.ipv6.is_some()),
        mtu: network.mtu.unwrap_or(MTU).into(),
    }
}

/// The networks' name servers, that of the default route first: they know
/// the names, and ask the service's own `dns` for others. Without a network,
/// those are all there is.
pub(super) fn nameservers<'n>(
    spec: &ServiceSpec,
    networks: impl Iterator<Item = (&'n Network, &'n Nic)>,
) -> Vec<String> {
    let mut known: Vec<(bool, String)> = networks
        .filter_map(|(network, nic)| Some((!nic.default_route, network.router()?.to_string())))
        .collect();
    known.sort_by_key(|(after, _)| *after);
    if known.is_empty() {
        return spec.dns.clone();
    }
    known.into_iter().map(|(_, address)| address).collect()
}

pub(super) fn hosts(spec: &ServiceSpec, gateway: Option<IpAddr>) -> Vec<(String, String)> {
    spec.extra_hosts
        .iter()
        .filter_map(|(name, address)| {
            let address = if address == "host-gateway" {
                gateway?.to_string()
            } else {
                address.clone()
            };
            Some((address, name.clone()))
        })
        .collect()
}

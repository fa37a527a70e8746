//! A stack as wanted: the planner's output, ready to run. No interpolation,
//! no relative path and no profile is left in it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::hook::Hooks;
use crate::logging::Logging;
use crate::retry::Retry;
use crate::rollout::Rollout;
use crate::seccomp::Profile;

/// A whole stack.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StackSpec {
    /// Project name.
    pub name: String,
    /// Absolute project directory.
    pub working_dir: PathBuf,
    /// The files it was read from.
    pub files: Vec<PathBuf>,
    /// Enabled services by name.
    pub services: BTreeMap<String, ServiceSpec>,
    /// Services in the file that no active profile enables: their containers
    /// are not orphans.
    #[serde(default)]
    pub disabled: Vec<String>,
    /// Enabled services of which nothing is said here: nobody asked for them, and
    /// the files alone do not describe one of them. What is known of them holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unresolved: Vec<String>,
    /// Networks by their key in the file.
    pub networks: BTreeMap<String, NetworkSpec>,
    /// Named volumes by their key in the file.
    pub volumes: BTreeMap<String, VolumeSpec>,
}

impl StackSpec {
    /// How many containers mount the volume with this key.
    pub fn mounting(&self, key: &str) -> u32 {
        let services = self.services.values();
        let mounting = services.filter(|service| service.volume_keys().any(|k| k == key));
        mounting.map(|service| service.replicas).sum()
    }
}

/// A network. What an older record lacks has its default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkSpec {
    /// Full name, e.g. `shop_default`.
    pub name: String,
    /// No way out.
    pub internal: bool,
    /// Nothing but IPv6 (`enable_ipv4: false`).
    pub no_ipv4: bool,
    /// Wanted subnet, e.g. `10.89.0.0/24`; `None`: the daemon chooses.
    pub subnet: Option<Ipv4Net>,
    /// Wanted gateway.
    pub gateway: Option<Ipv4Addr>,
    /// Addresses that are not given by hand come from here.
    pub range: Option<Ipv4Net>,
    /// Also IPv6 (`enable_ipv6`).
    pub ipv6: bool,
    /// Wanted IPv6 subnet; `None`: a unique local one (RFC 4193).
    pub subnet6: Option<Ipv6Net>,
    /// Wanted IPv6 gateway.
    pub gateway6: Option<Ipv6Addr>,
    /// As `range`.
    pub range6: Option<Ipv6Net>,
    /// Addresses that nobody is given (`aux_addresses`), by the name that
    /// the file gives them.
    pub reserved: BTreeMap<String, IpAddr>,
    /// Largest packet in bytes.
    pub mtu: Option<u16>,
    /// Must exist already.
    pub external: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// A named volume.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct VolumeSpec {
    /// Full name, e.g. `shop_db`.
    pub name: String,
    /// Must exist already; never removed.
    pub external: bool,
    /// Size limit in bytes (`driver_opts.size`).
    pub size: Option<u64>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// One service. What an older record lacks has its default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceSpec {
    /// Key in the file.
    pub name: String,
    /// Explicit container name, if any (then `replicas` is 1).
    pub container_name: Option<String>,
    /// Containers wanted.
    pub replicas: u32,
    /// Image reference as written.
    pub image: String,
    /// When to pull.
    pub pull_policy: PullPolicy,
    /// `os/arch[/variant]`.
    pub platform: Option<String>,
    /// Overrides the image's entrypoint. `Some([])` clears it.
    pub entrypoint: Option<Vec<String>>,
    /// Overrides the image's command.
    pub command: Option<Vec<String>>,
    /// Environment; over the image's.
    pub environment: BTreeMap<String, String>,
    /// Variables of the image that it does not get: named in the file, but
    /// without a value there or here.
    pub environment_unset: BTreeSet<String>,
    /// Overrides the image's working directory.
    pub working_dir: Option<String>,
    /// Overrides the image's user.
    pub user: Option<String>,
    /// Additional groups.
    pub group_add: Vec<String>,
    /// Host name; default: short container id.
    pub hostname: Option<String>,
    /// Domain name.
    pub domainname: Option<String>,
    /// Give it a terminal.
    pub tty: bool,
    /// Keep standard input open.
    pub stdin_open: bool,
    /// Small init as PID 1.
    pub init: bool,
    /// Read-only root.
    pub read_only: bool,
    /// All capabilities.
    pub privileged: bool,
    /// Capabilities to add (without or with `CAP_`).
    pub cap_add: Vec<String>,
    /// Capabilities to drop; `ALL` is all.
    pub cap_drop: Vec<String>,
    /// `no-new-privileges` was asked for.
    pub no_new_privileges: bool,
    /// Which system calls it may make (`security_opt: seccomp=FILE`); `None`:
    /// all.
    pub seccomp: Option<Profile>,
    /// Kernel settings.
    pub sysctls: BTreeMap<String, String>,
    /// Limits: name, (soft, hard); -1 is unlimited.
    pub ulimits: BTreeMap<String, (i64, i64)>,
    /// `/dev/shm` in bytes.
    pub shm_size: Option<u64>,
    /// What it may write to its root file system, in bytes; `None`: the most there is.
    #[serde(default)]
    pub root_size: Option<u64>,
    /// Memory limit in bytes.
    pub memory: Option<u64>,
    /// Processors, e.g. 1.5.
    pub cpus: Option<f64>,
    /// Processors of the host that it may run on; empty: all.
    pub cpuset: Vec<u32>,
    /// How fast its disks may be read and written.
    pub disk_rates: DiskRates,
    /// Processes at most.
    pub pids_limit: Option<u64>,
    /// OOM score adjustment.
    pub oom_score_adj: Option<i32>,
    /// Restart policy.
    pub restart: Restart,
    /// How often and after which pauses (`deploy.restart_policy`).
    pub retry: Retry,
    /// `SIGTERM`, `TERM` or a number; default: the image's, then SIGTERM.
    pub stop_signal: Option<String>,
    /// Grace period; default 10 s.
    pub stop_grace_period_ms: Option<u64>,
    /// Health check; `None`: the image's own.
    pub healthcheck: Option<HealthCheckSpec>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations: kept and shown, nothing here reads them.
    pub annotations: BTreeMap<String, String>,
    /// Published ports.
    pub ports: Vec<PortSpec>,
    /// Sockets of the host that lead to it (`x-stack.sockets`).
    pub sockets: Vec<SocketSpec>,
    /// Attachments by network key.
    pub networks: BTreeMap<String, AttachSpec>,
    /// Names that this service alone has for others: name, service.
    pub links: Vec<(String, String)>,
    /// Mounts in order.
    pub mounts: Vec<MountSpec>,
    /// Configs and secrets as files.
    pub files: Vec<FileSpec>,
    /// What must run first, by service.
    pub depends_on: BTreeMap<String, Dependency>,
    /// `name → addresses`; `host-gateway` stays as it is.
    pub extra_hosts: Vec<(String, String)>,
    /// Name servers.
    pub dns: Vec<String>,
    /// Search domains.
    pub dns_search: Vec<String>,
    /// Resolver options.
    pub dns_opt: Vec<String>,
    /// Wishes about the virtual machine.
    #[serde(default)]
    pub machine: MachineSpec,
    /// What is kept of its output.
    pub logging: Logging,
    /// Commands after its start and before its stop.
    pub hooks: Hooks,
    /// `up` in the foreground shows its output; absent: it does.
    pub attach: Option<bool>,
    /// How containers are replaced (`deploy.update_config`); `None`: all at
    /// once, stopping each before its successor starts.
    pub update: Option<Rollout>,
    /// The same when an update is taken back (`deploy.rollback_config`);
    /// `None`: as `update`.
    pub rollback: Option<Rollout>,
    /// Hash of everything that asks for a new container when it changes.
    pub config_hash: String,
}

/// Wishes about a service's virtual machine (`x-stack.machine`); what is absent
/// is chosen by the daemon.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineSpec {
    /// Absolute path of a kernel: `vmlinux` on x86_64, `Image` on aarch64.
    pub kernel: Option<PathBuf>,
    /// Virtual processors.
    pub vcpus: Option<u32>,
    /// Bytes of memory, what the guest's kernel needs included.
    pub memory: Option<u64>,
    /// How it comes to run; `None` is [`Boot::Template`].
    #[serde(default)]
    pub boot: Option<Boot>,
}

/// How a virtual machine comes to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Boot {
    /// Its kernel boots each time.
    Cold,
    /// It is restored from a machine that has booted, when there is one of
    /// its shape.
    Template,
}

impl ServiceSpec {
    /// Its networks in the order of its cards: by priority, then by key.
    pub fn cards(&self) -> Vec<(&String, &AttachSpec)> {
        let mut cards: Vec<_> = self.networks.iter().collect();
        cards.sort_by_key(|(_, place)| std::cmp::Reverse(place.priority));
        cards
    }

    /// Keys of the named volumes it mounts.
    pub fn volume_keys(&self) -> impl Iterator<Item = &String> {
        self.mounts.iter().filter_map(|mount| match &mount.source {
            MountSource::Volume { volume, .. } => Some(volume),
            MountSource::Anonymous { .. }
            | MountSource::Bind { .. }
            | MountSource::Nfs { .. }
            | MountSource::Image { .. }
            | MountSource::Tmpfs { .. } => None,
        })
    }

    /// References of the images that it mounts.
    pub fn mounted_images(&self) -> impl Iterator<Item = &String> {
        self.mounts.iter().filter_map(|mount| match &mount.source {
            MountSource::Image { image, .. } => Some(image),
            MountSource::Volume { .. }
            | MountSource::Anonymous { .. }
            | MountSource::Bind { .. }
            | MountSource::Nfs { .. }
            | MountSource::Tmpfs { .. } => None,
        })
    }

    /// The name of its container with this number.
    pub fn container_name_of(&self, project: &str, number: u32) -> String {
        match &self.container_name {
            Some(name) => name.clone(),
            None => format!("{project}-{}-{number}", self.name),
        }
    }
}

/// Limits for all disks of a container together (`blkio_config`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DiskRates {
    /// Bytes a second.
    pub read_bps: Option<u64>,
    /// Bytes a second.
    pub write_bps: Option<u64>,
    /// Requests a second.
    pub read_iops: Option<u64>,
    /// Requests a second.
    pub write_iops: Option<u64>,
}

/// When to pull an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PullPolicy {
    /// Every time.
    Always,
    /// Never: it must be there.
    Never,
    /// When it is not there.
    #[default]
    Missing,
    /// When it is not there, or its registry was last asked so many seconds ago.
    Every(u64),
}

/// Restart policy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// Never.
    #[default]
    No,
    /// Always.
    Always,
    /// Unless the user stopped it.
    UnlessStopped,
    /// After a failure.
    OnFailure {
        /// Restarts at most.
        max: Option<u32>,
    },
}

/// A health check as written; what is absent comes from the image's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HealthCheckSpec {
    /// `NONE`/`disable: true`.
    pub disable: bool,
    /// `["CMD", …]` or `["CMD-SHELL", …]`.
    pub test: Option<Vec<String>>,
    /// Milliseconds.
    pub interval_ms: Option<u64>,
    /// Milliseconds.
    pub timeout_ms: Option<u64>,
    /// Failures in a row.
    pub retries: Option<u32>,
    /// Milliseconds.
    pub start_period_ms: Option<u64>,
    /// Milliseconds.
    pub start_interval_ms: Option<u64>,
}

/// A published port.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PortSpec {
    /// Address on the host; `None` is all.
    pub host_ip: Option<IpAddr>,
    /// First port on the host; `None` lets the system choose.
    pub published: Option<u16>,
    /// Last port of the host's range, when one was given.
    pub published_end: Option<u16>,
    /// Port of the service.
    pub target: u16,
    /// UDP instead of TCP.
    pub udp: bool,
    /// What SRV lookups find it by: its `name` and `app_protocol`, as DNS
    /// labels without the underscore.
    #[serde(default)]
    pub labels: Vec<String>,
}

/// A socket in the host's file system that leads to a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketSpec {
    /// Where it leads.
    pub target: SocketTarget,
    /// Absolute path of the host.
    pub path: PathBuf,
}

/// What a socket leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SocketTarget {
    /// A TCP port of the service.
    Port(u16),
    /// A stream socket: an absolute path in the service.
    Path(String),
}

impl std::fmt::Display for SocketTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SocketTarget::Port(port) => write!(f, "{port}"),
            SocketTarget::Path(path) => f.write_str(path),
        }
    }
}

/// A service's place on a network.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AttachSpec {
    /// More names.
    pub aliases: Vec<String>,
    /// Fixed address.
    pub ipv4: Option<Ipv4Addr>,
    /// Fixed IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
    /// Hardware address, `02:42:ac:11:00:02`.
    pub mac: Option<String>,
    /// Name of the card in the service; default `eth0`, `eth1`…
    pub interface: Option<String>,
    /// The default route is by the network with the highest.
    pub gw_priority: i64,
    /// Cards are in the order of it, the highest first.
    pub priority: i64,
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MountSpec {
    /// Absolute path in the service.
    pub target: String,
    /// Read-only.
    pub read_only: bool,
    /// What is mounted.
    pub source: MountSource,
}

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum MountSource {
    /// A named volume by its key in the file.
    Volume {
        /// Key in [`StackSpec::volumes`].
        volume: String,
        /// Do not copy the image's content into an empty volume.
        nocopy: bool,
        /// Directory in the volume.
        subpath: Option<String>,
    },
    /// A volume without a name.
    Anonymous {
        /// Do not copy the image's content into it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        nocopy: bool,
    },
    /// A file or directory of the host.
    Bind {
        /// Absolute path.
        path: PathBuf,
        /// Make the directory when it does not exist.
        create: bool,
        /// If it is an empty directory, first copy what the image has at the target:
        /// it is a named volume in the file.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        copy: bool,
        /// Directory in it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subpath: Option<String>,
    },
    /// A directory of an NFS server, mounted by the guest.
    Nfs {
        /// Host name or address.
        server: String,
        /// Absolute path there.
        path: String,
        /// Options of nfs(5).
        options: Vec<String>,
        /// If it is empty, first copy what the image has at the target.
        copy: bool,
        /// Directory in it.
        subpath: Option<String>,
    },
    /// What another image has, read-only.
    Image {
        /// Its reference.
        image: String,
        /// Directory or file in it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subpath: Option<String>,
    },
    /// A tmpfs.
    Tmpfs {
        /// Bytes.
        size: Option<u64>,
        /// Permission bits.
        mode: Option<u32>,
        /// More options of mount(8), over `noexec`, `nosuid`, `nodev`: `exec`, `uid=5`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        options: Vec<String>,
    },
}

/// A config or secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileSpec {
    /// What it is in the file: `configs.app`, `secrets.password`.
    #[serde(default)]
    pub source: String,
    /// Absolute path in the service.
    pub target: String,
    /// The bytes.
    pub content: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl FileSpec {
    /// Nobody but the service is to know what is in it.
    pub fn is_secret(&self) -> bool {
        self.source.starts_with("secrets.")
    }
}

/// How a service depends on another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dependency {
    /// What must be true.
    pub condition: Condition,
    /// Restart this one when that one is restarted.
    pub restart: bool,
    /// Go on without it when it is not there.
    pub required: bool,
}

/// What a dependency must have reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// It runs.
    #[default]
    ServiceStarted,
    /// Its health check passes.
    ServiceHealthy,
    /// It ended with exit code 0.
    ServiceCompletedSuccessfully,
}

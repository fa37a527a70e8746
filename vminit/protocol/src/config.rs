//! Everything a VM must know to be one service: the payload of `Configure`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// The whole configuration of a VM.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct VmConfig {
    /// Host name, at most 63 bytes.
    pub hostname: String,
    /// NIS domain name, or empty.
    #[serde(default)]
    pub domainname: String,
    /// Clock to set: nanoseconds since the epoch.
    pub time_ns: u64,
    /// The root file system.
    pub root: Root,
    /// Mounts inside the root, already in the order to make them.
    pub mounts: Vec<Mount>,
    /// Small files put into the service's view before it starts (configs,
    /// secrets). They live on a tmpfs.
    pub files: Vec<File>,
    /// Network devices, in the order of the VM's; of an update, those that
    /// shall be there from now on.
    pub interfaces: Vec<Interface>,
    /// Network devices of the VM. Those behind the configured ones are spare:
    /// an update may configure them.
    #[serde(default)]
    pub devices: u32,
    /// Name servers for `/etc/resolv.conf`.
    pub nameservers: Vec<String>,
    /// `search` for `/etc/resolv.conf`.
    pub search: Vec<String>,
    /// `options` for `/etc/resolv.conf`.
    pub resolver_options: Vec<String>,
    /// Extra lines for `/etc/hosts`: address, name.
    pub hosts: Vec<(String, String)>,
    /// `/proc/sys` values: dotted name, value.
    pub sysctls: Vec<(String, String)>,
    /// Sockets of the service that the host reaches.
    #[serde(default)]
    pub inward: Vec<Inward>,
    /// The service's main process.
    pub process: Exec,
    /// Health check, if any.
    pub healthcheck: Option<HealthCheck>,
    /// Run a small init as PID 1 of the service (compose `init: true`).
    pub init: bool,
    /// Do not restrict the service inside its VM (compose `privileged`).
    pub privileged: bool,
    /// Processes at most (cgroup `pids.max`).
    pub pids_limit: Option<u64>,
    /// Memory at most for the service's cgroup, in bytes; the VM itself is
    /// somewhat larger.
    pub memory_limit: Option<u64>,
    /// Size of `/dev/shm` in bytes.
    pub shm_size: Option<u64>,
    /// Processors at most for the service's cgroup (cgroup `cpu.max`).
    #[serde(default)]
    pub cpus: Option<f64>,
}

/// The root file system: read-only EROFS layers under a writable one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Root {
    /// virtio-blk serial numbers of the layers, **lowest first**.
    pub layers: Vec<String>,
    /// virtio-blk serial number of the ext4 scratch disk that takes the
    /// writes; `None` for a tmpfs.
    pub scratch: Option<String>,
    /// Mount the root read-only (compose `read_only`).
    pub read_only: bool,
}

/// One mount of the service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path inside the service's root; made if it does not exist.
    pub target: String,
    /// What is mounted.
    pub source: MountSource,
    /// Mount read-only.
    pub read_only: bool,
    /// Directory inside the source to show instead of its top (compose
    /// `volume.subpath`), or empty; of an image, also a file.
    #[serde(default)]
    pub subpath: String,
}

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum MountSource {
    /// An ext4 disk by its virtio-blk serial number.
    Disk {
        /// Serial number.
        serial: String,
        /// If the disk is empty, first copy what the image has at the target
        /// (Docker's rule for named volumes; compose `nocopy` turns it off).
        copy_image_content: bool,
    },
    /// Files of the host: an entry in the top directory of the VM's virtio-fs
    /// file system, a directory or a single file.
    Share {
        /// Mount tag of the file system.
        tag: String,
        /// The entry.
        name: String,
        /// If the directory is empty, first copy what the image has at the
        /// target.
        copy_image_content: bool,
        /// It is the user's own: nothing in it is removed for that.
        #[serde(default)]
        foreign: bool,
    },
    /// A stream socket of the host: what connects to a socket at the target
    /// is connected to a TCP port of a network's gateway.
    Socket {
        /// The gateway's address.
        address: IpAddr,
        /// Its port.
        port: u16,
    },
    /// A directory of an NFS server.
    Nfs {
        /// Host name or address.
        server: String,
        /// Absolute path there.
        path: String,
        /// Options of nfs(5) and flags of mount(8).
        options: Vec<String>,
        /// If the directory is empty, first copy what the image has at the
        /// target.
        copy_image_content: bool,
    },
    /// Files of another image, read-only: EROFS layers on top of each other.
    Image {
        /// virtio-blk serial numbers, **lowest first**.
        layers: Vec<String>,
    },
    /// A tmpfs.
    Tmpfs {
        /// Bytes at most.
        size: Option<u64>,
        /// Permission bits, e.g. `0o1777`.
        mode: Option<u32>,
        /// More options of mount(8), over `noexec`, `nosuid`, `nodev`: `exec`, `uid=5`.
        #[serde(default)]
        options: Vec<String>,
    },
}

/// A small file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct File {
    /// Absolute path inside the service's root.
    pub path: String,
    /// The bytes.
    #[serde(with = "crate::bytes")]
    pub content: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// One network device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Interface {
    /// `02:…` hardware address.
    pub mac: String,
    /// Number of the VM's network device; absent, the place in the list.
    #[serde(default)]
    pub device: Option<u32>,
    /// Name to give it: `eth0`, `eth1`…
    pub name: String,
    /// Address and prefix length.
    pub ipv4: Option<(Ipv4Addr, u8)>,
    /// Default gateway, if this device has the default route.
    pub gateway4: Option<Ipv4Addr>,
    /// Address and prefix length.
    pub ipv6: Option<(Ipv6Addr, u8)>,
    /// Default gateway, if this device has the default route.
    pub gateway6: Option<Ipv6Addr>,
    /// Maximum transmission unit in bytes.
    pub mtu: u32,
}

/// A socket of the service that the host reaches: what connects to a TCP port
/// is connected to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inward {
    /// The port.
    pub port: u16,
    /// Absolute path of a stream socket in the service's root.
    pub path: String,
    /// Whoever comes from elsewhere than these addresses is sent away.
    pub gateways: Vec<IpAddr>,
}

/// A process to run: the service's own or an exec session's. OCI runtime
/// spec, `process`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Exec {
    /// Program and arguments; the program is searched in the environment's
    /// `PATH` when it has no slash.
    pub args: Vec<String>,
    /// `NAME=value`. `HOME`, `PATH` and `TERM` get Docker's defaults.
    pub env: Vec<String>,
    /// Working directory; made if it does not exist.
    pub cwd: String,
    /// `user`, `uid`, `user:group` or `uid:gid`, looked up in the image's
    /// `/etc/passwd` and `/etc/group`; empty for root.
    pub user: String,
    /// Additional groups by name or number.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Give it a terminal.
    pub tty: bool,
    /// Terminal size: rows, columns.
    #[serde(default)]
    pub size: Option<(u16, u16)>,
    /// Keep standard input open (exec: the stdin channel is used).
    pub stdin: bool,
    /// Nobody reads its output, now or later: it goes to `/dev/null`, where it
    /// takes no harm when the host hangs up. Not with a terminal.
    #[serde(default)]
    pub unheard: bool,
    /// Capabilities (`CAP_…`); empty for Docker's default set.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// All capabilities (exec `--privileged`, service `privileged`).
    #[serde(default)]
    pub privileged: bool,
    /// Resource limits: name as in `getrlimit` without `RLIMIT_`, lower
    /// case; soft; hard. `u64::MAX` is no limit.
    #[serde(default)]
    pub rlimits: Vec<(String, u64, u64)>,
    /// `no_new_privs`.
    #[serde(default)]
    pub no_new_privileges: bool,
    /// Filter of system calls: a BPF program as the kernel takes it
    /// (`struct sock_filter`, little-endian); empty for none.
    #[serde(default, with = "crate::bytes")]
    pub seccomp: Vec<u8>,
    /// `oom_score_adj`.
    #[serde(default)]
    pub oom_score_adj: Option<i32>,
    /// Not a program of the image: the agent itself, as root, in the
    /// service's view of its files.
    #[serde(default)]
    pub builtin: Option<Builtin>,
}

/// What the agent does in place of a program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Builtin {
    /// Nothing, until it is killed: a service that lets its files be seen.
    Idle,
    /// Listens on a socket and brings its connections to the host, in the
    /// conversation of [`tunnel`](crate::tunnel).
    Listen {
        /// Absolute path, where nothing is yet.
        path: String,
    },
    /// Writes a tar stream to standard output.
    Pack {
        /// Absolute path of a file or directory.
        path: String,
        /// What it is called in the stream; empty for the contents of a
        /// directory.
        name: String,
        /// A symbolic link at the path is followed.
        follow: bool,
        /// What is mounted below the path is left empty.
        one_file_system: bool,
        /// The path is one of the agent's own view, below that of the service:
        /// the service's mounts are not there.
        #[serde(default)]
        outside: bool,
        /// The contents of a directory begin with the directory itself, as `./`.
        #[serde(default)]
        top: bool,
    },
    /// Writes what the service has changed of its image to standard output, as
    /// the archive of a layer (OCI image specification, layer.md). Runs while
    /// the service is frozen, too.
    Changes {
        /// Absolute paths that are left out when there is nothing in them:
        /// what mounts were made on.
        places: Vec<String>,
    },
    /// Reads a tar stream from standard input.
    Unpack {
        /// Absolute path.
        path: String,
        /// The stream is one tree, which gets the path's name when there is
        /// nothing yet; else any stream, for a directory that is there.
        tree: bool,
        /// The tree's contents go into the path itself.
        contents: bool,
        /// Owners are those of the stream, else root.
        owners: bool,
        /// Directories that are there get what the stream says of them.
        #[serde(default)]
        directories: bool,
        /// As of `Pack`.
        #[serde(default)]
        outside: bool,
        /// What would come to lie in memory, on a tmpfs, is refused: it would be gone with
        /// the machine.
        #[serde(default)]
        lasting: bool,
    },
    /// Makes files what they are on the host, in the conversation of
    /// [`sync`](crate::sync). New files belong to the session's `user`.
    Sync,
}

/// Where the agent mounts the disk with this serial number, below what the
/// service sees.
pub fn disk_dir(serial: &str) -> String {
    format!("/run/volume/{serial}")
}

/// Where the agent mounts the host's files with this tag.
pub fn share_dir(tag: &str) -> String {
    format!("/run/share/{tag}")
}

impl Builtin {
    /// It does not enter the service's namespaces: it works below what the service
    /// sees.
    pub fn is_outside(&self) -> bool {
        match self {
            Builtin::Changes { .. } => true,
            Builtin::Pack { outside, .. } | Builtin::Unpack { outside, .. } => *outside,
            Builtin::Idle | Builtin::Listen { .. } | Builtin::Sync => false,
        }
    }

    /// It is not in the service's control group, and so does not stand still with it.
    pub fn goes_on_frozen(&self) -> bool {
        match self {
            Builtin::Changes { .. } | Builtin::Pack { .. } | Builtin::Unpack { .. } => true,
            Builtin::Idle | Builtin::Listen { .. } | Builtin::Sync => false,
        }
    }
}

/// A health check (compose spec `healthcheck`, Dockerfile `HEALTHCHECK`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// `["CMD", …]`, `["CMD-SHELL", "…"]`; `["NONE"]` never gets here.
    pub test: Vec<String>,
    /// Milliseconds from the end of a probe to the next.
    pub interval_ms: u64,
    /// Milliseconds after which a probe counts as failed.
    pub timeout_ms: u64,
    /// Failures in a row that make the service unhealthy.
    pub retries: u32,
    /// Milliseconds after the start in which failures do not count.
    pub start_period_ms: u64,
    /// Interval during the start period.
    pub start_interval_ms: u64,
}

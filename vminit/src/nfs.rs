//! Directories of an NFS server, mounted as mount.nfs(8) does.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount as mount2};
use stack_protocol::config::VmConfig;

use crate::files;

/// RFC 7530, section 3.1
const PORT: u16 = 2049;

/// Where all of them are mounted first.
pub(crate) const DIRECTORY: &str = "/run/nfs/";

/// What is mounted.
pub(crate) struct Export<'a> {
    /// Host name or address.
    pub server: &'a str,
    /// Absolute path there.
    pub path: &'a str,
    /// Options of nfs(5) and flags of mount(8).
    pub options: &'a [String],
}

/// Mounts it, for the mount with the number `n`.
pub(crate) fn mount(export: &Export<'_>, n: usize, config: &VmConfig) -> io::Result<PathBuf> {
    let dir = PathBuf::from(format!("{DIRECTORY}{n}"));
    fs::create_dir_all(&dir)?;
    be_another_client()?;
    let address = resolve(export.server, config)?;
    let (flags, data) = options(export.options);
    let mut why = Errno::EPROTONOSUPPORT;
    for &version in versions(export.options) {
        match attempt(export, address, &dir, flags, &data, version) {
            Ok(()) => return Ok(dir),
            Err(Errno::EPROTONOSUPPORT | Errno::EINVAL) => {}
            // Servers of version 3 alone answer so (nfs-utils, utils/mount/stropts.c).
            Err(error @ (Errno::ENOENT | Errno::EPERM)) => why = error,
            Err(error) => {
                // What is said of the newest version that the server has is what counts.
                if why == Errno::EPROTONOSUPPORT {
                    why = error;
                }
                break;
            }
        }
    }
    Err(io::Error::other(explain(export, why)))
}

fn attempt(
    export: &Export<'_>,
    address: IpAddr,
    dir: &Path,
    flags: MsFlags,
    data: &str,
    version: &str,
) -> Result<(), Errno> {
    let source = match address {
        IpAddr::V4(address) => format!("{address}:{}", export.path),
        IpAddr::V6(address) => format!("[{address}]:{}", export.path),
    };
    let proto = if address.is_ipv4() { "tcp" } else { "tcp6" };
    let mut all = format!("vers={version},addr={address},proto={proto}");
    if version == "3" {
        // Locks of version 3 want a statd in the guest: they hold in this machine alone.
        all = format!("{all},mountaddr={address},mountproto={proto},nolock");
    }
    if !data.is_empty() {
        all = format!("{all},{data}");
    }
    mount2(
        Some(source.as_str()),
        dir,
        Some("nfs"),
        flags,
        Some(all.as_str()),
    )
}

/// A server knows its clients by a name that all guests have in common, and machines
/// of one template have the time of their boot in common, too: two of them would be one
/// client, with the same locks (RFC 8881, section 2.4).
fn be_another_client() -> io::Result<()> {
    let name = fs::read_to_string("/proc/sys/kernel/random/uuid")?;
    fs::write("/sys/module/nfs/parameters/nfs4_unique_id", name.trim())
        .map_err(|error| io::Error::other(format!("NFS client's name: {error}")))
}

/// In the order to try them.
fn versions(options: &[String]) -> &'static [&'static str] {
    match options
        .iter()
        .find_map(|option| option.strip_prefix("vers="))
    {
        // Servers differ in what they make of 4.2: it is for whoever names it.
        None => &["4.1", "4.0", "3"],
        Some("4") => &["4.1", "4.0"],
        Some("4.2") => &["4.2"],
        Some("4.1") => &["4.1"],
        Some("4.0") => &["4.0"],
        Some("3") => &["3"],
        Some(_) => &[],
    }
}

/// Flags of mount(2) and what the file system itself gets.
fn options(options: &[String]) -> (MsFlags, String) {
    let mut flags = MsFlags::MS_NODEV;
    let mut data = Vec::new();
    for option in options {
        let (flag, on) = match option.as_str() {
            "dev" => (MsFlags::MS_NODEV, false),
            "nodev" => (MsFlags::MS_NODEV, true),
            "suid" => (MsFlags::MS_NOSUID, false),
            "nosuid" => (MsFlags::MS_NOSUID, true),
            "exec" => (MsFlags::MS_NOEXEC, false),
            "noexec" => (MsFlags::MS_NOEXEC, true),
            "async" => (MsFlags::MS_SYNCHRONOUS, false),
            "sync" => (MsFlags::MS_SYNCHRONOUS, true),
            "dirsync" => (MsFlags::MS_DIRSYNC, true),
            "atime" => (MsFlags::MS_NOATIME, false),
            "noatime" => (MsFlags::MS_NOATIME, true),
            "diratime" => (MsFlags::MS_NODIRATIME, false),
            "nodiratime" => (MsFlags::MS_NODIRATIME, true),
            "norelatime" => (MsFlags::MS_RELATIME, false),
            "relatime" => (MsFlags::MS_RELATIME, true),
            other => {
                if !other.starts_with("vers=") {
                    data.push(other);
                }
                continue;
            }
        };
        flags.set(flag, on);
    }
    (flags, data.join(","))
}

/// The server's address, IPv4 first: by the name servers of the service.
fn resolve(server: &str, config: &VmConfig) -> io::Result<IpAddr> {
    if let Ok(address) = server.parse() {
        return Ok(address);
    }
    let known = config.hosts.iter().find(|(_, name)| name == server);
    if let Some(address) = known.and_then(|(address, _)| address.parse().ok()) {
        return Ok(address);
    }
    fs::create_dir_all("/etc")?;
    fs::write("/etc/resolv.conf", files::resolv_conf(config))?;
    let found: Vec<SocketAddr> = (server, PORT)
        .to_socket_addrs()
        .map_err(|error| io::Error::other(format!("NFS server {server}: {error}")))?
        .collect();
    let best = found.iter().find(|a| a.is_ipv4()).or(found.first());
    best.map(SocketAddr::ip)
        .ok_or_else(|| io::Error::other(format!("NFS server {server}: it has no address")))
}

fn explain(export: &Export<'_>, error: Errno) -> String {
    let Export { server, path, .. } = export;
    let what = match error {
        Errno::ENOENT => format!("it has no directory {path}"),
        Errno::EACCES | Errno::EPERM => format!(
            "it refuses {path}: it must be exported to this host, and with the option `insecure`, \
             for requests of a machine come from ports above 1023 (exports(5))"
        ),
        Errno::ECONNREFUSED => "nobody listens there (port 2049, or `port=`)".to_owned(),
        Errno::ETIMEDOUT | Errno::EHOSTUNREACH | Errno::ENETUNREACH => {
            "it does not answer".to_owned()
        }
        Errno::EPROTONOSUPPORT => {
            "it does not have this version, or these options, of NFS".to_owned()
        }
        other => other.desc().to_owned(),
    };
    format!("NFS server {server}: {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_told_from_the_options_of_the_file_system() {
        let given = ["noexec", "timeo=30", "vers=4.1", "dev", "soft"].map(str::to_owned);
        assert_eq!(
            options(&given),
            (MsFlags::MS_NOEXEC, "timeo=30,soft".to_owned())
        );
        assert_eq!(versions(&given), ["4.1"]);
        assert_eq!(versions(&[]), ["4.1", "4.0", "3"]);
    }
}

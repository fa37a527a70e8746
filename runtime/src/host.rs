//! What the host has left.

use std::path::Path;

use rustix::thread::CapabilitySet;

/// Memory in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// All there is.
    pub total: u64,
    /// What can be used without swapping (`MemAvailable`, proc(5)).
    pub available: u64,
}

/// The host's memory; where it cannot be told, there is no limit.
pub fn memory() -> Memory {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let field = |name: &str| {
        let kib = text
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kib.map_or(u64::MAX, |kib| kib << 10)
    };
    Memory {
        total: field("MemTotal:"),
        available: field("MemAvailable:"),
    }
}

/// Bytes of memory that a process has (`VmRSS`, proc(5)), those that it shares
/// included; 0 where that cannot be told.
pub fn resident(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.map_or(0, |kib| kib << 10)
}

/// Bytes that this user can still write on the file system of `path`.
pub fn disk_free(path: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some(stat.f_bavail * stat.f_frsize)
}

/// The first port that any user may bind (ip(7), `ip_unprivileged_port_start`).
pub fn first_free_port() -> u16 {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    text.ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0)
}

/// The program may bind the ports below, when this process runs it.
pub fn may_bind_reserved(program: &Path) -> bool {
    let sets = rustix::thread::capabilities(None);
    let own = sets.is_ok_and(|sets| sets.effective.contains(CapabilitySet::NET_BIND_SERVICE));
    let mut given = [0_u8; 64];
    own || rustix::fs::getxattr(program, "security.capability", &mut given).is_ok()
}

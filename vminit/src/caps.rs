//! Capabilities by name (capabilities(7)).

/// In kernel order: bit 0 first.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What Docker gives a container by default.
const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// Number of capabilities.
pub(crate) const COUNT: u32 = NAMES.len() as u32;

/// The mask of a list; an empty one is Docker's default.
pub(crate) fn mask(names: &[String], all: bool) -> u64 {
    if all {
        return (1 << COUNT) - 1;
    }
    let bit = |name: &str| {
        let bare = name.strip_prefix("CAP_").unwrap_or(name);
        NAMES
            .iter()
            .position(|known| *known == bare)
            .map_or(0, |n| 1u64 << n)
    };
    if names.is_empty() {
        return DEFAULT.iter().map(|name| bit(name)).sum();
    }
    names.iter().fold(0, |mask, name| mask | bit(name))
}

#[cfg(test)]
mod tests {
    use super::mask;

    #[test]
    fn docker_default() {
        assert_eq!(mask(&[], false), 0xa804_25fb);
        assert_eq!(mask(&["NONE".to_owned()], false), 0);
        assert_eq!(mask(&["CAP_NET_ADMIN".to_owned()], false), 1 << 12);
    }
}

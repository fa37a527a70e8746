//! How frames go between VMs and the network daemon.

use crate::Transport;

/// What `STACK_NET` asks for.
pub(super) fn wish() -> Option<String> {
    std::env::var("STACK_NET")
        .ok()
        .filter(|wish| !wish.is_empty())
}

/// The transport and why, with `netdevs` as QEMU's answer to what it has.
pub(super) fn choose(wish: Option<&str>, netdevs: &str) -> (Transport, String) {
    let set = || "set by STACK_NET".to_owned();
    let known = netdevs.lines().any(|line| line.trim() == "vhost-user");
    match wish {
        Some("dgram") => (Transport::Datagram, set()),
        Some("vhost-user") => (Transport::VhostUser, set()),
        Some(other) => (
            Transport::Datagram,
            format!("STACK_NET is `{other}`, neither `dgram` nor `vhost-user`"),
        ),
        None if !cfg!(target_os = "linux") => {
            let why = "memory can be shared on Linux only";
            (Transport::Datagram, why.to_owned())
        }
        None if !known => {
            let why = "this QEMU was built without vhost-user";
            (Transport::Datagram, why.to_owned())
        }
        None => match memfd() {
            Ok(()) => (
                Transport::VhostUser,
                "frames are copied once, with checksum and segmentation offload".to_owned(),
            ),
            Err(error) => (
                Transport::Datagram,
                format!("memory cannot be shared: {error}"),
            ),
        },
    }
}

/// There is memory that can be shared and that keeps its size: the network
/// daemon takes no other.
#[cfg(target_os = "linux")]
fn memfd() -> std::io::Result<()> {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

    let flags = MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC;
    let memory = memfd_create("stack-probe", flags)?;
    fcntl_add_seals(memory, SealFlags::SHRINK)?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn memfd() -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = "Available netdev backend types:\nsocket\ndgram\nvhost-user\n";

    #[test]
    fn what_is_asked_for_is_taken() {
        for (wish, expected) in [
            ("dgram", Transport::Datagram),
            ("vhost-user", Transport::VhostUser),
        ] {
            assert_eq!(choose(Some(wish), ALL).0, expected);
            assert_eq!(wish, expected.to_string());
        }
        let (transport, why) = choose(Some("tap"), ALL);
        assert_eq!(transport, Transport::Datagram);
        assert!(why.contains("`tap`"), "{why}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn memory_is_the_default_where_qemu_has_it() {
        assert_eq!(choose(None, ALL).0, Transport::VhostUser);
        let (transport, why) = choose(None, "dgram\nvhost-user-blk\n");
        assert_eq!(transport, Transport::Datagram);
        assert!(why.contains("built without"), "{why}");
    }
}

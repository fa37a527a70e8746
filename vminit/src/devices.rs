//! The service's `/dev` (OCI runtime spec, "Default Devices").

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::Path;

use nix::mount::MsFlags;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use stack_protocol::config::VmConfig;

use crate::rootfs::{bind, on};
use crate::within::Root;

const NODES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// What does no harm in a VM of one's own, where its kernel has it.
const OPTIONAL: [(&str, u32, u32); 3] = [("fuse", 10, 229), ("net/tun", 10, 200), ("kmsg", 1, 11)];

const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Makes `/dev` and the mount points of `/proc` and `/sys`.
pub(crate) fn make(config: &VmConfig, root: &Root) -> io::Result<()> {
    let dev = root.directory("/dev")?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_STRICTATIME;
    on("tmpfs", &dev.path(), "tmpfs", flags, "mode=755,size=65536k")?;
    // Once more: the first one is what is below the mount.
    let dev = root.directory("/dev")?;
    let dev = dev.path();
    for (name, major, minor) in NODES {
        node(
            &dev.join(name),
            FileType::CharacterDevice,
            makedev(major, minor),
        )?;
    }
    for (name, major, minor) in OPTIONAL {
        if Path::new("/dev").join(name).exists() {
            if let Some((dir, _)) = name.split_once('/') {
                fs::create_dir(dev.join(dir))?;
            }
            let target = dev.join(name);
            node(&target, FileType::CharacterDevice, makedev(major, minor))?;
        }
    }
    for (name, target) in LINKS {
        symlink(target, dev.join(name))?;
    }
    for name in ["pts", "shm", "mqueue"] {
        fs::create_dir(dev.join(name))?;
    }
    // One VM is one service: it may share the VM's own terminals.
    bind(Path::new("/dev/pts"), &dev.join("pts"), false)?;
    let size = config.shm_size.unwrap_or(64 << 20);
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    on(
        "tmpfs",
        &dev.join("shm"),
        "tmpfs",
        flags,
        &format!("mode=1777,size={size}"),
    )?;
    if config.privileged {
        all(Path::new("/dev"), &dev)?;
    }
    for dir in ["/proc", "/sys"] {
        root.directory(dir)?;
    }
    Ok(())
}

/// What the VM has, but for the agent's port and the disks: they are its
/// own, whatever the service may do.
fn all(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)?.flatten() {
        let name = entry.file_name();
        let text = name.to_string_lossy();
        let target = to.join(&name);
        let own = ["vd", "vport", "hvc", "pts", "shm", "mqueue"];
        if own.iter().any(|prefix| text.starts_with(prefix)) || target.exists() {
            continue;
        }
        let meta = entry.metadata()?;
        let kind = meta.file_type();
        if kind.is_dir() {
            fs::create_dir(&target)?;
            all(&entry.path(), &target)?;
        } else if kind.is_char_device() {
            node(&target, FileType::CharacterDevice, meta.rdev())?;
        } else if kind.is_block_device() {
            node(&target, FileType::BlockDevice, meta.rdev())?;
        }
    }
    Ok(())
}

fn node(path: &Path, kind: FileType, device: u64) -> io::Result<()> {
    mknodat(CWD, path, kind, Mode::from_raw_mode(0o666), device)?;
    // The agent's umask does not count.
    Ok(rustix::fs::chmod(path, Mode::from_raw_mode(0o666))?)
}

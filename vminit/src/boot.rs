//! The first and the last thing a VM does.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::reboot::{RebootMode, reboot};

use crate::nfs;

/// Mounts that every VM has.
pub(crate) fn mounts() -> io::Result<()> {
    leave_rootfs()?;
    let plain = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC | MsFlags::MS_NODEV;
    make("proc", "/proc", "proc", plain, "")?;
    make("sysfs", "/sys", "sysfs", plain, "")?;
    // The kernel mounts it itself only for a root that is no initramfs.
    make(
        "devtmpfs",
        "/dev",
        "devtmpfs",
        MsFlags::MS_NOSUID,
        "mode=0755",
    )?;
    make(
        "devpts",
        "/dev/pts",
        "devpts",
        MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC,
        "gid=5,mode=620,ptmxmode=666",
    )?;
    make(
        "tmpfs",
        "/run",
        "tmpfs",
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        "mode=0755",
    )?;
    make("cgroup2", "/sys/fs/cgroup", "cgroup2", plain, "")?;
    for controller in ["memory", "pids", "cpu", "io", "cpuset"] {
        let _ = fs::write(
            "/sys/fs/cgroup/cgroup.subtree_control",
            format!("+{controller}"),
        );
    }
    // A VM may be killed at any moment: what was written goes to the disk
    // within a second or two, not half a minute.
    for name in ["dirty_expire_centisecs", "dirty_writeback_centisecs"] {
        let _ = fs::write(format!("/proc/sys/vm/{name}"), "100");
    }
    Ok(())
}

/// pivot_root(2) does not work from the kernel's own rootfs: shows it once
/// more as a mount of its own and goes there.
fn leave_rootfs() -> io::Result<()> {
    let none: Option<&str> = None;
    fs::create_dir_all("/run")?;
    mount(Some("/"), "/run", none, MsFlags::MS_BIND, none)?;
    std::env::set_current_dir("/run")?;
    mount(Some("."), "/", none, MsFlags::MS_MOVE, none)?;
    std::os::unix::fs::chroot(".")?;
    std::env::set_current_dir("/")
}

fn make(source: &str, target: &str, kind: &str, flags: MsFlags, data: &str) -> io::Result<()> {
    fs::create_dir_all(target)?;
    mount(Some(source), target, Some(kind), flags, Some(data))
        .map_err(|error| io::Error::other(format!("{target}: {error}")))
}

/// How long servers of files have for what is left to be written, at the end.
const SERVERS: Duration = Duration::from_secs(5);

/// Writes everything back and unmounts what holds data: disks first, for a server of
/// files (`nfs.rs`) may not answer any more.
///
/// # Errors
/// A disk did not take all of it, now or since it was mounted.
pub(crate) fn unmount_all() -> io::Result<()> {
    let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    // Last mounted first.
    let targets: Vec<String> = table
        .lines()
        .rev()
        .filter_map(|line| line.split(' ').nth(1))
        .map(|target| target.replace("\\040", " "))
        .filter(|target| target.starts_with("/run/"))
        .collect();
    let (servers, disks): (Vec<String>, Vec<String>) = targets
        .into_iter()
        .partition(|target| target.starts_with(nfs::DIRECTORY));
    if servers.is_empty() {
        rustix::fs::sync();
    }
    let holds_data =
        |target: &&String| target.starts_with("/run/volume/") || target.starts_with("/run/scratch");
    let mut written = Ok(());
    for disk in disks.iter().filter(holds_data) {
        // Whatever keeps it mounted, as a process that waits for such a server.
        let synced = fs::File::open(disk).and_then(|disk| Ok(rustix::fs::syncfs(disk)?));
        written = written.and(synced);
    }
    disks.iter().for_each(|target| unmount(target));
    if servers.is_empty() {
        rustix::fs::sync();
        return written;
    }
    let (done, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        servers.iter().for_each(|target| unmount(target));
        let _ = done.send(());
    });
    let _ = ended.recv_timeout(SERVERS);
    written
}

fn unmount(target: &str) {
    if umount2(Path::new(target), MntFlags::empty()).is_err() {
        let _ = umount2(Path::new(target), MntFlags::MNT_DETACH);
    }
}

/// Ends the VM, with what was written on its disks.
pub(crate) fn reset() -> ! {
    if let Err(error) = unmount_all() {
        eprintln!("vminit: not everything could be written: {error}");
    }
    end()
}

/// Ends the VM: `microvm` has no power button, but the VMM was told not to
/// reboot.
pub(crate) fn end() -> ! {
    let _ = reboot(RebootMode::RB_AUTOBOOT);
    loop {
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
}

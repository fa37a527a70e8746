//! What a template lets go of, and what the VM made from it takes up
//! (`stack_protocol::template`). Drivers are unbound and bound by sysfs
//! (kernel, `Documentation/ABI/testing/sysfs-bus-*`).

use std::fs;
use std::io;
use std::path::Path;

/// Drivers of devices that are other ones after the restore.
const DRIVERS: [&str; 3] = ["virtio_blk", "virtiofs", "virtio_net"];
const BUS: &str = "/sys/bus/virtio";

/// This VM boots to be saved, or was saved as such.
pub(crate) fn is_one() -> bool {
    fs::read_to_string("/proc/cmdline").is_ok_and(|line| {
        line.split_whitespace()
            .any(|word| word == stack_protocol::template::KERNEL_ARGUMENT)
    })
}

/// Lets go of disks, shared directories and network devices.
pub(crate) fn let_go() -> io::Result<()> {
    for driver in DRIVERS {
        let dir = Path::new(BUS).join("drivers").join(driver);
        for entry in fs::read_dir(&dir)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("virtio") {
                fs::write(dir.join("unbind"), name)?;
            }
        }
    }
    Ok(())
}

/// Takes up every device that has no driver, but for these.
pub(crate) fn take_up(but: &[&String]) -> io::Result<()> {
    for entry in fs::read_dir(Path::new(BUS).join("devices"))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !entry.path().join("driver").exists() && !but.contains(&&name) {
            fs::write(Path::new(BUS).join("drivers_probe"), name)?;
        }
    }
    Ok(())
}

//! aarch64: machine `virt`, whose 32 virtio-mmio transports are in the
//! device tree; the kernel is an `Image`.

use super::Machine;
use crate::VmSpec;

/// virtio-mmio transports of `virt`.
pub(super) const TRANSPORTS: usize = 32;

pub(super) fn machine(spec: &VmSpec) -> Machine {
    Machine {
        options: vec![
            (
                "-machine",
                "virt,gic-version=max,memory-backend=ram".to_owned(),
            ),
            ("-global", "virtio-mmio.force-legacy=false".to_owned()),
            ("-initrd", spec.initramfs.display().to_string()),
        ],
        bus: "device",
        transports: TRANSPORTS,
        kernel: "console=ttyAMA0".to_owned(),
    }
}

//! x86_64: machine `microvm` with virtio-mmio, or `q35` with PCI where QEMU
//! was built without it. Both start the kernel by PVH.

use super::Machine;
use crate::{Error, Probe, VmSpec};

/// Where the initramfs is put: behind the kernel (16 MiB and up), before the
/// end of the smallest VM. QEMU's own place for it is the end of the memory,
/// where `microvm` firmware keeps the ACPI tables.
const INITRAMFS: u64 = 64 << 20;

/// Eight virtio-mmio transports without the second ioapic, 24 with it.
pub(super) fn transports(probe: &Probe) -> usize {
    match (probe.microvm, probe.ioapic2) {
        (false, _) => 28,
        (true, true) => 24,
        (true, false) => 8,
    }
}

pub(super) fn machine(spec: &VmSpec, probe: &Probe) -> Result<Machine, Error> {
    let kernel = "console=ttyS0 reboot=t tsc=reliable no_timer_check".to_owned();
    // An emulated processor does not tell how fast its clock runs, and there
    // is no old timer chip to measure it against.
    let kernel = match probe.tsc_khz {
        Some(khz) if probe.accelerator == "tcg" => format!("{kernel} tsc_early_khz={khz}"),
        _ => kernel,
    };
    let initramfs = spec.initramfs.display().to_string();
    if !probe.microvm {
        return Ok(Machine {
            options: vec![
                ("-machine", "q35,memory-backend=ram".to_owned()),
                ("-initrd", initramfs),
            ],
            bus: "pci",
            transports: transports(probe),
            kernel,
        });
    }
    let size = std::fs::metadata(&spec.initramfs)
        .map_err(Error::io(initramfs))?
        .len();
    let file = super::escape(&spec.initramfs);
    let ioapic = if probe.ioapic2 { ",ioapic2=on" } else { "" };
    Ok(Machine {
        options: vec![
            (
                "-machine",
                format!(
                    "microvm,acpi=on,pit=off,pic=off,rtc=on,isa-serial=on,\
                     memory-backend=ram{ioapic}"
                ),
            ),
            ("-global", "virtio-mmio.force-legacy=false".to_owned()),
            (
                "-device",
                format!("loader,file={file},addr={INITRAMFS:#x},force-raw=on"),
            ),
        ],
        bus: "device",
        transports: transports(probe),
        // `initrdmem` alone does not reserve the memory (kernel 6.12,
        // early_reserve_initrd comes before the command line is read).
        kernel: format!(
            "{kernel} initrdmem={INITRAMFS:#x},{size} memmap={}K${INITRAMFS:#x}",
            size.div_ceil(4096) * 4
        ),
    })
}

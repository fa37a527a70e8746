//! QEMU's command line. Nothing in it is about the service: that comes by
//! the agent port.

mod aarch64;
mod network;
mod x86_64;

use std::path::Path;

use super::Probe;
use crate::{Error, Rates, VmSpec};

/// What differs between machines.
struct Machine {
    /// `-machine` and whatever else is peculiar to it.
    options: Vec<(&'static str, String)>,
    /// How virtio devices are named: `virtio-blk-device`, `virtio-blk-pci`.
    bus: &'static str,
    /// How many virtio devices it can have.
    transports: usize,
    /// Kernel command line, what is peculiar to it.
    kernel: String,
}

/// The emulated processor. Without those two features of x86, kernel and C
/// library copy memory by wide registers and not by `rep movsb`, which is
/// emulated byte by byte: 4 KiB took three times as long.
const EMULATED: &str = if cfg!(target_arch = "x86_64") {
    "max,-erms,-fsrm"
} else {
    "max"
};

/// Without KVM, what a file server writes into the guest's memory is code that
/// QEMU has not seen being written (kernel/patches/0005).
const EMULATED_KERNEL: &str = "fuse.rewrite=1";

/// Serial port controller, entropy, balloon.
const OWN_DEVICES: usize = 3;

/// How the machine comes to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// It boots.
    Boot,
    /// It boots to be saved: the guest lets go of what will be other devices.
    Template,
    /// It waits for a saved state, by way of the monitor.
    Restore,
}

/// The arguments.
pub(super) fn build(spec: &VmSpec, probe: &Probe, start: Start) -> Result<Vec<String>, Error> {
    let machine = match cfg!(target_arch = "aarch64") {
        true => aarch64::machine(spec),
        false => x86_64::machine(spec, probe)?,
    };
    let devices = OWN_DEVICES + spec.disks.len() + spec.nics.len() + spec.files.iter().len();
    if devices > machine.transports {
        return Err(Error::Start(format!(
            "it needs {} disks, network devices and file systems, and a VM has room for {}",
            devices - OWN_DEVICES,
            machine.transports - OWN_DEVICES
        )));
    }
    let mut args = Args(Vec::new());
    args.add(
        "-name",
        format!("{},process=stack-vm", spec.name.replace(',', ",,")),
    );
    for (flag, value) in &machine.options {
        args.add(flag, value.clone());
    }
    processor(&mut args, spec, probe);
    boot(&mut args, spec, probe, &machine, start);
    channels(&mut args, spec, &machine);
    args.add(
        "-pidfile",
        spec.dir
            .join(crate::process::PID_FILE)
            .display()
            .to_string(),
    );
    confine(&mut args, probe);
    let reporting = if probe.free_page_reporting {
        ",free-page-reporting=on"
    } else {
        ""
    };
    args.add(
        "-device",
        format!("virtio-balloon-{}{reporting}", machine.bus),
    );
    disks(&mut args, spec, &machine);
    network::nics(&mut args, spec, probe, &machine);
    files(&mut args, spec, &machine);
    Ok(args.0)
}

/// How many disks, network devices and file systems a machine has room for.
pub(super) fn devices(probe: &Probe) -> usize {
    let transports = match cfg!(target_arch = "aarch64") {
        true => aarch64::TRANSPORTS,
        false => x86_64::transports(probe),
    };
    transports - OWN_DEVICES
}

struct Args(Vec<String>);

impl Args {
    fn add(&mut self, flag: &str, value: String) {
        self.0.push(flag.to_owned());
        self.0.push(value);
    }
}

/// One comma in a value is written as two (QEMU's `-help` on options).
fn escape(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

fn processor(args: &mut Args, spec: &VmSpec, probe: &Probe) {
    let mib = spec.memory >> 20;
    let software = probe.accelerator == "tcg";
    let accelerator = if software {
        "tcg,thread=multi"
    } else {
        &probe.accelerator
    };
    args.add("-accel", accelerator.to_owned());
    let processor = if software { EMULATED } else { "host" };
    args.add("-cpu", processor.to_owned());
    args.add("-smp", spec.cpus.to_string());
    args.add("-m", format!("{mib}M"));
    // Shared memory is what devices in other processes can use.
    let kind = if cfg!(target_os = "linux") {
        "memfd"
    } else {
        "ram"
    };
    args.add(
        "-object",
        format!("memory-backend-{kind},id=ram,size={mib}M,share=on"),
    );
}

fn boot(args: &mut Args, spec: &VmSpec, probe: &Probe, machine: &Machine, start: Start) {
    args.add("-kernel", spec.kernel.display().to_string());
    let template = match start {
        Start::Template => stack_protocol::template::KERNEL_ARGUMENT,
        Start::Boot | Start::Restore => "",
    };
    let emulated = match probe.accelerator == "tcg" {
        true => EMULATED_KERNEL,
        false => "",
    };
    args.add(
        "-append",
        format!(
            "quiet panic=-1 random.trust_cpu=on rcupdate.rcu_expedited=1 {} {emulated} {} {template}",
            machine.kernel,
            more_kernel_arguments()
        ),
    );
    if start == Start::Restore {
        args.add("-incoming", "defer".to_owned());
    }
    for flag in ["-no-user-config", "-nodefaults", "-no-reboot"] {
        args.0.push(flag.to_owned());
    }
    args.add("-display", "none".to_owned());
}

/// For looking into the boot: `initcall_debug`, or `ignore_loglevel`.
pub(super) fn more_kernel_arguments() -> String {
    std::env::var("STACK_KERNEL_ARGS").unwrap_or_default()
}

fn channels(args: &mut Args, spec: &VmSpec, machine: &Machine) {
    let console = escape(&spec.dir.join("console.log"));
    // Appended to, so that it can be cut short from outside.
    args.add(
        "-chardev",
        format!("file,id=console,path={console},append=on"),
    );
    args.add("-serial", "chardev:console".to_owned());
    let agent = escape(&spec.dir.join("agent.sock"));
    args.add(
        "-chardev",
        format!("socket,id=agent,path={agent},server=on,wait=off"),
    );
    args.add("-device", format!("virtio-serial-{}", machine.bus));
    args.add(
        "-device",
        format!(
            "virtserialport,id=port,chardev=agent,name={}",
            stack_protocol::PORT_NAME
        ),
    );
    args.add("-device", format!("virtio-rng-{}", machine.bus));
    let monitor = escape(&spec.dir.join("qmp.sock"));
    args.add("-qmp", format!("unix:{monitor},server=on,wait=off"));
}

fn confine(args: &mut Args, probe: &Probe) {
    if probe.sandbox {
        args.add("-sandbox", super::probe::SANDBOX.to_owned());
    }
}

fn disks(args: &mut Args, spec: &VmSpec, machine: &Machine) {
    let limits = limits(&spec.rates);
    for (n, disk) in spec.disks.iter().enumerate() {
        let access = if disk.read_only {
            "readonly=on"
        } else {
            "discard=unmap,detect-zeroes=unmap"
        };
        let file = escape(&disk.path);
        args.add(
            "-drive",
            format!("if=none,id=d{n},format=raw,cache=writeback,{access}{limits},file={file}"),
        );
        args.add(
            "-device",
            format!(
                "virtio-blk-{},drive=d{n},serial={}",
                machine.bus, disk.serial
            ),
        );
    }
}

/// The disks of a machine share its rates.
fn limits(rates: &Rates) -> String {
    let all = [
        ("bps-read", rates.read_bps),
        ("bps-write", rates.write_bps),
        ("iops-read", rates.read_iops),
        ("iops-write", rates.write_iops),
    ];
    let given = all.iter().filter_map(|(name, rate)| Some((name, (*rate)?)));
    let text: String = given
        .map(|(name, rate)| format!(",throttling.{name}={rate}"))
        .collect();
    match text.is_empty() {
        true => text,
        false => format!(",throttling.group=disks{text}"),
    }
}

/// One file system whatever the VM mounts of the host's files.
fn files(args: &mut Args, spec: &VmSpec, machine: &Machine) {
    let Some(socket) = &spec.files else {
        return;
    };
    args.add(
        "-chardev",
        format!("socket,id=files,path={}", escape(socket)),
    );
    // As many pages as the largest read or write has, and more.
    args.add(
        "-device",
        format!(
            "vhost-user-fs-{},chardev=files,tag={},queue-size=512",
            machine.bus,
            stack_files::TAG
        ),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rate_has_its_own_limit() {
        assert_eq!(limits(&Rates::default()), "");
        let rates = Rates {
            read_bps: Some(1),
            write_bps: Some(2),
            read_iops: Some(3),
            write_iops: Some(4),
        };
        assert_eq!(
            limits(&rates),
            ",throttling.group=disks,throttling.bps-read=1,throttling.bps-write=2,\
             throttling.iops-read=3,throttling.iops-write=4"
        );
    }
}

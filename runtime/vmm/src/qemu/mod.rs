//! QEMU as the VMM.

mod accelerator;
mod affinity;
mod args;
mod failure;
mod full_disk;
mod launch;
mod probe;
mod qmp;
mod template;
mod transport;
mod trial;
mod tsc;

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::OnceCell;

use args::Start;
use launch::{Life, launch};
use template::{Failure, Templates};
use trial::Guest;

use crate::{Backend, Error, Process, VmSpec};
pub use full_disk::outlast_full_disk;
pub use probe::Probe;

/// Longest serial number of a virtio-blk device (VIRTIO 1.2, 5.2.6).
const SERIAL: usize = 20;
/// Less does not hold kernel, initramfs and a service.
const LEAST_MEMORY: u64 = 96 << 20;
/// Room in a socket's address (unix(7)), without the final NUL.
const SOCKET_PATH: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// QEMU.
#[derive(Debug)]
pub struct Qemu {
    cache: PathBuf,
    guest: Option<Guest>,
    probe: OnceCell<Probe>,
    templates: Arc<Templates>,
}

impl Qemu {
    /// `cache` is a directory for the result of the probe and for templates.
    pub fn new(cache: &Path) -> Qemu {
        Qemu {
            cache: cache.to_path_buf(),
            guest: None,
            probe: OnceCell::new(),
            templates: Arc::new(Templates::new(cache.join("templates"))),
        }
    }

    /// An accelerator counts only if it boots this kernel with this initramfs.
    #[must_use]
    pub fn trying(self, kernel: &Path, initramfs: &Path) -> Qemu {
        let guest = Some(Guest {
            kernel: kernel.to_path_buf(),
            initramfs: initramfs.to_path_buf(),
        });
        Qemu { guest, ..self }
    }

    /// What QEMU and which accelerator there is. Done once.
    ///
    /// # Errors
    /// There is no QEMU that can be used.
    pub async fn probe(&self) -> Result<Probe, Error> {
        self.probe
            .get_or_try_init(|| probe::probe(&self.cache, self.guest.as_ref()))
            .await
            .cloned()
    }
}

impl Qemu {
    /// Why VMs are emulated, if that is known of one that was started.
    pub fn emulates(&self) -> Option<&str> {
        self.probe.get().and_then(Probe::emulated_because)
    }

    /// How many templates VMs can be restored from, and how many bytes of the
    /// disk they take.
    pub fn templates(&self) -> (usize, u64) {
        self.templates.size()
    }

    /// Disks, network devices and file systems that a VM has room for.
    pub async fn devices(&self) -> usize {
        self.probe().await.map_or(0, |probe| args::devices(&probe))
    }

    /// Virtual processors of a VM for which none are asked: the host's, four
    /// at most. An emulated one pays for the second with a third more at
    /// boot, and more when the two wait for each other: it gets one.
    pub async fn default_cpus(&self) -> u32 {
        match self.probe().await {
            Ok(probe) if probe.accelerator == "tcg" => 1,
            _ => std::thread::available_parallelism().map_or(1, |n| n.get().min(4) as u32),
        }
    }
}

impl Backend for Qemu {
    async fn start(&self, spec: &VmSpec) -> Result<Process, Error> {
        let probe = self.probe().await?;
        check(spec, &probe)?;
        let template = match spec.template {
            true => self.templates.find(spec, &probe),
            false => None,
        };
        if let Some(file) = template {
            match template::restore(&file, spec, &probe).await {
                Ok(process) => return Ok(process),
                Err(Failure::Machine(error)) => return Err(error),
                Err(Failure::Template(why)) => {
                    tracing::warn!(why, "a template cannot be used: the VM boots");
                    self.templates.give_up(&file);
                }
            }
        }
        let args = args::build(spec, &probe, Start::Boot)?;
        let (process, _) = launch(
            &probe.binary,
            &args,
            &spec.dir,
            Life::OfItsOwn,
            &spec.affinity,
        )
        .await?;
        Ok(process)
    }
}

/// What QEMU would say in words that nobody understands.
fn check(spec: &VmSpec, probe: &Probe) -> Result<(), Error> {
    for file in [&spec.kernel, &spec.initramfs] {
        std::fs::File::open(file).map_err(Error::io(file.display().to_string()))?;
    }
    let longest = spec.dir.join("agent.sock");
    if longest.as_os_str().len() > SOCKET_PATH {
        return Err(Error::Start(format!(
            "the path {} is too long for a socket",
            longest.display()
        )));
    }
    if let Some(disk) = spec.disks.iter().find(|disk| disk.serial.len() > SERIAL) {
        return Err(Error::Start(format!(
            "the serial number {} is too long",
            disk.serial
        )));
    }
    if spec.files.is_some() && !probe.files {
        return Err(Error::Start(format!(
            "this QEMU ({}) was built without vhost-user-fs, by which a VM gets files of the host",
            probe.binary.display()
        )));
    }
    if spec.memory < LEAST_MEMORY {
        return Err(Error::Start(format!(
            "a VM needs {} MiB of memory",
            LEAST_MEMORY >> 20
        )));
    }
    check_memory(spec.memory)
}

fn check_memory(needed: u64) -> Result<(), Error> {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))
        .and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
    match available {
        Some(kib) if kib < needed >> 10 => Err(Error::Memory {
            needed_mib: needed >> 20,
            available_mib: kib >> 10,
        }),
        _ => Ok(()),
    }
}

/// A directory for this user only.
fn private_dir(dir: &Path) -> Result<(), Error> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(Error::io(dir.display().to_string()))
}

//! The backends behind one type.

use std::path::Path;

use crate::{Backend, Error, Fake, Process, Qemu, Transport, VmSpec};

/// One of the backends.
#[derive(Debug)]
pub enum AnyBackend {
    /// QEMU.
    Qemu(Qemu),
    /// Made-up VMs.
    Fake(Fake),
}

impl AnyBackend {
    /// The backend that `STACK_BACKEND` names (`qemu`, `fake`), else QEMU.
    /// `cache` is a directory for the result of its probe, kernel and initramfs are
    /// what VMs boot.
    pub fn from_env(cache: &Path, kernel: &Path, initramfs: &Path) -> AnyBackend {
        match std::env::var("STACK_BACKEND").as_deref() {
            Ok("fake") => AnyBackend::Fake(Fake::default()),
            _ => AnyBackend::Qemu(Qemu::new(cache).trying(kernel, initramfs)),
        }
    }
}

impl AnyBackend {
    /// Virtual processors of a VM for which none are asked.
    pub async fn default_cpus(&self) -> u32 {
        match self {
            AnyBackend::Qemu(backend) => backend.default_cpus().await,
            AnyBackend::Fake(_) => 1,
        }
    }
}

impl AnyBackend {
    /// How the frames of VMs that are started now go to the network daemon.
    pub async fn transport(&self) -> Transport {
        match self {
            AnyBackend::Qemu(backend) => backend.probe().await.map(|probe| probe.transport),
            AnyBackend::Fake(_) => Ok(Transport::Datagram),
        }
        .unwrap_or_default()
    }
}

impl AnyBackend {
    /// Disks, network devices and file systems that a VM has room for.
    pub async fn devices(&self) -> usize {
        match self {
            AnyBackend::Qemu(backend) => backend.devices().await,
            AnyBackend::Fake(_) => 20,
        }
    }
}

impl Backend for AnyBackend {
    async fn start(&self, spec: &VmSpec) -> Result<Process, Error> {
        match self {
            AnyBackend::Qemu(backend) => backend.start(spec).await,
            AnyBackend::Fake(backend) => backend.start(spec).await,
        }
    }

    fn alive(&self, process: &Process) -> bool {
        match self {
            AnyBackend::Qemu(backend) => backend.alive(process),
            AnyBackend::Fake(backend) => backend.alive(process),
        }
    }

    async fn wait(&self, process: &Process) {
        match self {
            AnyBackend::Qemu(backend) => backend.wait(process).await,
            AnyBackend::Fake(backend) => backend.wait(process).await,
        }
    }

    fn kill(&self, process: &Process) {
        match self {
            AnyBackend::Qemu(backend) => backend.kill(process),
            AnyBackend::Fake(backend) => backend.kill(process),
        }
    }
}

//! Whether the accelerator runs the guest's own kernel up to its agent.
//!
//! Under some hypervisors `/dev/kvm` runs a few bytes of boot code and ends an
//! ordinary kernel with an emulation failure, so that alone is not believed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::accelerator;
use super::args::{self, Start};
use super::launch::{Ended, Life, launch};
use super::probe::Probe;
use crate::{Error, Rates, VmSpec};

const MEMORY: u64 = 256 << 20;

/// What VMs boot.
#[derive(Debug, Clone)]
pub(super) struct Guest {
    pub kernel: PathBuf,
    pub initramfs: PathBuf,
}

impl Guest {
    /// Differs when the files do.
    pub(super) fn key(&self) -> String {
        let modified = |path: &Path| {
            std::fs::metadata(path)
                .and_then(|meta| meta.modified())
                .ok()
        };
        format!(
            "{} {:?} {:?}",
            self.kernel.display(),
            modified(&self.kernel),
            modified(&self.initramfs)
        )
    }
}

/// What came of a trial.
pub(super) enum Trial {
    /// The agent was there.
    Boots,
    /// The machine stopped, or ended: why.
    Fails(String),
    /// Nothing came in time, which may be the load's fault: how long that was.
    Hangs(String),
    /// It could not be tried, which says nothing.
    Untried(Error),
}

/// Boots the guest in a machine without disks, up to its agent. A directory in `cache`
/// is needed meanwhile.
pub(super) async fn boot(guest: &Guest, probe: &Probe, cache: &Path) -> Trial {
    let dir = cache.join("trial");
    let _ = std::fs::remove_dir_all(&dir);
    let trial = boot_in(guest, probe, &dir).await;
    let _ = std::fs::remove_dir_all(&dir);
    trial.unwrap_or_else(Trial::Untried)
}

async fn boot_in(guest: &Guest, probe: &Probe, dir: &Path) -> Result<Trial, Error> {
    super::private_dir(dir)?;
    let spec = VmSpec {
        name: "stack-trial".to_owned(),
        dir: dir.to_path_buf(),
        kernel: guest.kernel.clone(),
        initramfs: guest.initramfs.clone(),
        memory: MEMORY,
        cpus: 1,
        disks: Vec::new(),
        nics: Vec::new(),
        files: None,
        rates: Rates::default(),
        affinity: Vec::new(),
        template: false,
    };
    super::check(&spec, probe)?;
    let args = args::build(&spec, probe, Start::Template)?;
    let life = Life::OfItsMaker;
    let (process, mut qmp) = launch(&probe.binary, &args, dir, life, &[]).await?;
    let _end = Ended(process);
    // A machine that is not there by then is better emulated.
    let limit = Duration::from_secs(if accelerator::is_unlikely() { 3 } else { 10 });
    // The agent opens its port, or the machine stops.
    let event = qmp.first_of(&["VSERPORT_CHANGE", "STOP"]);
    Ok(match tokio::time::timeout(limit, event).await {
        Ok(Ok("VSERPORT_CHANGE")) => Trial::Boots,
        Ok(_) => Trial::Fails(crate::last_words(dir)),
        Err(_) => Trial::Hangs(format!("nothing within {} s", limit.as_secs())),
    })
}

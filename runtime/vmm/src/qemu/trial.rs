//! Whether the accelerator runs the guest's own kernel up to its agent.
//!
//! Under some hypervisors `/dev/kvm` runs a few bytes of boot code and ends an
//! ordinary kernel with an emulation failure, so that alone is not believed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::accelerator;
use super::args::{self, Start};
use super::launch::{Life, launch};
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

/// Boots the guest in a machine without disks; `Err` says why its agent does not
/// come. A directory in `cache` is needed meanwhile.
pub(super) async fn boots(guest: &Guest, probe: &Probe, cache: &Path) -> Result<(), String> {
    let dir = cache.join("trial");
    let _ = std::fs::remove_dir_all(&dir);
    let booted = boot(guest, probe, &dir).await;
    let _ = std::fs::remove_dir_all(&dir);
    booted
}

async fn boot(guest: &Guest, probe: &Probe, dir: &Path) -> Result<(), String> {
    super::private_dir(dir).map_err(|error| error.to_string())?;
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
    let agent = async {
        let args = args::build(&spec, probe, Start::Template)?;
        let (process, mut qmp) = launch(&probe.binary, &args, dir, Life::OfItsMaker, &[]).await?;
        // The agent opens its port, or the machine stops.
        let event = qmp.first_of(&["VSERPORT_CHANGE", "STOP"]).await;
        process.kill();
        process.wait().await;
        event.map_err(Error::io("the monitor"))
    };
    let words = || crate::last_words(dir);
    // A machine that is not there by then is better emulated.
    let limit = Duration::from_secs(if accelerator::is_unlikely() { 3 } else { 10 });
    match tokio::time::timeout(limit, agent).await {
        Ok(Ok("STOP")) => Err(words()),
        Ok(Ok(_)) => Ok(()),
        Ok(Err(Error::Io { .. })) => Err(format!("it ended: {}", words())),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("nothing within {} s: {}", limit.as_secs(), words())),
    }
}

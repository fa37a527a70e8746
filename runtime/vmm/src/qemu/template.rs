//! Templates: machines that have booted, saved before they become a
//! service's VM. Restoring one takes a fraction of a boot.
//!
//! A template fits every VM of its shape: as much memory, as many devices.
//! The first VM of a shape boots; when nothing has been started for a while,
//! one is booted aside with placeholders for disks and saved. What is saved
//! is the memory, page by page at its place in a sparse file (migration
//! capability `mapped-ram`, QEMU 9.0; `docs/devel/migration/mapped-ram.rst`
//! of QEMU), so that the VM made from it has memory of its own.

mod make;

use std::collections::{HashSet, VecDeque};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;
use sha2::{Digest, Sha256};

use super::args::{self, Start};
use super::launch::{Life, launch};
use super::private_dir;
use super::probe::Probe;
use super::qmp::Qmp;
use crate::{Error, Process, VmSpec};

/// What is saved looks different from now on.
const FORMAT: u32 = 4;
/// Nothing has been started for that long: the machine has time.
const QUIET: Duration = Duration::from_secs(2);
/// Templates kept, the last used ones. Each is some 70 MB.
const KEPT: usize = 8;
/// With less room on the disk none is made.
const ROOM: u64 = 1 << 30;
/// A restore that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(20);

/// All templates.
#[derive(Debug)]
pub(super) struct Templates {
    dir: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    wanted: VecDeque<(PathBuf, VmSpec)>,
    /// Not to be tried again by this process.
    given_up: HashSet<PathBuf>,
    working: bool,
    last_start: Instant,
}

impl Templates {
    /// `dir` holds them; it need not exist.
    pub(super) fn new(dir: PathBuf) -> Templates {
        Templates {
            dir,
            state: Mutex::new(State {
                wanted: VecDeque::new(),
                given_up: HashSet::new(),
                working: false,
                last_start: Instant::now(),
            }),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file that fits, if it is there; else one will be made by and by.
    pub(super) fn find(self: &Arc<Self>, spec: &VmSpec, probe: &Probe) -> Option<PathBuf> {
        let file = self.dir.join(name(spec, probe)?);
        let mut state = self.state();
        state.last_start = Instant::now();
        if state.given_up.contains(&file) {
            return None;
        }
        if let Ok(found) = fs::File::open(&file) {
            // For the choice of those that are kept.
            let _ = found.set_modified(SystemTime::now());
            return Some(file);
        }
        if !state.wanted.iter().any(|(wanted, _)| *wanted == file) {
            state.wanted.push_back((file, spec.clone()));
        }
        if !state.working {
            state.working = true;
            tokio::spawn(Arc::clone(self).work(probe.clone()));
        }
        None
    }

    /// It cannot be used: no VM of this shape is restored any more by this
    /// process.
    pub(super) fn give_up(&self, file: &Path) {
        let _ = fs::remove_file(file);
        self.state().given_up.insert(file.to_path_buf());
    }

    /// How many there are, and how many bytes of the disk they take.
    pub(super) fn size(&self) -> (usize, u64) {
        let saved = self.saved();
        let blocks = saved.iter().filter_map(|(_, path)| fs::metadata(path).ok());
        (saved.len(), blocks.map(|meta| meta.blocks() * 512).sum())
    }

    /// Makes what is wanted, one after the other.
    async fn work(self: Arc<Self>, probe: Probe) {
        self.sweep().await;
        loop {
            let quiet = self.state().last_start + QUIET;
            if Instant::now() < quiet {
                tokio::time::sleep_until(quiet.into()).await;
                continue;
            }
            let next = {
                let mut state = self.state();
                let next = state.wanted.pop_front();
                state.working = next.is_some();
                next
            };
            let Some((file, spec)) = next else {
                return;
            };
            match self.make(&file, &spec, &probe).await {
                Ok(()) => self.clean(),
                Err(error) => {
                    tracing::info!(%error, "VMs of this shape boot: no template can be made");
                    self.give_up(&file);
                }
            }
        }
    }

    async fn make(&self, file: &Path, spec: &VmSpec, probe: &Probe) -> Result<(), Error> {
        private_dir(&self.dir)?;
        let disk = rustix::fs::statvfs(&self.dir)
            .map_err(|error| Error::io(self.dir.display().to_string())(error.into()))?;
        if disk.f_bavail * disk.f_frsize < ROOM {
            return Err(Error::DiskFull(self.dir.clone()));
        }
        make::make(file, spec, probe).await
    }

    /// When it was used last, and where it is.
    fn saved(&self) -> Vec<(SystemTime, PathBuf)> {
        entries(&self.dir)
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect()
    }

    /// Deletes those that were not used for longest.
    fn clean(&self) {
        let mut saved = self.saved();
        saved.sort();
        for (_, path) in saved.iter().rev().skip(KEPT) {
            let _ = fs::remove_file(path);
        }
    }

    /// Removes what was being made when its maker was killed.
    async fn sweep(&self) {
        for entry in entries(&self.dir) {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                make::remove(&entry.path()).await;
            }
        }
    }
}

fn entries(dir: &Path) -> impl Iterator<Item = fs::DirEntry> {
    fs::read_dir(dir).into_iter().flatten().flatten()
}

/// One for all machines that differ in nothing that is saved. The probe's key
/// holds QEMU, accelerator and the host's boot: a processor's features may
/// change with it.
fn name(spec: &VmSpec, probe: &Probe) -> Option<String> {
    let mut key = format!(
        "{FORMAT} {} {} {} {} {} {} {}",
        probe.key(),
        spec.memory,
        spec.cpus,
        spec.disks.len(),
        spec.nics.len(),
        spec.files.is_some(),
        args::more_kernel_arguments(),
    );
    for file in [&spec.kernel, &spec.initramfs] {
        let meta = fs::metadata(file).ok()?;
        key += &format!(
            " {} {} {:?}",
            file.display(),
            meta.len(),
            meta.modified().ok()?
        );
    }
    let hash = Sha256::digest(key.as_bytes());
    Some(hash[..8].iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Where a state is saved to or comes from (QAPI `MigrationChannel`).
fn channel(file: &Path) -> serde_json::Value {
    json!({"channels": [{"channel-type": "main", "addr":
        {"transport": "file", "filename": file, "offset": 0}}]})
}

async fn use_mapped_ram(qmp: &mut Qmp) -> std::io::Result<()> {
    let capability = json!({"capability": "mapped-ram", "state": true});
    let arguments = json!({"capabilities": [capability]});
    qmp.command("migrate-set-capabilities", arguments).await?;
    Ok(())
}

/// Why there is no restored VM.
pub(super) enum Failure {
    /// The machine cannot be had, restored or not.
    Machine(Error),
    /// The template cannot be used.
    Template(String),
}

/// Starts the VM from the saved state.
pub(super) async fn restore(file: &Path, spec: &VmSpec, probe: &Probe) -> Result<Process, Failure> {
    let args = args::build(spec, probe, Start::Restore).map_err(Failure::Machine)?;
    let life = Life::OfItsOwn;
    let (process, mut qmp) = launch(&probe.binary, &args, &spec.dir, life, &spec.affinity)
        .await
        .map_err(Failure::Machine)?;
    let load = async {
        use_mapped_ram(&mut qmp).await?;
        qmp.command("migrate-incoming", channel(file)).await?;
        qmp.event("RESUME").await
    };
    let why = match tokio::time::timeout(LIMIT, load).await {
        Ok(Ok(())) => return Ok(process),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("nothing since {} s", LIMIT.as_secs()),
    };
    process.kill();
    process.wait().await;
    Err(Failure::Template(format!(
        "{why}: {}",
        crate::last_words(&spec.dir)
    )))
}

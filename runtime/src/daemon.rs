//! The daemon's state: every container, and what they share.

mod endpoints;
mod files;
mod joining;
mod own_logs;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stack_api::event::ApiError;
use stack_vmm::AnyBackend;
use tokio::sync::mpsc;

pub(crate) use endpoints::reserved;
pub use joining::Joining;

use crate::assets::Assets;
use crate::container::{Handle, Record, aside, driver};
use crate::key::Key;
use crate::ledger::{Ledger, Table};
use crate::network::{self, Netd, Network, Nic};
use crate::paths::Paths;
use crate::volume::Volume;

/// Apparent size of a scratch disk: sparse, so it costs what is written.
pub const SCRATCH_SIZE: u64 = 64 << 30;

/// Pause after a network daemon could not be started again.
const REVIVE_AGAIN: Duration = Duration::from_secs(1);

/// Pause until a port that somebody else has is tried again.
const PORT_AGAIN: Duration = Duration::from_secs(5);

/// The daemon.
#[derive(Debug)]
pub struct Daemon {
    /// Where things are.
    pub paths: Paths,
    /// What VMs are made of.
    pub assets: Assets,
    /// What must survive.
    pub ledger: Arc<Ledger>,
    /// What digests in it are made with.
    pub key: Key,
    /// Images.
    pub images: stack_images::Store,
    /// How VMs are run.
    pub backend: AnyBackend,
    /// Images that operations are about to use.
    pub leases: crate::space::Leases,
    /// Volumes that they are about to use.
    pub volume_leases: crate::volume::Leases,
    /// What builds images.
    pub builder: crate::stack::Builder,
    /// Somebody has been told that VMs are emulated.
    pub told_emulated: AtomicBool,
    containers: Mutex<BTreeMap<String, Arc<Handle>>>,
    // Endpoints that are announced, by container; and which stacks have a
    // network daemon.
    live: Mutex<BTreeMap<String, Record>>,
    netds: Mutex<BTreeMap<String, Netd>>,
    new_netds: mpsc::UnboundedSender<String>,
    files: files::FileServer,
    creation: Mutex<()>,
    // What containers will have on networks, by container.
    joining: Mutex<BTreeMap<String, Vec<Nic>>>,
    operations: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

fn guard<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Daemon {
    /// Opens the state and takes over the VMs that still run.
    ///
    /// # Errors
    /// The ledger or the image store cannot be opened.
    pub async fn open(
        paths: Paths,
        assets: Assets,
        backend: AnyBackend,
    ) -> Result<Arc<Daemon>, ApiError> {
        let ledger = Arc::new(Ledger::open(&paths.ledger())?);
        let key = Key::of(paths.key())?;
        let images = stack_images::Store::open(&paths.images())
            .map_err(|error| ApiError::new("images", error.to_string()))?;
        let (new_netds, started) = mpsc::unbounded_channel();
        let files = files::FileServer::new(&assets.fsd, &paths.run.join("fs"));
        let daemon = Arc::new(Daemon {
            paths,
            assets,
            ledger,
            key,
            images,
            backend,
            leases: crate::space::Leases::default(),
            volume_leases: crate::volume::Leases::default(),
            builder: crate::stack::Builder::default(),
            told_emulated: AtomicBool::new(false),
            containers: Mutex::default(),
            live: Mutex::default(),
            netds: Mutex::default(),
            new_netds,
            files,
            creation: Mutex::default(),
            joining: Mutex::default(),
            operations: Mutex::default(),
        });
        let own = Arc::downgrade(&daemon);
        let used = move || Some(crate::space::disks(&*own.upgrade()?));
        daemon.images.keep_used(used);
        crate::stack::forget_more(&daemon);
        aside::sweep(&daemon).await;
        // Before anybody mounts them.
        crate::volume::convert::settle(&daemon);
        let records: Vec<Record> = daemon.ledger.all(Table::Containers)?;
        for record in &records {
            let vm = daemon.paths.vm(&record.container.id);
            if record.process.is_some() || stack_vmm::surely_leftover(&vm).await.is_some() {
                guard(&daemon.live).insert(record.container.id.clone(), record.clone());
            }
        }
        for record in records {
            let over = record.remove_at_end && !record.wanted && record.process.is_none();
            let handle = daemon.insert(record);
            if over {
                tokio::spawn(crate::stack::reap(Arc::clone(&daemon), handle));
            }
        }
        crate::space::sweep(&daemon);
        tokio::spawn(Arc::clone(&daemon).keep_netds(started));
        tokio::spawn(own_logs::keep_small(Arc::downgrade(&daemon)));
        let own = Arc::clone(&daemon);
        tokio::spawn(async move {
            driver::outlasting("files", || Arc::clone(&own).keep_files()).await;
        });
        for home in daemon.live_homes() {
            daemon.keep(home);
        }
        tokio::spawn(crate::stack::settle_builder(Arc::clone(&daemon)));
        Ok(daemon)
    }

    /// Adds a container and starts its driver.
    pub fn insert(self: &Arc<Self>, record: Record) -> Arc<Handle> {
        let handle = Handle::new(record, Arc::clone(&self.ledger));
        guard(&self.containers).insert(handle.id.clone(), Arc::clone(&handle));
        driver::spawn(Arc::clone(self), Arc::clone(&handle));
        handle
    }

    /// Forgets a container that has been stopped.
    pub fn remove(&self, id: &str) {
        guard(&self.containers).remove(id);
    }

    /// The containers of a stack (or of all), by service and number.
    pub fn handles(&self, project: Option<&str>) -> Vec<Arc<Handle>> {
        let mut handles: Vec<Arc<Handle>> = guard(&self.containers).values().cloned().collect();
        handles.retain(|handle| project.is_none_or(|p| handle.container().project == p));
        handles.sort_by_key(|handle| {
            let container = handle.container();
            (container.project, container.service, container.number)
        });
        handles
    }

    /// The containers of a stack that are replicas of its services: all but
    /// those of `run`.
    pub fn replicas(&self, project: &str) -> Vec<Arc<Handle>> {
        let mut handles = self.handles(Some(project));
        handles.retain(|handle| !handle.container().one_off);
        handles
    }

    /// Can all records of containers and volumes be read? If not, what nobody
    /// seems to use may be theirs.
    pub fn knows_all(&self) -> bool {
        let containers = self.ledger.has_unreadable::<Record>(Table::Containers);
        let volumes = self.ledger.has_unreadable::<Volume>(Table::Volumes);
        !containers.unwrap_or(true) && !volumes.unwrap_or(true)
    }

    /// The lock that lets one operation at a time change a stack.
    pub fn operation(&self, project: &str) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(
            guard(&self.operations)
                .entry(project.to_owned())
                .or_default(),
        )
    }

    /// Held while a container or network is made: names and addresses are
    /// chosen from what there is, and must be there before the next choice.
    pub fn creation(&self) -> std::sync::MutexGuard<'_, ()> {
        guard(&self.creation)
    }

    /// All networks of a stack.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn networks(&self, project: &str) -> Result<Vec<Network>, ApiError> {
        let mut networks = self.all_networks()?;
        networks.retain(|network| network.project == project);
        Ok(networks)
    }

    /// All networks there are.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn all_networks(&self) -> Result<Vec<Network>, ApiError> {
        self.ledger.all(Table::Networks)
    }

    /// The network daemon of a stack or of a network made by hand
    /// ([`Network::home`]).
    pub fn netd(&self, home: &str) -> Netd {
        let dir = self.paths.nets().join(short(home));
        let make = || match self.backend {
            AnyBackend::Fake(_) => Netd::pretend(),
            AnyBackend::Qemu(_) => Netd::new(&self.assets.netd, &dir),
        };
        guard(&self.netds)
            .entry(home.to_owned())
            .or_insert_with(make)
            .clone()
    }

    /// Ends a network daemon.
    pub async fn end_netd(&self, home: &str) {
        let netd = self.netd(home);
        guard(&self.netds).remove(home);
        netd.shutdown().await;
    }

    /// From now on the network daemon of this home is started again when it
    /// ends although it is needed.
    fn keep(&self, home: String) {
        // The receiver ends with the process.
        let _ = self.new_netds.send(home);
    }

    /// Starts network daemons that end although they are needed.
    async fn keep_netds(self: Arc<Self>, mut homes: mpsc::UnboundedReceiver<String>) {
        while let Some(home) = homes.recv().await {
            let daemon = Arc::clone(&self);
            tokio::spawn(async move {
                let keep = || {
                    let (daemon, home) = (Arc::clone(&daemon), home.clone());
                    async move { daemon.keep_netd(&home).await }
                };
                driver::outlasting(&home, keep).await;
            });
        }
    }

    /// Has it serve what it did, also ports that somebody took meanwhile.
    async fn revive(&self, netd: &Netd, home: &str) {
        let mut told = BTreeSet::new();
        let mut pause = PORT_AGAIN;
        loop {
            match netd.apply(|| self.netd_config(home)).await {
                Ok(applied) if applied.failed.is_empty() => return,
                Ok(applied) => {
                    tell_lost(home, &applied, &mut told);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PORT_AGAIN * 12);
                }
                Err(error) => {
                    tracing::error!(%error, home, "the network daemon does not come back");
                    return tokio::time::sleep(REVIVE_AGAIN).await;
                }
            }
            if !self.live_homes().contains(home) {
                return;
            }
        }
    }

    async fn keep_netd(&self, home: &str) {
        let netd = self.netd(home);
        // Found running, or started, for containers from before this daemon.
        netd.is_unkept();
        while netd.lost().await {
            if !self.live_homes().contains(home) {
                if !netd.serves_again().await {
                    return;
                }
                continue;
            }
            tracing::warn!(home, "the network daemon is gone: starting it again");
            self.revive(&netd, home).await;
        }
    }
}

/// Says which ports are not there any more, once.
fn tell_lost(home: &str, applied: &network::Applied, told: &mut BTreeSet<String>) {
    for (id, failure) in &applied.failed {
        if !told.insert(id.clone()) {
            continue;
        }
        let why = &failure.message;
        tracing::error!(
            home,
            id,
            why,
            "a published port does not come back; trying again"
        );
    }
}

/// A short name for a directory: readable, unique by its hash.
fn short(project: &str) -> String {
    use std::hash::{Hash, Hasher};
    let mut hasher = std::hash::DefaultHasher::new();
    project.hash(&mut hasher);
    let head: String = project.chars().take(8).collect();
    format!("{head}{:08x}", hasher.finish() as u32)
}

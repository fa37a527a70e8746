//! The daemon's state: every container, and what they share.

mod endpoints;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stack_api::event::ApiError;
use stack_vmm::AnyBackend;

use crate::assets::Assets;
use crate::container::{Handle, Record, aside, driver};
use crate::ledger::{Ledger, Table};
use crate::network::{Netd, Network};
use crate::paths::Paths;

/// Apparent size of a scratch disk: sparse, so it costs what is written.
pub const SCRATCH_SIZE: u64 = 64 << 30;

/// How often dead network daemons are looked for.
const REVIVE_EVERY: Duration = Duration::from_millis(500);

/// The daemon.
#[derive(Debug)]
pub struct Daemon {
    /// Where things are.
    pub paths: Paths,
    /// What VMs are made of.
    pub assets: Assets,
    /// What must survive.
    pub ledger: Arc<Ledger>,
    /// Images.
    pub images: stack_images::Store,
    /// How VMs are run.
    pub backend: AnyBackend,
    containers: Mutex<BTreeMap<String, Arc<Handle>>>,
    // Endpoints that are announced, by container; and which stacks have a
    // network daemon.
    live: Mutex<BTreeMap<String, Record>>,
    netds: Mutex<BTreeMap<String, Netd>>,
    creation: Mutex<()>,
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
        let images = stack_images::Store::open(&paths.images())
            .map_err(|error| ApiError::new("images", error.to_string()))?;
        let daemon = Arc::new(Daemon {
            paths,
            assets,
            ledger,
            images,
            backend,
            containers: Mutex::default(),
            live: Mutex::default(),
            netds: Mutex::default(),
            creation: Mutex::default(),
            operations: Mutex::default(),
        });
        aside::sweep(&daemon).await;
        let records: Vec<Record> = daemon.ledger.all(Table::Containers)?;
        for record in &records {
            let vm = daemon.paths.vm(&record.container.id);
            if record.process.is_some() || stack_vmm::leftover(&vm).is_some() {
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
        let reviver = Arc::clone(&daemon);
        tokio::spawn(async move { reviver.revive_netds().await });
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
        let mut networks: Vec<Network> = self.ledger.all(Table::Networks)?;
        networks.retain(|network| network.project == project);
        Ok(networks)
    }

    /// The stack's network daemon.
    pub fn netd(&self, project: &str) -> Netd {
        let dir = self.paths.nets().join(short(project));
        let make = || match self.backend {
            AnyBackend::Fake(_) => Netd::pretend(),
            AnyBackend::Qemu(_) => Netd::new(&self.assets.netd, &dir),
        };
        guard(&self.netds)
            .entry(project.to_owned())
            .or_insert_with(make)
            .clone()
    }

    /// Ends the stack's network daemon.
    pub async fn end_netd(&self, project: &str) {
        let netd = self.netd(project);
        guard(&self.netds).remove(project);
        netd.shutdown().await;
    }

    async fn revive_netds(&self) {
        loop {
            tokio::time::sleep(REVIVE_EVERY).await;
            let projects: std::collections::BTreeSet<String> = guard(&self.live)
                .values()
                .map(|r| r.container.project.clone())
                .collect();
            for project in projects {
                let netd = self.netd(&project);
                if netd.alive().await {
                    continue;
                }
                tracing::warn!(project, "the network daemon is gone: starting it again");
                if let Err(error) = netd.apply(|| self.netd_config(&project)).await {
                    tracing::error!(%error, project, "the network daemon does not come back");
                }
            }
        }
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

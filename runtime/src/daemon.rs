//! The daemon's state: every container, and what they share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stack_api::container::Published;
use stack_api::event::ApiError;
use stack_netd::config::{Config, Endpoint, Network as NetdNetwork, Protocol, Publish};
use stack_vmm::AnyBackend;

use crate::assets::Assets;
use crate::container::{Handle, Record, driver};
use crate::ledger::{Ledger, Table};
use crate::network::{self, Netd, Network};
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
        let records: Vec<Record> = daemon.ledger.all(Table::Containers)?;
        for record in &records {
            let vm = daemon.paths.vm(&record.container.id);
            if record.process.is_some() || stack_vmm::leftover(&vm).is_some() {
                guard(&daemon.live).insert(record.container.id.clone(), record.clone());
            }
        }
        for record in records {
            daemon.insert(record);
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

    /// Gives a container its places on its networks and binds its ports.
    ///
    /// # Errors
    /// A port is in use; nothing of this container is announced then.
    pub async fn announce_endpoints(&self, handle: &Handle) -> Result<Vec<Published>, ApiError> {
        let record = handle.record();
        let project = record.container.project.clone();
        guard(&self.live).insert(handle.id.clone(), record.clone());
        let applied = self
            .netd(&project)
            .apply(self.netd_config(&project)?)
            .await?;
        let mut bound = Vec::new();
        for (n, port) in record.spec.ports.iter().enumerate() {
            let id = publish_id(&handle.id, n);
            if let Some(addresses) = applied.published.get(&id) {
                bound.extend(network::published(port.target, port.udp, addresses));
            }
            if let Some(failure) = applied.failed.get(&id) {
                self.forget_endpoints(handle).await;
                let holder = match &failure.holder {
                    Some(holder) => format!(" by {holder}"),
                    None => self.holder(port.published.unwrap_or(0), &handle.id),
                };
                let service = &record.container.service;
                let port = port.published.unwrap_or(0);
                return Err(ApiError::new(
                    "port_in_use",
                    format!("service {service}: port {port} is already in use{holder}"),
                )
                .help(format!(
                    "stop what holds it, or publish another port ({})",
                    failure.message
                )));
            }
        }
        Ok(bound)
    }

    fn holder(&self, port: u16, not: &str) -> String {
        let live = guard(&self.live);
        let other = live.values().find(|record| {
            record.container.id != not
                && record.spec.ports.iter().any(|p| p.published == Some(port))
        });
        other.map_or(String::new(), |record| {
            format!(" by container {}", record.container.name)
        })
    }

    /// Takes a container off its networks and frees its ports.
    pub async fn forget_endpoints(&self, handle: &Handle) {
        if guard(&self.live).remove(&handle.id).is_none() {
            return;
        }
        let project = handle.container().project;
        let config = self.netd_config(&project);
        if let Ok(config) = config
            && let Err(error) = self.netd(&project).apply(config).await
        {
            tracing::warn!(%error, project, "the network daemon was not told");
        }
    }

    fn netd_config(&self, project: &str) -> Result<Config, ApiError> {
        let live = guard(&self.live);
        let records: Vec<&Record> = live
            .values()
            .filter(|record| record.container.project == project)
            .collect();
        let mut publish = Vec::new();
        let networks = self
            .networks(project)?
            .into_iter()
            .map(|network| NetdNetwork {
                endpoints: records
                    .iter()
                    .flat_map(|r| self.endpoints(r, &network.name))
                    .collect(),
                subnet: (network.subnet.base(), network.subnet.prefix()),
                gateway: network.gateway,
                internal: network.internal,
                name: network.name,
            })
            .collect::<Vec<_>>();
        let internal = |name: &str| networks.iter().any(|n| n.name == name && n.internal);
        for record in &records {
            let id = &record.container.id;
            // Ports lead to the first network that has a way out.
            let Some(nic) = record.nics.iter().find(|nic| !internal(&nic.network)) else {
                continue;
            };
            for (n, port) in record.spec.ports.iter().enumerate() {
                publish.push(Publish {
                    id: publish_id(id, n),
                    host_ip: port.host_ip,
                    host_port: port.published.unwrap_or(0),
                    protocol: if port.udp {
                        Protocol::Udp
                    } else {
                        Protocol::Tcp
                    },
                    endpoint: format!("{id}/{}", nic.network),
                    container_port: port.target,
                });
            }
        }
        Ok(Config { networks, publish })
    }

    fn endpoints(&self, record: &Record, network: &str) -> Vec<Endpoint> {
        let dir = self.paths.vm(&record.container.id);
        let places = record
            .nics
            .iter()
            .enumerate()
            .filter(|(_, nic)| nic.network == network);
        places
            .map(|(n, nic)| Endpoint {
                id: format!("{}/{network}", record.container.id),
                local: dir.join(format!("n{n}.d")),
                peer: dir.join(format!("n{n}.q")),
                mac: nic.mac.clone(),
                ipv4: nic.ipv4,
                names: nic.names.clone(),
            })
            .collect()
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
                let Ok(config) = self.netd_config(&project) else {
                    continue;
                };
                if let Err(error) = netd.apply(config).await {
                    tracing::error!(%error, project, "the network daemon does not come back");
                }
            }
        }
    }
}

fn publish_id(container: &str, n: usize) -> String {
    format!("{container}/{n}")
}

/// A short name for a directory: readable, unique by its hash.
fn short(project: &str) -> String {
    use std::hash::{Hash, Hasher};
    let mut hasher = std::hash::DefaultHasher::new();
    project.hash(&mut hasher);
    let head: String = project.chars().take(8).collect();
    format!("{head}{:08x}", hasher.finish() as u32)
}

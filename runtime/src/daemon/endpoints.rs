//! What the network daemons are told of the containers: their places on the
//! networks, their names and their published ports.

use std::collections::BTreeMap;

use stack_api::container::Published;
use stack_api::event::ApiError;
use stack_api::spec::PortSpec;
use stack_netd::config::{Config, Endpoint, Network as NetdNetwork, Protocol, Publish, Transport};

use super::{Daemon, guard};
use crate::container::{Handle, Record};
use crate::network;

impl Daemon {
    /// Gives a container its places on its networks and binds its ports.
    ///
    /// # Errors
    /// A port is in use; nothing of this container is announced then.
    pub async fn announce_endpoints(&self, handle: &Handle) -> Result<Vec<Published>, ApiError> {
        let record = handle.record();
        let project = record.container.project.clone();
        guard(&self.live).insert(handle.id.clone(), record.clone());
        let applied = self.apply(&project).await?;
        let bound = self.bound(&record, &applied);
        if bound.is_err() {
            self.forget_endpoints(handle).await;
        }
        bound
    }

    /// Announces a container anew, with other names and ports: what stays
    /// the same is not interrupted. `None`: nothing of it is announced, as
    /// it does not run.
    ///
    /// # Errors
    /// A port is in use; the container is announced as before.
    pub async fn republish(
        &self,
        handle: &Handle,
        record: &Record,
    ) -> Result<Option<Vec<Published>>, ApiError> {
        let Some(old) = self.exchange(record) else {
            return Ok(None);
        };
        let project = &record.container.project;
        let result = match self.apply(project).await {
            Ok(applied) => self.bound(record, &applied),
            Err(error) => Err(error),
        };
        match result {
            Ok(bound) => Ok(Some(bound)),
            Err(error) => {
                tracing::info!(%error, container = handle.id, "its ports stay as they were");
                self.exchange(&old);
                self.apply(project).await?;
                Err(error)
            }
        }
    }

    /// Announces two containers anew at once: the first gives its names and
    /// ports to the second. Gives the ports that the second has then.
    ///
    /// # Errors
    /// A port is in use; both are announced as before.
    pub async fn hand_over(&self, from: &Record, to: &Record) -> Result<Vec<Published>, ApiError> {
        let before: Vec<Record> = [from, to]
            .map(|r| self.exchange(r))
            .into_iter()
            .flatten()
            .collect();
        let project = &to.container.project;
        let result = match self.apply(project).await {
            Ok(applied) => self.bound(to, &applied),
            Err(error) => Err(error),
        };
        if result.is_err() {
            for record in &before {
                self.exchange(record);
            }
            self.apply(project).await?;
        }
        result
    }

    /// Replaces what is announced of a container; gives what was before.
    fn exchange(&self, record: &Record) -> Option<Record> {
        let mut live = guard(&self.live);
        let known = live.get_mut(&record.container.id)?;
        Some(std::mem::replace(known, record.clone()))
    }

    async fn apply(&self, project: &str) -> Result<network::Applied, ApiError> {
        let config = || self.netd_config(project);
        self.netd(project).apply(config).await
    }

    /// The ports of a container that were bound.
    fn bound(
        &self,
        record: &Record,
        applied: &network::Applied,
    ) -> Result<Vec<Published>, ApiError> {
        let mut bound = Vec::new();
        for (id, port) in publish_ids(record) {
            if let Some(addresses) = applied.published.get(&id) {
                bound.extend(network::published(port.target, port.udp, addresses));
            }
            let Some(failure) = applied.failed.get(&id) else {
                continue;
            };
            let published = port.published.unwrap_or(0);
            let holder = match &failure.holder {
                Some(holder) => format!(" by {holder}"),
                None => self.holder(published, &record.container.id),
            };
            let service = &record.container.service;
            let message = format!("service {service}: port {published} is already in use{holder}");
            return Err(ApiError::new("port_in_use", message).help(format!(
                "stop what holds it, or publish another port ({})",
                failure.message
            )));
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
        if let Err(error) = self.apply(&project).await {
            tracing::warn!(%error, project, "the network daemon was not told");
        }
    }

    pub(super) fn netd_config(&self, project: &str) -> Result<Config, ApiError> {
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
                subnet: Some((network.subnet.base(), network.subnet.prefix())),
                gateway: Some(network.gateway),
                internal: network.internal,
                name: network.name,
                ..NetdNetwork::default()
            })
            .collect::<Vec<_>>();
        let internal = |name: &str| networks.iter().any(|n| n.name == name && n.internal);
        for record in &records {
            let id = &record.container.id;
            if record.standby {
                continue;
            }
            // Ports lead to the first network that has a way out.
            let Some(nic) = record.nics.iter().find(|nic| !internal(&nic.network)) else {
                continue;
            };
            for (publish_id, port) in publish_ids(record) {
                publish.push(Publish {
                    id: publish_id,
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
                transport: match record.transport {
                    stack_vmm::Transport::Datagram => Transport::Datagram,
                    stack_vmm::Transport::VhostUser => Transport::VhostUser,
                },
                mac: nic.mac.clone(),
                ipv4: Some(nic.ipv4),
                names: if record.standby {
                    Vec::new()
                } else {
                    nic.names.clone()
                },
                ..Endpoint::default()
            })
            .collect()
    }
}

/// The ports of a container with their ids: by what they are, so that those
/// that stay when others go are the same.
fn publish_ids(record: &Record) -> Vec<(String, &PortSpec)> {
    let mut known: BTreeMap<String, u32> = BTreeMap::new();
    let ids = record.spec.ports.iter().map(|port| {
        let ip = port.host_ip.map_or(String::new(), |ip| ip.to_string());
        let host = port
            .published
            .map_or(String::new(), |port| port.to_string());
        let protocol = if port.udp { "udp" } else { "tcp" };
        let id = &record.container.id;
        let mut id = format!("{id}/{ip}:{host}:{}/{protocol}", port.target);
        let times = known.entry(id.clone()).or_default();
        *times += 1;
        if *times > 1 {
            id.push_str(&format!("#{times}"));
        }
        (id, port)
    });
    ids.collect()
}

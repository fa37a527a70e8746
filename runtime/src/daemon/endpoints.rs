//! What the network daemons are told of the containers: their places on the
//! networks, their names and their published ports.

use std::collections::{BTreeMap, BTreeSet};

use stack_api::container::Published;
use stack_api::event::ApiError;
use stack_api::spec::PortSpec;
use stack_netd::config::Config;

use super::view::View;
use super::{Daemon, guard};
use crate::container::{Handle, Record};
use crate::network::{self, Network};

impl Daemon {
    /// Gives a container its places on its networks and binds its ports.
    ///
    /// # Errors
    /// A port is in use; nothing of this container is announced then.
    pub async fn announce_endpoints(&self, handle: &Handle) -> Result<Vec<Published>, ApiError> {
        let record = handle.record();
        guard(&self.live).insert(handle.id.clone(), record.clone());
        let bound = match self.apply(&self.homes(&[&record])?).await {
            Ok(applied) => self.bound(&record, &applied),
            Err(error) => Err(error),
        };
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
        let homes = self.homes(&[&old, record])?;
        let result = match self.apply(&homes).await {
            Ok(applied) => self.bound(record, &applied),
            Err(error) => Err(error),
        };
        match result {
            Ok(bound) => Ok(Some(bound)),
            Err(error) => {
                tracing::info!(%error, container = handle.id, "its ports stay as they were");
                self.exchange(&old);
                self.apply(&homes).await?;
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
        let homes = self.homes(&[from, to])?;
        let result = match self.apply(&homes).await {
            Ok(applied) => self.bound(to, &applied),
            Err(error) => Err(error),
        };
        if result.is_err() {
            for record in &before {
                self.exchange(record);
            }
            self.apply(&homes).await?;
        }
        result
    }

    /// Replaces what is announced of a container; gives what was before.
    fn exchange(&self, record: &Record) -> Option<Record> {
        let mut live = guard(&self.live);
        let known = live.get_mut(&record.container.id)?;
        Some(std::mem::replace(known, record.clone()))
    }

    async fn apply(&self, homes: &BTreeSet<String>) -> Result<network::Applied, ApiError> {
        let mut all = network::Applied::default();
        for home in homes {
            let config = || self.netd_config(home);
            let applied = self.netd(home).apply(config).await?;
            all.published.extend(applied.published);
            all.failed.extend(applied.failed);
        }
        Ok(all)
    }

    /// The network daemons that must hear of changes of these containers:
    /// those of their networks, and those that answer neighbours' questions
    /// for their names.
    fn homes(&self, records: &[&Record]) -> Result<BTreeSet<String>, ApiError> {
        let networks = self.all_networks()?;
        let live = guard(&self.live);
        let on = |record: &Record| -> BTreeSet<String> {
            let nics = record.nics.iter();
            nics.map(|nic| nic.network.clone()).collect()
        };
        let mine: BTreeSet<String> = records.iter().flat_map(|record| on(record)).collect();
        let mut affected = mine.clone();
        for other in live.values().map(on) {
            if !other.is_disjoint(&mine) {
                affected.extend(other);
            }
        }
        let of = |name: &String| networks.iter().find(|network| network.name == *name);
        Ok(affected.iter().filter_map(of).map(Network::home).collect())
    }

    /// The network daemons that somebody needs now.
    pub(super) fn live_homes(&self) -> BTreeSet<String> {
        let networks = self.all_networks().unwrap_or_default();
        let live = guard(&self.live);
        let nics = live.values().flat_map(|record| &record.nics);
        let of = |name: &String| networks.iter().find(|network| network.name == *name);
        nics.filter_map(|nic| of(&nic.network))
            .map(Network::home)
            .collect()
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
        let homes = self.homes(&[&handle.record()]);
        if guard(&self.live).remove(&handle.id).is_none() {
            return;
        }
        let told = match homes {
            Ok(homes) => self.apply(&homes).await.map(|_| homes),
            Err(error) => Err(error),
        };
        match told {
            // A network of its own has a daemon as long as somebody is on it.
            Ok(homes) => {
                let needed = self.live_homes();
                for home in homes {
                    if home.starts_with(network::OWN_HOME) && !needed.contains(&home) {
                        self.end_netd(&home).await;
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%error, container = handle.id, "the network daemon was not told");
            }
        }
    }

    /// Everything that the network daemon of a stack, or of a network made by
    /// hand, has to serve.
    pub(super) fn netd_config(&self, home: &str) -> Result<Config, ApiError> {
        let all = self.all_networks()?;
        let live = guard(&self.live);
        let view = View {
            paths: &self.paths,
            networks: &all,
            records: live.values().collect(),
        };
        Ok(view.config(home))
    }
}

/// The ports of a container with their ids: by what they are, so that those
/// that stay when others go are the same.
pub(super) fn publish_ids(record: &Record) -> Vec<(String, &PortSpec)> {
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

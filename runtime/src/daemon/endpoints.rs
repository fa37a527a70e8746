//! What the network daemons are told of the containers: their places on the
//! networks, their names and their published ports.

use std::collections::{BTreeMap, BTreeSet};

use stack_api::container::Published;
use stack_api::event::ApiError;
use stack_api::spec::{PortSpec, SocketSpec};
use stack_netd::config::Config;
use stack_netd::control::PublishErrorKind;

use super::view::View;
use super::{Daemon, guard};
use crate::container::{Handle, Record, sockets};
use crate::network::{self, Network};
use crate::stack::BUILDER;

impl Daemon {
    /// Gives a container its places on its networks and binds its ports.
    ///
    /// # Errors
    /// A port is in use; nothing of this container is announced then.
    pub async fn announce_endpoints(&self, handle: &Handle) -> Result<Vec<Published>, ApiError> {
        let record = handle.record();
        sockets::prepare(&record.spec, &record.nics)?;
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
        sockets::prepare(&record.spec, &record.nics)?;
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

    /// Frees ports of a container that runs; its record still has them.
    ///
    /// # Errors
    /// The network daemon cannot be told.
    pub async fn release(&self, handle: &Handle, ports: &[PortSpec]) -> Result<(), ApiError> {
        let Some(mut record) = guard(&self.live).get(&handle.id).cloned() else {
            return Ok(());
        };
        record.spec.ports.retain(|port| !ports.contains(port));
        self.exchange(&record);
        self.apply(&self.homes(&[&record])?).await.map(|_| ())
    }

    /// Announces containers as their records have them, where that is not so:
    /// what was to come after [`release`](Self::release) did not.
    pub async fn reclaim(&self, handles: &[std::sync::Arc<Handle>]) {
        for handle in handles {
            let (recorded, known) = (handle.record(), guard(&self.live).get(&handle.id).cloned());
            let differs = known.is_some_and(|known| known.spec.ports != recorded.spec.ports);
            if differs && let Err(error) = self.republish(handle, &recorded).await {
                let container = recorded.container.name;
                tracing::warn!(%error, container, "it does not get its ports back");
            }
        }
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
            let netd = self.netd(home);
            let applied = netd.apply(config).await?;
            if netd.is_unkept() {
                self.keep(home.clone());
            }
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
            let holder = match &failure.holder {
                Some(holder) => format!(" by {holder}"),
                None => self.holder(port, &record.container.id),
            };
            return Err(refusal(&record.container.service, port, failure, &holder));
        }
        for (id, socket) in socket_ids(record) {
            if let Some(failure) = applied.failed.get(&id) {
                return Err(socket_refusal(&record.container.service, socket, failure));
            }
        }
        Ok(bound)
    }

    fn holder(&self, port: &PortSpec, not: &str) -> String {
        let live = guard(&self.live);
        let shares = |other: &PortSpec| {
            other.udp == port.udp && span(other).is_some_and(|other| Some(other) == span(port))
        };
        let taken = |record: &&Record| {
            record.container.id != not && !record.standby && record.spec.ports.iter().any(shares)
        };
        live.values().find(taken).map_or(String::new(), |record| {
            let container = &record.container;
            let (name, project) = (&container.name, &container.project);
            format!(" by container {name} of stack {project}")
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
            // A network of its own, or the builder's, has a daemon as long as somebody
            // is on it.
            Ok(homes) => {
                let needed = self.live_homes();
                let passing = |home: &str| home.starts_with(network::OWN_HOME) || home == BUILDER;
                for home in homes {
                    if passing(&home) && !needed.contains(&home) {
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

fn span(port: &PortSpec) -> Option<(u16, u16)> {
    let first = port.published?;
    Some((first, port.published_end.unwrap_or(first)))
}

/// The host's side of a port, as it is written.
fn on_host(port: &PortSpec) -> String {
    match span(port) {
        Some((first, last)) if first != last => format!("{first}-{last}"),
        Some((first, _)) => first.to_string(),
        None => "0".to_owned(),
    }
}

/// A port that this user may not bind, and what to do.
pub(crate) fn reserved(service: &str, port: &PortSpec) -> ApiError {
    let (host, first) = (on_host(port), port.published.unwrap_or(0));
    let message = format!("service {service}: port {host} is one of those that only root may use");
    ApiError::new("port_reserved", message).help(format!(
        "publish one from 1024 up, e.g. `{}:{}`; or allow it: \
         `sudo sysctl net.ipv4.ip_unprivileged_port_start={first}` (for everybody), or \
         `sudo setcap cap_net_bind_service=+ep $(which stack-netd)` (for stack alone)",
        8000_u16.saturating_add(first),
        port.target,
    ))
}

/// Why a port is not published, and what to do.
fn refusal(
    service: &str,
    port: &PortSpec,
    failure: &network::PublishFailure,
    holder: &str,
) -> ApiError {
    let (host, why) = (on_host(port), &failure.message);
    let error =
        |code: &str, what: String| ApiError::new(code, format!("service {service}: {what}"));
    match failure.kind {
        PublishErrorKind::InUse => {
            let what = match port.published_end {
                Some(_) => format!("ports {host} are all in use, the first{holder}"),
                None => format!("port {host} is already in use{holder}"),
            };
            error("port_in_use", what).help("stop what holds it, or publish another port")
        }
        PublishErrorKind::Reserved => reserved(service, port),
        PublishErrorKind::NoAddress => {
            let ip = port.host_ip.map_or(String::new(), |ip| ip.to_string());
            error(
                "no_such_address",
                format!("this host does not have the address {ip}"),
            )
            .help("see `ip address`, or leave the address out: the port is published on all")
        }
        PublishErrorKind::Internal => error("internal_network", why.clone())
            .help("put the service into another network, too, or leave out `internal: true`"),
        PublishErrorKind::Other => error(
            "publish_failed",
            format!("port {host} cannot be published: {why}"),
        ),
    }
}

/// Why a socket is not there, and what to do.
fn socket_refusal(
    service: &str,
    socket: &SocketSpec,
    failure: &network::PublishFailure,
) -> ApiError {
    let (path, why) = (socket.path.display(), &failure.message);
    let error = ApiError::new("socket", format!("service {service}: {why}"));
    error.help(match failure.kind {
        PublishErrorKind::InUse => format!("stop what listens at {path}, or write another path"),
        _ => format!("`x-stack.sockets` needs a place at {path} where this user may make a socket"),
    })
}

/// The sockets of a container with their ids.
pub(super) fn socket_ids(record: &Record) -> Vec<(String, &SocketSpec)> {
    let id = &record.container.id;
    let of = |socket: &'_ SocketSpec| format!("{id}/{}:{}", socket.path.display(), socket.target);
    record.spec.sockets.iter().map(|s| (of(s), s)).collect()
}

/// The ports of a container with their ids: by what they are, so that those
/// that stay when others go are the same.
pub(super) fn publish_ids(record: &Record) -> Vec<(String, &PortSpec)> {
    let mut known: BTreeMap<String, u32> = BTreeMap::new();
    let ids = record.spec.ports.iter().map(|port| {
        let ip = port.host_ip.map_or(String::new(), |ip| ip.to_string());
        let host = match span(port) {
            None => String::new(),
            Some((first, last)) if first == last => first.to_string(),
            Some((first, last)) => format!("{first}-{last}"),
        };
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

//! From one configuration to the next: what stays the same keeps its flows.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::time::Instant;

use super::flows::Kind;
use super::{Event, Fabric, Net, Port};
use crate::config::{Endpoint, Network, Publish, Transport, link_local};
use crate::dns::Zone;
use crate::ids::{NetworkId, PortId, PublishId};
use crate::wire;

/// Sockets to open and to close.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// To close first.
    pub(crate) closed: Vec<PortId>,
    /// To open then.
    pub(crate) opened: Vec<Opened>,
}

/// A port whose socket is to be opened.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The port.
    pub(crate) port: PortId,
    /// The endpoint's id.
    pub(crate) endpoint: String,
    /// The socket to bind.
    pub(crate) local: PathBuf,
    /// The VMM's.
    pub(crate) peer: PathBuf,
    /// What kind of sockets these are.
    pub(crate) transport: Transport,
}

impl Fabric {
    /// Serves `networks`, a configuration that was checked.
    pub(crate) fn apply(&mut self, networks: &[Network], now: Instant) -> Changes {
        let wanted: HashMap<&str, &Network> = networks
            .iter()
            .map(|network| (network.name.as_str(), network))
            .collect();
        self.bearers
            .retain(|(name, _), _| wanted.contains_key(name.as_str()));
        let mut changes = Changes::default();
        let stale: Vec<NetworkId> = self
            .networks
            .iter()
            .filter(|(_, net)| {
                let new = wanted.get(net.config.name.as_str());
                !new.is_some_and(|new| same_network(&net.config, new))
            })
            .map(|(id, _)| *id)
            .collect();
        for id in stale {
            self.networks.remove(&id);
            self.advertisements.set(id, None);
        }
        for id in self.ports.keys().copied().collect::<Vec<_>>() {
            if !self.still_wanted(id, &wanted) {
                self.remove_port(id);
                changes.closed.push(id);
            }
        }
        for network in networks {
            self.apply_network(network, networks, &mut changes);
        }
        self.schedule_advertisements(now);
        changes
    }

    fn still_wanted(&self, id: PortId, wanted: &HashMap<&str, &Network>) -> bool {
        let Some(port) = self.ports.get(&id) else {
            return false;
        };
        let Some(net) = self.networks.get(&port.network) else {
            return false;
        };
        let network = wanted.get(net.config.name.as_str());
        network.is_some_and(|n| n.endpoints.iter().any(|e| same_endpoint(e, &port.endpoint)))
    }

    fn apply_network(&mut self, network: &Network, all: &[Network], changes: &mut Changes) {
        let known = self
            .networks
            .iter()
            .find(|(_, net)| net.config.name == network.name);
        let id = known.map(|(id, _)| *id);
        let id = id.unwrap_or_else(|| NetworkId(self.fresh()));
        let mut table = BTreeMap::new();
        let mut moved = Vec::new();
        for endpoint in &network.endpoints {
            let Some(mac) = wire::parse_mac(&endpoint.mac) else {
                continue;
            };
            let port = match self.port_of(&endpoint.id) {
                Some(id) => {
                    if let Some(port) = self.ports.get_mut(&id) {
                        port.endpoint = endpoint.clone();
                    }
                    id
                }
                None => {
                    let port = PortId(self.fresh());
                    changes.opened.push(Opened {
                        port,
                        endpoint: endpoint.id.clone(),
                        local: endpoint.local.clone(),
                        peer: endpoint.peer.clone(),
                        transport: endpoint.transport,
                    });
                    for address in endpoint.addresses() {
                        let last = self.bearers.insert((network.name.clone(), address), mac);
                        if last.is_some_and(|last| last != mac) {
                            moved.push((address, mac));
                        }
                    }
                    let endpoint = endpoint.clone();
                    let waiting = HashSet::new();
                    self.ports.insert(
                        port,
                        Port {
                            network: id,
                            endpoint,
                            mac,
                            queued: 0,
                            waiting,
                        },
                    );
                    port
                }
            };
            table.insert(mac, port);
        }
        let net = Net {
            mac: network.gateway_mac(),
            link_local: link_local(network.gateway_mac()),
            zone: Zone::new(network, all),
            table,
            config: network.clone(),
        };
        self.networks.insert(id, net);
        for (address, mac) in moved {
            self.announce(id, address, mac);
        }
    }

    /// Takes an endpoint off its network; its flows end.
    pub(crate) fn remove_port(&mut self, id: PortId) {
        self.end_flows(id);
        self.reassembly.forget_port(id);
        self.frames.retain(|(port, _)| *port != id);
        if let Some(port) = self.ports.remove(&id)
            && let Some(network) = self.networks.get_mut(&port.network)
        {
            network.table.retain(|_, port| *port != id);
        }
    }

    /// An endpoint's machine is not there any more: its flows end.
    pub(crate) fn end_flows(&mut self, id: PortId) {
        for flow in self.flows.select(|flow| flow.key.port == id) {
            self.close_flow(flow);
        }
        for association in self.associations.forget(id) {
            self.events.push_back(Event::CloseAssociation(association));
        }
        for query in self.forwarder.forget(id) {
            self.close_query(query);
        }
        self.sessions.forget(|port, _| port == id);
    }

    /// A published port is bound.
    pub(crate) fn add_publish(&mut self, publish: Publish) -> PublishId {
        let id = PublishId(self.fresh());
        self.publishes.insert(id, publish);
        id
    }

    /// A published port leads elsewhere; its flows from before go on.
    pub(crate) fn retarget_publish(&mut self, id: PublishId, publish: Publish) {
        self.publishes.insert(id, publish);
    }

    /// A published port could not be used after all.
    pub(crate) fn forget_publish(&mut self, id: PublishId) {
        self.publishes.remove(&id);
    }

    /// The endpoint's network has no way out.
    pub(crate) fn is_on_internal_network(&self, endpoint: &str) -> bool {
        self.port_of(endpoint)
            .is_some_and(|port| self.is_internal(port))
    }

    /// A published port is gone; its flows end.
    pub(crate) fn remove_publish(&mut self, id: PublishId, now: Instant) {
        self.publishes.remove(&id);
        let through = |kind: &Kind| matches!(kind, Kind::Published(publish, _) if *publish == id);
        for flow in self.flows.select(|flow| through(&flow.kind)) {
            self.abort(flow, now);
            self.flush(flow, now);
        }
        self.sessions.forget(|_, publish| publish == id);
    }
}

fn same_network(old: &Network, new: &Network) -> bool {
    let what = |n: &Network| {
        let four = (n.subnet, n.gateway);
        (four, (n.subnet6, n.gateway6), n.internal, n.mtu)
    };
    what(old) == what(new)
}

/// Names can change while the endpoint lives.
fn same_endpoint(old: &Endpoint, new: &Endpoint) -> bool {
    old.id == new.id
        && old.local == new.local
        && old.peer == new.peer
        && old.transport == new.transport
        && old.mac == new.mac
        && old.ipv4 == new.ipv4
        && old.ipv6 == new.ipv6
}

//! The containers and networks that there are, as a network daemon is told of
//! them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use stack_api::spec::PortSpec;
use stack_netd::config::{
    Config, Endpoint, Network as NetdNetwork, Protocol, Publish, Record as SrvRecord, Service,
    Transport,
};

use super::endpoints::{publish_ids, socket_ids};
use crate::container::{self, MTU, Record};
use crate::network::{Network, Nic, endpoint_id};
use crate::paths::Paths;

/// Names of other networks that an endpoint is told; netd takes no more.
const MOST_HOSTS: usize = 1000;

/// What is announced now.
pub(super) struct View<'a> {
    pub paths: &'a Paths,
    pub networks: &'a [Network],
    pub records: Vec<&'a Record>,
}

impl View<'_> {
    /// What the network daemon with this home serves.
    pub(super) fn config(&self, home: &str) -> Config {
        let own = |network: &&Network| network.home() == home;
        let networks = self.networks.iter().filter(own);
        let networks = networks.map(|network| self.network(network)).collect();
        let records = self.records.iter().filter(|record| !record.standby);
        let here = |nic: &Nic| self.find(&nic.network).is_some_and(|n| n.home() == home);
        let mut publish: Vec<Publish> = Vec::new();
        for record in records {
            if let Some(nic) = self.way_in(record).filter(|nic| here(nic)) {
                publish.extend(publishes(record, nic));
            }
            // A socket is a file of the user's: it leads into internal networks,
            // too.
            let any = || record.nics.iter().find(|nic| !nic.unplugged);
            if let Some(nic) = self.way_in(record).or_else(any).filter(|nic| here(nic)) {
                publish.extend(local_sockets(record, nic));
            }
        }
        Config { networks, publish }
    }

    fn find(&self, name: &str) -> Option<&Network> {
        self.networks.iter().find(|network| network.name == name)
    }

    /// Ports lead to the network with the default route: answers to clients
    /// elsewhere leave by it. Without one, to the first that has a way out.
    fn way_in<'r>(&self, record: &'r Record) -> Option<&'r Nic> {
        let open =
            |nic: &&Nic| !nic.unplugged && self.find(&nic.network).is_some_and(|n| !n.internal);
        let mut nics = record.nics.iter();
        let routed = nics.find(|nic| nic.default_route && open(nic));
        routed.or_else(|| record.nics.iter().find(open))
    }

    fn network(&self, network: &Network) -> NetdNetwork {
        let pair4 = network.subnet.map(|net| (net.network(), net.prefix_len()));
        let pair6 = network.subnet6.map(|net| (net.network(), net.prefix_len()));
        NetdNetwork {
            name: network.name.clone(),
            subnet: pair4,
            gateway: network.gateway,
            subnet6: pair6,
            gateway6: network.gateway6,
            mtu: network.mtu.unwrap_or(MTU),
            internal: network.internal,
            endpoints: self
                .records
                .iter()
                .flat_map(|record| self.endpoints(record, network))
                .collect(),
        }
    }

    /// What a container knows beside the names of this network: its
    /// `extra_hosts`, and who is on its other networks. A resolver asks one
    /// name server, and believes it when it says that there is no such name.
    fn hosts(&self, record: &Record, network: &Network) -> Vec<(String, Vec<IpAddr>)> {
        let mut hosts: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
        for (address, name) in &record.blueprint.config.hosts {
            if let Ok(address) = address.parse() {
                hosts.entry(name.clone()).or_default().push(address);
            }
        }
        let own: BTreeSet<String> = hosts.keys().cloned().collect();
        let here: BTreeSet<&String> = self.names_on(&network.name).map(|(name, _)| name).collect();
        let others = record.nics.iter().filter(|nic| !nic.unplugged);
        for nic in others.filter(|nic| nic.network != network.name) {
            for (name, other) in self.names_on(&nic.network) {
                if own.contains(name) || here.contains(name) {
                    continue;
                }
                let addresses = hosts.entry(name.clone()).or_default();
                addresses.extend(other.ipv4.map(IpAddr::from));
                addresses.extend(other.ipv6.map(IpAddr::from));
            }
            for (alias, target) in &nic.links {
                let found = self
                    .names_on(&nic.network)
                    .filter(|(name, _)| *name == target);
                let addresses: Vec<IpAddr> =
                    found.filter_map(|(_, other)| other.address()).collect();
                if !addresses.is_empty() && !here.contains(target) {
                    hosts.insert(alias.clone(), addresses);
                }
            }
        }
        hosts.into_iter().take(MOST_HOSTS).collect()
    }

    fn names_on(&self, network: &str) -> impl Iterator<Item = (&String, &Nic)> {
        let on = self.nics_on(network);
        on.flat_map(|(_, nic)| nic.names.iter().map(move |name| (name, nic)))
    }

    fn nics_on(&self, network: &str) -> impl Iterator<Item = (&Record, &Nic)> {
        let records = self.records.iter().filter(|record| !record.standby);
        let nics = records.flat_map(|record| record.nics.iter().map(|nic| (*record, nic)));
        nics.filter(move |(_, nic)| nic.network == network && !nic.unplugged)
    }

    /// SRV records of who is on a container's other networks, for the same
    /// reason as their names.
    fn srv_records(&self, record: &Record, network: &Network) -> Vec<SrvRecord> {
        let others = record.nics.iter().filter(|nic| !nic.unplugged);
        let others = others.filter(|nic| nic.network != network.name);
        let there = others.flat_map(|nic| self.nics_on(&nic.network));
        let records = there.flat_map(|(other, nic)| {
            let services = services(other).into_iter();
            let pair = move |service: Service| nic.names.iter().map(move |n| (service.clone(), n));
            services.flat_map(pair).map(|(service, name)| SrvRecord {
                name: service.name_at(name),
                port: service.port,
                // One of many replicas has a name that they do not.
                target: other.container.name.clone(),
            })
        });
        records.take(MOST_HOSTS).collect()
    }

    fn endpoints(&self, record: &Record, network: &Network) -> Vec<Endpoint> {
        let dir = self.paths.vm(&record.container.id);
        let way_in = self.way_in(record).map(|nic| &nic.network);
        let places = record.nics.iter().enumerate();
        places
            .filter(|(_, nic)| nic.network == network.name && !nic.unplugged)
            .map(|(n, nic)| Endpoint {
                id: endpoint_id(&record.container.id, nic),
                local: dir.join(format!("n{n}.d")),
                peer: dir.join(format!("n{n}.q")),
                transport: match record.transport_of(n) {
                    stack_vmm::Transport::Datagram => Transport::Datagram,
                    stack_vmm::Transport::VhostUser => Transport::VhostUser,
                },
                mac: nic.mac.clone(),
                ipv4: nic.ipv4,
                ipv6: nic.ipv6,
                default_route: nic.default_route && way_in == Some(&nic.network),
                names: if record.standby {
                    Vec::new()
                } else {
                    nic.names.clone()
                },
                links: nic.links.clone(),
                hosts: self.hosts(record, network),
                dns: record
                    .spec
                    .dns
                    .iter()
                    .filter_map(|dns| dns.parse().ok())
                    .collect(),
                search: record.spec.dns_search.clone(),
                sockets: container::host_sockets(&record.spec),
                services: services(record),
                records: self.srv_records(record, network),
            })
            .collect()
    }
}

/// What SRV lookups find of a container: its ports by their names.
fn services(record: &Record) -> Vec<Service> {
    let ports = record.spec.ports.iter();
    let named = ports.flat_map(|port| port.labels.iter().map(move |label| (label, port)));
    named
        .map(|(label, port)| Service {
            label: label.clone(),
            protocol: protocol(port),
            port: port.target,
        })
        .take(MOST_HOSTS)
        .collect()
}

fn protocol(port: &PortSpec) -> Protocol {
    if port.udp {
        Protocol::Udp
    } else {
        Protocol::Tcp
    }
}

fn local_sockets(record: &Record, nic: &Nic) -> Vec<Publish> {
    let sockets = socket_ids(record).into_iter();
    sockets
        .map(|(id, socket)| Publish {
            id,
            host_path: Some(socket.path.clone()),
            endpoint: endpoint_id(&record.container.id, nic),
            container_port: container::sockets::port(&record.spec, socket),
            ..Publish::default()
        })
        .collect()
}

fn publishes(record: &Record, nic: &Nic) -> Vec<Publish> {
    let ports = publish_ids(record).into_iter();
    ports
        .map(|(id, port)| Publish {
            id,
            host_ip: port.host_ip,
            host_port: port.published.unwrap_or(0),
            host_port_last: port.published_end.filter(|_| port.published.is_some()),
            host_path: None,
            protocol: protocol(port),
            endpoint: endpoint_id(&record.container.id, nic),
            container_port: port.target,
        })
        .collect()
}

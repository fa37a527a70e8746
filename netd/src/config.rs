//! What the daemon is told to serve.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The whole wanted state of one stack's networks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Networks; their subnets do not overlap.
    pub networks: Vec<Network>,
    /// Published ports, ranges already expanded.
    pub publish: Vec<Publish>,
}

/// One network: a switch with a gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// Name, unique in the configuration.
    pub name: String,
    /// Network address and prefix length.
    pub subnet: (Ipv4Addr, u8),
    /// The daemon's own address in the subnet: router and name server.
    pub gateway: Ipv4Addr,
    /// No way out, and no published ports.
    pub internal: bool,
    /// Who is on it.
    pub endpoints: Vec<Endpoint>,
}

/// One network device of one VM.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Unique in the configuration.
    pub id: String,
    /// The socket that the daemon binds, and the VMM sends or connects to.
    pub local: PathBuf,
    /// The datagram socket that the VMM binds.
    pub peer: PathBuf,
    /// How frames go to and fro.
    #[serde(default)]
    pub transport: Transport,
    /// Hardware address, `02:57:0a:59:00:02`.
    pub mac: String,
    /// Address in the network's subnet.
    pub ipv4: Ipv4Addr,
    /// Service name, container name, aliases; endpoints may share a name.
    pub names: Vec<String>,
}

/// How frames go between the daemon and a VMM.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// One Ethernet frame in each unix datagram.
    #[default]
    Datagram,
    /// Through the VM's memory (vhost-user; Linux only): `local` is a stream
    /// socket that the VMM connects to, and `peer` is not used.
    VhostUser,
}

/// One port of the host that leads to a port of an endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Publish {
    /// Unique in the configuration.
    pub id: String,
    /// Where to listen; `None` is `0.0.0.0` and, where the host can, `[::]`.
    pub host_ip: Option<IpAddr>,
    /// Port of the host; 0 lets the system choose.
    pub host_port: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// An [`Endpoint::id`].
    pub endpoint: String,
    /// Port of the guest.
    pub container_port: u16,
}

/// Transport of a published port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// Transmission control protocol.
    Tcp,
    /// User datagram protocol.
    Udp,
}

impl Config {
    /// Checks what the types cannot say: addresses in their subnets, nothing
    /// twice, subnets apart.
    ///
    /// # Errors
    /// The first thing that is wrong, as a sentence.
    pub fn check(&self) -> Result<(), String> {
        let mut ids = BTreeSet::new();
        let mut names = BTreeSet::new();
        for (n, network) in self.networks.iter().enumerate() {
            network.check()?;
            if !names.insert(&network.name) {
                return Err(format!("network {}: defined twice", network.name));
            }
            if let Some(other) = self.networks[..n]
                .iter()
                .find(|other| network.overlaps(other))
            {
                return Err(format!(
                    "networks {} and {} overlap",
                    other.name, network.name
                ));
            }
            for endpoint in &network.endpoints {
                if !ids.insert(&endpoint.id) {
                    return Err(format!("endpoint {}: defined twice", endpoint.id));
                }
            }
        }
        let mut published = BTreeSet::new();
        for publish in &self.publish {
            if !published.insert(&publish.id) {
                return Err(format!("published port {}: defined twice", publish.id));
            }
            if !ids.contains(&publish.endpoint) {
                return Err(format!(
                    "published port {}: no endpoint {}",
                    publish.id, publish.endpoint
                ));
            }
        }
        Ok(())
    }
}

impl Network {
    /// `address` is in the subnet.
    pub(crate) fn contains(&self, address: Ipv4Addr) -> bool {
        (u32::from(address) ^ u32::from(self.subnet.0)) & self.mask() == 0
    }

    /// The highest address of the subnet.
    pub(crate) fn broadcast(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.subnet.0) | !self.mask())
    }

    fn mask(&self) -> u32 {
        u32::MAX
            .checked_shl(32 - u32::from(self.subnet.1))
            .unwrap_or(0)
    }

    fn overlaps(&self, other: &Network) -> bool {
        self.contains(other.subnet.0) || other.contains(self.subnet.0)
    }

    fn check(&self) -> Result<(), String> {
        let name = &self.name;
        if !(1..=30).contains(&self.subnet.1) {
            return Err(format!(
                "network {name}: the prefix must be between 1 and 30"
            ));
        }
        if !self.contains(self.gateway) {
            return Err(format!("network {name}: the gateway is not in the subnet"));
        }
        let mut addresses = BTreeSet::from([self.gateway, self.broadcast()]);
        let mut macs = BTreeSet::from([crate::wire::gateway_mac(self.gateway)]);
        for endpoint in &self.endpoints {
            let id = &endpoint.id;
            let mac = crate::wire::parse_mac(&endpoint.mac).ok_or_else(|| {
                format!("endpoint {id}: `{}` is no hardware address", endpoint.mac)
            })?;
            if !self.contains(endpoint.ipv4) || !addresses.insert(endpoint.ipv4) {
                return Err(format!(
                    "endpoint {id}: address {} is taken or outside",
                    endpoint.ipv4
                ));
            }
            if !macs.insert(mac) {
                return Err(format!(
                    "endpoint {id}: hardware address {} is taken",
                    endpoint.mac
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(name: &str, base: [u8; 4], prefix: u8) -> Network {
        let base = Ipv4Addr::from(base);
        let gateway = Ipv4Addr::from(u32::from(base) + 1);
        Network {
            name: name.into(),
            subnet: (base, prefix),
            gateway,
            internal: false,
            endpoints: vec![],
        }
    }

    #[test]
    fn overlapping_subnets_are_refused() {
        let mut config = Config {
            networks: vec![
                network("a", [10, 0, 0, 0], 16),
                network("b", [10, 0, 7, 0], 24),
            ],
            publish: vec![],
        };
        assert!(config.check().unwrap_err().contains("overlap"));
        config.networks[1] = network("b", [10, 1, 0, 0], 24);
        config.check().unwrap();
    }

    #[test]
    fn addresses_must_be_inside_and_unique() {
        let mut net = network("a", [10, 0, 0, 0], 24);
        let endpoint = |id: &str, last: u8| Endpoint {
            id: id.into(),
            local: "/l".into(),
            peer: "/p".into(),
            transport: Transport::Datagram,
            mac: format!("02:57:0a:00:00:{last:02x}"),
            ipv4: Ipv4Addr::new(10, 0, 0, last),
            names: vec![],
        };
        net.endpoints = vec![endpoint("x", 2), endpoint("y", 3)];
        net.check().unwrap();
        net.endpoints[1].ipv4 = net.endpoints[0].ipv4;
        assert!(net.check().is_err());
        net.endpoints[1] = endpoint("y", 255);
        assert!(net.check().is_err());
        net.endpoints[1] = endpoint("y", 3);
        net.endpoints[1].mac = "02:57".into();
        assert!(net.check().is_err());
    }
}

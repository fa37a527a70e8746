//! What the types of a configuration cannot say: addresses in their subnets,
//! nothing twice, subnets apart.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{Config, Endpoint, Network};

/// Entries of one endpoint's lists: names, links, services.
const MAX_ENTRIES: usize = 1024;

impl Config {
    /// Checks what the types cannot say.
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
            let mut before = self.networks[..n].iter();
            if let Some(other) = before.find(|other| network.overlaps(other)) {
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
    fn check(&self) -> Result<(), String> {
        let name = &self.name;
        let wrong = |what: &str| Err(format!("network {name}: {what}"));
        if self.subnet.is_none() && self.subnet6.is_none() {
            return wrong("neither an IPv4 nor an IPv6 subnet");
        }
        if self.subnet.is_some() != self.gateway.is_some()
            || self.subnet6.is_some() != self.gateway6.is_some()
        {
            return wrong("a subnet needs a gateway, and a gateway a subnet");
        }
        if self.subnet.is_some_and(|(_, n)| !(1..=30).contains(&n)) {
            return wrong("the prefix must be between 1 and 30");
        }
        if self.subnet6.is_some_and(|(_, n)| !(8..=126).contains(&n)) {
            return wrong("the IPv6 prefix must be between 8 and 126");
        }
        if self.mtu < if self.subnet6.is_some() { 1280 } else { 576 } {
            return wrong("the MTU must be at least 576, and 1280 with IPv6");
        }
        if usize::from(self.mtu) > crate::wire::MTU {
            return wrong("the MTU must be at most 65520");
        }
        let gateways = [self.gateway.map(IpAddr::V4), self.gateway6.map(IpAddr::V6)];
        let mut addresses: BTreeSet<IpAddr> = gateways.into_iter().flatten().collect();
        if addresses.iter().any(|gateway| !self.contains(*gateway)) {
            return wrong("the gateway is not in the subnet");
        }
        addresses.extend(self.broadcast().map(IpAddr::V4));
        let mut macs = BTreeSet::from([self.gateway_mac()]);
        for endpoint in &self.endpoints {
            let id = &endpoint.id;
            let mac = crate::wire::parse_mac(&endpoint.mac).ok_or_else(|| {
                format!("endpoint {id}: `{}` is no hardware address", endpoint.mac)
            })?;
            for address in endpoint.addresses() {
                if !self.contains(address) || !addresses.insert(address) {
                    return Err(format!(
                        "endpoint {id}: address {address} is taken or outside"
                    ));
                }
            }
            if !macs.insert(mac) {
                return Err(format!(
                    "endpoint {id}: hardware address {} is taken",
                    endpoint.mac
                ));
            }
            endpoint.check()?;
        }
        Ok(())
    }
}

impl Endpoint {
    /// Its addresses.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let (four, six) = (self.ipv4.map(IpAddr::V4), self.ipv6.map(IpAddr::V6));
        [four, six].into_iter().flatten()
    }

    fn check(&self) -> Result<(), String> {
        let id = &self.id;
        if self.addresses().next().is_none() {
            return Err(format!("endpoint {id}: no address"));
        }
        let most = self.names.len().max(self.links.len()).max(self.hosts.len());
        let mut ports = BTreeSet::from([0, 53]);
        if let Some(twice) = self.sockets.iter().find(|s| !ports.insert(s.port)) {
            return Err(format!("endpoint {id}: port {} is taken", twice.port));
        }
        let most = most.max(self.records.len());
        if most.max(self.services.len()).max(self.search.len()) > MAX_ENTRIES {
            return Err(format!("endpoint {id}: more than {MAX_ENTRIES} names"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    fn network(name: &str, base: [u8; 4], prefix: u8) -> Network {
        let base = Ipv4Addr::from(base);
        Network {
            name: name.into(),
            subnet: Some((base, prefix)),
            gateway: Some(Ipv4Addr::from(u32::from(base) + 1)),
            ..Network::default()
        }
    }

    fn endpoint(id: &str, last: u8) -> Endpoint {
        Endpoint {
            id: id.into(),
            mac: format!("02:57:0a:00:00:{last:02x}"),
            ipv4: Some(Ipv4Addr::new(10, 0, 0, last)),
            ..Endpoint::default()
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
        let six: Ipv6Addr = "fd00:1::".parse().unwrap();
        for network in &mut config.networks {
            network.subnet6 = Some((six, 64));
            network.gateway6 = Some("fd00:1::1".parse().unwrap());
        }
        assert!(config.check().unwrap_err().contains("overlap"));
    }

    #[test]
    fn addresses_must_be_inside_and_unique() {
        let mut net = network("a", [10, 0, 0, 0], 24);
        net.endpoints = vec![endpoint("x", 2), endpoint("y", 3)];
        net.check().unwrap();
        net.endpoints[1].ipv4 = net.endpoints[0].ipv4;
        assert!(net.check().is_err());
        net.endpoints[1] = endpoint("y", 255);
        assert!(net.check().is_err());
        net.endpoints[1] = endpoint("y", 3);
        net.endpoints[1].mac = "02:57".into();
        assert!(net.check().is_err());
        net.endpoints[1] = endpoint("y", 3);
        net.endpoints[1].ipv6 = Some("fd00:1::3".parse().unwrap());
        assert!(net.check().unwrap_err().contains("outside"));
        net.endpoints[1].ipv4 = None;
        net.endpoints[1].ipv6 = None;
        assert!(net.check().unwrap_err().contains("no address"));
    }

    #[test]
    fn a_network_may_have_ipv6_alone() {
        let mut net = Network {
            subnet6: Some(("fd00:1::".parse().unwrap(), 64)),
            gateway6: Some("fd00:1::1".parse().unwrap()),
            ..Network::default()
        };
        net.endpoints = vec![Endpoint {
            ipv4: None,
            ipv6: Some("fd00:1::2".parse().unwrap()),
            ..endpoint("x", 2)
        }];
        net.check().unwrap();
        net.mtu = 1000;
        assert!(net.check().unwrap_err().contains("1280"));
        net.mtu = 1500;
        net.gateway6 = None;
        assert!(net.check().unwrap_err().contains("needs a gateway"));
    }

    #[test]
    fn a_configuration_of_an_older_daemon_is_read() {
        let old = r#"{"networks":[{"name":"a","subnet":["10.0.0.0",24],"gateway":"10.0.0.1",
            "internal":false,"endpoints":[{"id":"x","local":"/l","peer":"/p",
            "mac":"02:57:0a:00:00:02","ipv4":"10.0.0.2","names":[]}]}],"publish":[]}"#;
        let config: Config = serde_json::from_str(old).unwrap();
        config.check().unwrap();
        assert_eq!(config.networks[0].mtu, 1500);
    }
}

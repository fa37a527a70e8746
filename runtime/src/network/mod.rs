//! Networks: addresses, and the network daemons that serve them.

mod addresses;
mod daemon;
mod subnets;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Deserializer, Serialize};

pub use addresses::{Place, Taken, mac_for};
pub use daemon::{Applied, Netd, PublishFailure, published};
pub use subnets::{free_subnet, host_routes, overlap, overlap6, unique_local};

/// A network, as the ledger keeps it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Network {
    /// Full name.
    pub name: String,
    /// The stack; empty for one that was made by hand.
    pub project: String,
    /// IPv4 addresses, if it has any.
    #[serde(deserialize_with = "subnet")]
    pub subnet: Option<Ipv4Net>,
    /// The network daemon's own address in there.
    pub gateway: Option<Ipv4Addr>,
    /// Where addresses that are not given by hand come from; `None`: all of
    /// the subnet.
    #[serde(default)]
    pub range: Option<Ipv4Net>,
    /// IPv6 addresses, if it has any.
    #[serde(default)]
    pub subnet6: Option<Ipv6Net>,
    /// The network daemon's own address in there.
    #[serde(default)]
    pub gateway6: Option<Ipv6Addr>,
    /// As `range`.
    #[serde(default)]
    pub range6: Option<Ipv6Net>,
    /// Addresses that are not given.
    #[serde(default)]
    pub reserved: Vec<IpAddr>,
    /// Largest packet in bytes, where one was asked for.
    #[serde(default)]
    pub mtu: Option<u16>,
    /// No way out.
    pub internal: bool,
    /// Labels.
    #[serde(default)]
    pub labels: std::collections::BTreeMap<String, String>,
    /// Milliseconds since the epoch.
    #[serde(default)]
    pub created_ms: u64,
}

/// `address/prefix`, or the two in fields, as older records have them.
fn subnet<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Ipv4Net>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Whole(Ipv4Net),
        Parts { base: Ipv4Addr, prefix: u8 },
    }
    Ok(match Option::<Written>::deserialize(input)? {
        None => None,
        Some(Written::Whole(subnet)) => Some(subnet),
        Some(Written::Parts { base, prefix }) => Ipv4Net::new(base, prefix).ok(),
    })
}

impl Network {
    /// Which network daemon serves it: that of its stack, or one of its own.
    pub fn home(&self) -> String {
        if self.project.is_empty() {
            format!("{}{}", OWN_HOME, self.name)
        } else {
            self.project.clone()
        }
    }

    /// Why the two cannot be on one machine, if so.
    pub fn overlaps(&self, other: &Network) -> Option<String> {
        let four = self.subnet.zip(other.subnet);
        let six = self.subnet6.zip(other.subnet6);
        let clash = match (four, six) {
            (Some((a, b)), _) if overlap(a, b) => Some((a.to_string(), b.to_string())),
            (_, Some((a, b))) if overlap6(a, b) => Some((a.to_string(), b.to_string())),
            _ => None,
        };
        clash.map(|(a, b)| {
            format!(
                "the networks {} ({a}) and {} ({b}) overlap",
                self.name, other.name
            )
        })
    }

    /// An address of this place that no container can have here.
    pub fn lacks(&self, nic: &Nic) -> Option<IpAddr> {
        let fits = |ip: &Ipv4Addr| self.subnet.is_some_and(|net| net.contains(ip));
        let fits6 = |ip: &Ipv6Addr| self.subnet6.is_some_and(|net| net.contains(ip));
        let ipv4 = nic.ipv4.filter(|ip| !fits(ip) || self.gateway == Some(*ip));
        let ipv6 = nic
            .ipv6
            .filter(|ip| !fits6(ip) || self.gateway6 == Some(*ip));
        ipv4.map(IpAddr::from).or(ipv6.map(IpAddr::from))
    }

    /// Its router and name server, the IPv4 address first.
    pub fn router(&self) -> Option<IpAddr> {
        let ipv4 = self.gateway.map(IpAddr::from);
        ipv4.or(self.gateway6.map(IpAddr::from))
    }
}

/// Before the name of a network that has a daemon of its own: no project is
/// called so.
pub const OWN_HOME: &str = "@";

/// A container's place on a network.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Nic {
    /// Full network name.
    pub network: String,
    /// Its key in the stack file; none of a network that was joined by hand.
    #[serde(default)]
    pub key: Option<String>,
    /// It was joined by hand, and stays whatever the stack file says.
    #[serde(default)]
    pub by_hand: bool,
    /// Hardware address.
    pub mac: String,
    /// Address.
    pub ipv4: Option<Ipv4Addr>,
    /// Address.
    #[serde(default)]
    pub ipv6: Option<Ipv6Addr>,
    /// Names in this network.
    pub names: Vec<String>,
    /// Names that this container alone has for others: name, what it stands
    /// for.
    #[serde(default)]
    pub links: Vec<(String, String)>,
    /// The default route leads through it.
    #[serde(default)]
    pub default_route: bool,
    /// It was taken off the network while the machine ran: the device is there
    /// until the machine ends, and free for another network.
    #[serde(default)]
    pub unplugged: bool,
}

impl Nic {
    /// Its address, the IPv4 one first.
    pub fn address(&self) -> Option<IpAddr> {
        let ipv4 = self.ipv4.map(IpAddr::from);
        ipv4.or(self.ipv6.map(IpAddr::from))
    }
}

/// What the network daemon calls a container's place on a network.
pub fn endpoint_id(container: &str, nic: &Nic) -> String {
    format!("{container}/{}", nic.network)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_records_are_read() {
        let old = r#"{"name":"shop_default","project":"shop","internal":false,
            "subnet":{"base":"10.89.0.0","prefix":24},"gateway":"10.89.0.1"}"#;
        let network: Network = serde_json::from_str(old).unwrap();
        assert_eq!(network.subnet, "10.89.0.0/24".parse().ok());
        let again = serde_json::to_string(&network).unwrap();
        let again: Network = serde_json::from_str(&again).unwrap();
        assert_eq!(again.subnet, network.subnet);
    }
}

//! Networks as they are, and the calls about them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::container::State;

/// An element of `GET /v1/networks`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkInfo {
    /// Full name.
    pub name: String,
    /// The stack it belongs to; empty for one that was made by hand.
    pub project: String,
    /// No way out.
    pub internal: bool,
    /// IPv4 addresses, if it has any.
    pub subnet: Option<Ipv4Net>,
    /// Router and name server.
    pub gateway: Option<Ipv4Addr>,
    /// Where addresses that are not given by hand come from.
    pub range: Option<Ipv4Net>,
    /// IPv6 addresses, if it has any.
    pub subnet6: Option<Ipv6Net>,
    /// Router and name server.
    pub gateway6: Option<Ipv6Addr>,
    /// As `range`.
    pub range6: Option<Ipv6Net>,
    /// Addresses that nobody is given.
    pub reserved: Vec<IpAddr>,
    /// Largest packet in bytes.
    pub mtu: u16,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Milliseconds since the epoch; 0 when not known.
    pub created_ms: u64,
    /// Who has a place on it, running or not.
    pub members: Vec<Member>,
}

/// A container's place on a network.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Member {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Container name.
    pub name: String,
    /// Its stack.
    pub project: String,
    /// Its service.
    pub service: String,
    /// Where it is in its life.
    pub state: State,
    /// Hardware address.
    pub mac: String,
    /// Address.
    pub ipv4: Option<Ipv4Addr>,
    /// Address.
    pub ipv6: Option<Ipv6Addr>,
    /// Names in this network.
    pub names: Vec<String>,
    /// Its default route leads through it.
    pub default_route: bool,
}

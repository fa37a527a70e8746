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

/// `GET /v1/stacks/{name}/net`: what passed a stack's networks since their
/// daemons were started.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetStats {
    /// Network cards of the containers that run.
    pub cards: Vec<CardStats>,
    /// The network daemons: the stack's, and those of shared networks.
    pub daemons: Vec<DaemonStats>,
}

/// A network card, seen from its machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CardStats {
    /// Container name.
    pub container: String,
    /// Its service.
    pub service: String,
    /// Full network name.
    pub network: String,
    /// Frames to the machine.
    pub rx_frames: u64,
    /// Their bytes, Ethernet headers included.
    pub rx_bytes: u64,
    /// Frames from the machine.
    pub tx_frames: u64,
    /// Their bytes.
    pub tx_bytes: u64,
}

/// One network daemon.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DaemonStats {
    /// The stack, or `@` and the network that it serves.
    pub home: String,
    /// Process id.
    pub pid: u32,
    /// TCP flows through the gateway, and UDP associations.
    pub flows: u64,
    /// Published ports that are bound.
    pub published: u64,
    /// Questions for names.
    pub queries: u64,
    /// Those of them that went to other name servers.
    pub forwarded: u64,
    /// Frames that were dropped, by reason; zeroes are left out.
    pub drops: BTreeMap<String, u64>,
}

/// Query of `GET /v1/stacks/{name}/capture`. Answer: a pcapng stream, until
/// the client closes the connection.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CaptureQuery {
    /// Service.
    pub service: String,
    /// Number of the container; default the first that runs.
    pub index: Option<u32>,
    /// Full name of the network; default all that the container is on.
    pub network: Option<String>,
}

/// `POST /v1/networks/{name}/connect`: give a container a place on a network.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Connect {
    /// Name of the container, or the beginning of its id.
    pub container: String,
    /// As in a stack file.
    pub place: crate::spec::AttachSpec,
    /// Restart a running machine for it: network cards are plugged in at the
    /// start.
    pub restart: bool,
}

/// `POST /v1/networks/{name}/disconnect`: take a container off a network.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Disconnect {
    /// Name of the container, or the beginning of its id.
    pub container: String,
}

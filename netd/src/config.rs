//! What the daemon is told to serve.

mod check;
mod subnet;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

pub(crate) use subnet::link_local;

use serde::{Deserialize, Serialize};

/// Largest IP packet of a network that says nothing else, in bytes.
pub const DEFAULT_MTU: u16 = 1500;

/// The whole wanted state of one stack's networks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Networks; their subnets do not overlap.
    pub networks: Vec<Network>,
    /// Published ports, ranges already expanded.
    pub publish: Vec<Publish>,
}

/// One network: a switch with a gateway. It has IPv4, IPv6 or both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// Name, unique in the configuration.
    pub name: String,
    /// IPv4 network address and prefix length (1 to 30).
    #[serde(default)]
    pub subnet: Option<(Ipv4Addr, u8)>,
    /// The daemon's own address in `subnet`: router and name server. There
    /// is one exactly if there is a subnet.
    #[serde(default)]
    pub gateway: Option<Ipv4Addr>,
    /// IPv6 network address and prefix length (8 to 126).
    #[serde(default)]
    pub subnet6: Option<(Ipv6Addr, u8)>,
    /// The daemon's own address in `subnet6`.
    #[serde(default)]
    pub gateway6: Option<Ipv6Addr>,
    /// Largest IP packet that the guests' devices take, in bytes; at least
    /// 1280 with IPv6 (RFC 8200, section 5), else 576.
    #[serde(default = "default_mtu")]
    pub mtu: u16,
    /// No way out, and no published ports.
    pub internal: bool,
    /// Who is on it.
    pub endpoints: Vec<Endpoint>,
}

impl Default for Network {
    fn default() -> Network {
        Network {
            name: String::new(),
            subnet: None,
            gateway: None,
            subnet6: None,
            gateway6: None,
            mtu: DEFAULT_MTU,
            internal: false,
            endpoints: Vec::new(),
        }
    }
}

fn default_mtu() -> u16 {
    DEFAULT_MTU
}

/// One network device of one VM.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
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
    #[serde(default)]
    pub ipv4: Option<Ipv4Addr>,
    /// Address in the network's IPv6 subnet.
    #[serde(default)]
    pub ipv6: Option<Ipv6Addr>,
    /// The VM's default route leads through this endpoint. Services then see
    /// the real addresses of clients of published ports; elsewhere the
    /// answers would not come back here, and clients show as the gateway.
    #[serde(default)]
    pub default_route: bool,
    /// Service name, container name, host name, aliases; endpoints may share
    /// a name. The first one is what a reverse lookup gives.
    pub names: Vec<String>,
    /// Names that only this endpoint can look up, each with the name on this
    /// network that it stands for (Compose's `links`).
    #[serde(default)]
    pub links: Vec<(String, String)>,
    /// More names that only this endpoint can look up, each with its
    /// addresses, before those of the network: Compose's `extra_hosts`, and
    /// who is on the VM's other networks.
    #[serde(default)]
    pub hosts: Vec<(String, Vec<IpAddr>)>,
    /// Name servers for what the network does not know, in place of the
    /// host's (Compose's `dns`).
    #[serde(default)]
    pub dns: Vec<IpAddr>,
    /// Search domains, told to guests that ask by DHCP.
    #[serde(default)]
    pub search: Vec<String>,
    /// Sockets of the host that the endpoint reaches at ports of the gateway,
    /// on internal networks too.
    #[serde(default)]
    pub sockets: Vec<HostSocket>,
    /// What SRV lookups find: `_label._tcp.name` for each of the names.
    #[serde(default)]
    pub services: Vec<Service>,
    /// SRV records that only this endpoint can look up: those of who is on
    /// the VM's other networks.
    #[serde(default)]
    pub records: Vec<Record>,
}

/// A stream socket in the host's file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostSocket {
    /// TCP port of the gateway that leads there; not 53.
    pub port: u16,
    /// Where it is.
    pub path: PathBuf,
}

/// A port of a guest that an SRV lookup finds (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Without the underscore: `http`, or a port number.
    pub label: String,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Port of the guest.
    pub port: u16,
}

impl Service {
    /// `_http._tcp.web` of `web`.
    pub fn name_at(&self, host: &str) -> String {
        let protocol = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        format!("_{}._{protocol}.{host}", self.label)
    }
}

/// An SRV record as it is asked for and answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// `_http._tcp.web`.
    pub name: String,
    /// Port of the guest.
    pub port: u16,
    /// Name of the guest.
    pub target: String,
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

/// One port of the host, or a socket in its file system, that leads to a port
/// of an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Publish {
    /// Unique in the configuration.
    pub id: String,
    /// Where to listen; `None` is `0.0.0.0` and, where the host can, `[::]`.
    pub host_ip: Option<IpAddr>,
    /// Port of the host; 0 lets the system choose.
    pub host_port: u16,
    /// Any free port from `host_port` to this one will do.
    #[serde(default)]
    pub host_port_last: Option<u16>,
    /// A stream socket of this user to listen at in place of a port (TCP
    /// only). It is made anew where nobody listens, and removed at the end.
    #[serde(default)]
    pub host_path: Option<PathBuf>,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// An [`Endpoint::id`].
    pub endpoint: String,
    /// Port of the guest.
    pub container_port: u16,
}

/// Transport of a published port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// Transmission control protocol.
    #[default]
    Tcp,
    /// User datagram protocol.
    Udp,
}

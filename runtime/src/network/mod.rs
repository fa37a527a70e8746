//! A stack's networks: addresses, and the network daemon that serves them.

mod daemon;
mod subnet;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

pub use daemon::{Applied, Netd, PublishFailure, published};
pub use subnet::{Subnet, free_subnet};

/// A network of a stack, as the ledger keeps it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Network {
    /// Full name.
    pub name: String,
    /// The stack.
    pub project: String,
    /// Addresses.
    pub subnet: Subnet,
    /// The network daemon's own address.
    pub gateway: Ipv4Addr,
    /// No way out.
    pub internal: bool,
}

impl Network {
    /// The lowest address that nobody has.
    pub fn free_address(&self, taken: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
        self.subnet
            .hosts()
            .find(|address| *address != self.gateway && !taken.contains(address))
    }
}

/// A container's place on a network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Nic {
    /// Full network name.
    pub network: String,
    /// Hardware address.
    pub mac: String,
    /// Address.
    pub ipv4: Ipv4Addr,
    /// Names in this network.
    pub names: Vec<String>,
}

/// A hardware address, locally administered, from the address it goes with:
/// unique in its network by construction.
pub fn mac_for(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("02:57:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

//! Which addresses belong to a network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Endpoint, Network};
use crate::wire::Mac;

impl Network {
    /// `address` is in one of the subnets.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.subnet.is_some_and(|subnet| within4(subnet, address)),
            IpAddr::V6(address) => self.subnet6.is_some_and(|subnet| within6(subnet, address)),
        }
    }

    /// The highest address of the IPv4 subnet.
    pub(crate) fn broadcast(&self) -> Option<Ipv4Addr> {
        let (base, prefix) = self.subnet?;
        Some(Ipv4Addr::from(u32::from(base) | !mask4(prefix)))
    }

    /// The mask of the IPv4 subnet.
    pub(crate) fn mask(&self) -> Option<Ipv4Addr> {
        let (_, prefix) = self.subnet?;
        Some(mask4(prefix).into())
    }

    /// The gateway's address of a family.
    pub(crate) fn gateway_of(&self, v4: bool) -> Option<IpAddr> {
        if v4 {
            self.gateway.map(IpAddr::V4)
        } else {
            self.gateway6.map(IpAddr::V6)
        }
    }

    /// `address` is one of the gateway's, its link-local one included.
    pub(crate) fn is_gateway(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.gateway == Some(address),
            IpAddr::V6(address) => {
                self.gateway6 == Some(address)
                    || self.gateway6.is_some() && address == link_local(self.gateway_mac())
            }
        }
    }

    /// The gateway's hardware address: locally administered, and from its
    /// address, so that guests may keep what they learnt when the daemon is
    /// started again.
    pub(crate) fn gateway_mac(&self) -> Mac {
        let words = match (self.gateway, self.gateway6) {
            (Some(gateway), _) => u32::from(gateway),
            (None, Some(gateway)) => {
                let bits = u128::from(gateway);
                (0..4).fold(0, |sum, n| sum ^ (bits >> (32 * n)) as u32)
            }
            (None, None) => 0,
        };
        let [a, b, c, d] = words.to_be_bytes();
        Mac([0x02, 0x67, a, b, c, d])
    }

    pub(super) fn overlaps(&self, other: &Network) -> bool {
        let bases = |network: &Network| {
            let four = network.subnet.map(|(base, _)| IpAddr::from(base));
            let six = network.subnet6.map(|(base, _)| IpAddr::from(base));
            [four, six].into_iter().flatten()
        };
        bases(self).any(|base| other.contains(base)) || bases(other).any(|base| self.contains(base))
    }
}

impl Endpoint {
    /// The address of the family that `like` has.
    pub(crate) fn address_like(&self, like: IpAddr) -> Option<IpAddr> {
        match like {
            IpAddr::V4(_) => self.ipv4.map(IpAddr::V4),
            IpAddr::V6(_) => self.ipv6.map(IpAddr::V6),
        }
    }
}

/// The link-local address that goes with a hardware address (RFC 4291,
/// appendix A).
pub(crate) fn link_local(mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    let id = [a ^ 2, b, c, 0xff, 0xfe, d, e, f];
    Ipv6Addr::from(0xfe80_u128 << 112 | u128::from(u64::from_be_bytes(id)))
}

fn within4((base, prefix): (Ipv4Addr, u8), address: Ipv4Addr) -> bool {
    (u32::from(address) ^ u32::from(base)) & mask4(prefix) == 0
}

fn within6((base, prefix): (Ipv6Addr, u8), address: Ipv6Addr) -> bool {
    let shift = 128 - u32::from(prefix.min(128));
    let differs = u128::from(address) ^ u128::from(base);
    differs.checked_shr(shift).unwrap_or(0) == 0
}

fn mask4(prefix: u8) -> u32 {
    u32::MAX
        .checked_shl(32 - u32::from(prefix.min(32)))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_of_all_lengths() {
        let base: Ipv6Addr = "fd00:1::".parse().unwrap();
        assert!(within6((base, 32), "fd00:1:ffff::9".parse().unwrap()));
        assert!(!within6((base, 32), "fd00:2::9".parse().unwrap()));
        assert!(within6((base, 0), Ipv6Addr::LOCALHOST));
        assert!(!within6((base, 128), "fd00:1::1".parse().unwrap()));
        let base = Ipv4Addr::new(10, 1, 0, 0);
        assert!(within4((base, 16), Ipv4Addr::new(10, 1, 255, 255)));
        assert!(!within4((base, 32), Ipv4Addr::new(10, 1, 0, 1)));
        assert!(within4((base, 0), Ipv4Addr::new(192, 0, 2, 1)));
    }

    #[test]
    fn hardware_and_link_local_addresses() {
        let mac = Mac([0x02, 0x57, 0x0a, 0x59, 0, 2]);
        assert_eq!(link_local(mac).to_string(), "fe80::57:aff:fe59:2");
        let network = Network {
            gateway6: Some("fd00:1::1".parse().unwrap()),
            ..Network::default()
        };
        let own = link_local(network.gateway_mac());
        assert!(network.is_gateway(own.into()));
    }
}

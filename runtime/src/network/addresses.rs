//! Addresses of a container on a network: those that are asked for, else those
//! that its predecessor had, else the lowest that nobody has.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use stack_api::event::ApiError;
use stack_api::spec::AttachSpec;

use super::{Network, Nic};

/// IPv6 addresses that are tried before a subnet counts as full.
const MOST_TRIES: u128 = 1 << 16;

/// What others have on a network.
#[derive(Debug, Default)]
pub struct Taken {
    addresses: BTreeSet<IpAddr>,
    cards: BTreeSet<String>,
    // Of services that may not be there yet, and of machines that may come back.
    kept: BTreeSet<IpAddr>,
}

impl Taken {
    /// Another card is there. What a machine has left on the network is for others only
    /// when they ask for it.
    pub fn add(&mut self, nic: &Nic) {
        let addresses = [nic.ipv4.map(IpAddr::from), nic.ipv6.map(IpAddr::from)];
        let addresses = addresses.into_iter().flatten();
        if nic.unplugged {
            self.kept.extend(addresses);
        } else {
            self.addresses.extend(addresses);
            self.cards.insert(nic.mac.clone());
        }
    }

    /// Somebody has an address of this card, or its hardware address.
    pub fn has(&self, nic: &Nic) -> bool {
        let addresses = [nic.ipv4.map(IpAddr::from), nic.ipv6.map(IpAddr::from)];
        let mut addresses = addresses.iter().flatten();
        addresses.any(|ip| self.addresses.contains(ip)) || self.cards.contains(&nic.mac)
    }

    /// A service asks for this address: others get it only when they ask, too.
    pub fn keep(&mut self, place: &AttachSpec) {
        self.kept.extend(place.ipv4.map(IpAddr::from));
        self.kept.extend(place.ipv6.map(IpAddr::from));
    }
}

/// A place that is looked for.
#[derive(Debug)]
pub struct Place<'a> {
    /// The network.
    pub network: &'a Network,
    /// What others have there.
    pub taken: &'a Taken,
    /// What is asked for.
    pub wanted: &'a AttachSpec,
    /// What the predecessor had.
    pub before: Option<&'a Nic>,
}

impl Place<'_> {
    /// A card for it, without names.
    ///
    /// # Errors
    /// An address that is asked for is taken or outside, or none is left.
    pub fn find(&self) -> Result<Nic, ApiError> {
        let ipv4 = self.ipv4()?;
        let ipv6 = self.ipv6()?;
        let mac = match (&self.wanted.mac, ipv4, ipv6) {
            (Some(mac), ..) if self.taken.cards.contains(mac) => {
                let name = &self.network.name;
                let message = format!("the hardware address {mac} is taken in network {name}");
                return Err(ApiError::new("address_in_use", message));
            }
            (Some(mac), ..) => mac.clone(),
            (None, Some(ipv4), _) => mac_for(ipv4.into()),
            (None, None, Some(ipv6)) => mac_for(ipv6.into()),
            (None, None, None) => {
                let message = format!("network {} has no addresses", self.network.name);
                return Err(ApiError::new("network_full", message));
            }
        };
        Ok(Nic {
            network: self.network.name.clone(),
            mac,
            ipv4,
            ipv6,
            ..Nic::default()
        })
    }

    fn ipv4(&self) -> Result<Option<Ipv4Addr>, ApiError> {
        let Some(subnet) = self.network.subnet else {
            return self.nowhere(self.wanted.ipv4.map(IpAddr::from));
        };
        if let Some(wanted) = self.wanted.ipv4 {
            self.check(wanted.into(), subnet.contains(&wanted))?;
            return Ok(Some(wanted));
        }
        let range = self.network.range.unwrap_or(subnet);
        let before = self.before.and_then(|nic| nic.ipv4);
        let ends = [subnet.network(), subnet.broadcast()];
        let fits = |address: &Ipv4Addr| {
            range.contains(address) && !ends.contains(address) && self.is_free((*address).into())
        };
        let hosts =
            || (u32::from(range.network())..=u32::from(range.broadcast())).map(Ipv4Addr::from);
        let found = before.filter(&fits).or_else(|| hosts().find(&fits));
        found.map(Some).ok_or_else(|| self.full())
    }

    fn ipv6(&self) -> Result<Option<Ipv6Addr>, ApiError> {
        let Some(subnet) = self.network.subnet6 else {
            return self.nowhere(self.wanted.ipv6.map(IpAddr::from));
        };
        if let Some(wanted) = self.wanted.ipv6 {
            self.check(wanted.into(), subnet.contains(&wanted))?;
            return Ok(Some(wanted));
        }
        let range = self.network.range6.unwrap_or(subnet);
        let before = self.before.and_then(|nic| nic.ipv6);
        let fits = |address: &Ipv6Addr| {
            // The lowest one is that of all routers (RFC 4291, 2.6.1).
            range.contains(address)
                && *address != subnet.network()
                && self.is_free((*address).into())
        };
        let first = u128::from(range.network());
        let last = u128::from(range.broadcast()).min(first.saturating_add(MOST_TRIES));
        let hosts = || (first..=last).map(Ipv6Addr::from);
        let found = before.filter(&fits).or_else(|| hosts().find(&fits));
        found.map(Some).ok_or_else(|| self.full())
    }

    fn is_free(&self, address: IpAddr) -> bool {
        let network = self.network;
        let routers = [
            network.gateway.map(IpAddr::from),
            network.gateway6.map(IpAddr::from),
        ];
        !routers.contains(&Some(address))
            && !network.reserved.contains(&address)
            && !self.taken.addresses.contains(&address)
            && !self.taken.kept.contains(&address)
    }

    fn check(&self, wanted: IpAddr, inside: bool) -> Result<(), ApiError> {
        let network = self.network;
        let name = &network.name;
        if !inside {
            let message = format!("{wanted} is no address of network {name}");
            let help = format!("see `stack network inspect {name}`");
            return Err(ApiError::new("bad_address", message).help(help));
        }
        let routers = [
            network.gateway.map(IpAddr::from),
            network.gateway6.map(IpAddr::from),
        ];
        if routers.contains(&Some(wanted)) || self.taken.addresses.contains(&wanted) {
            let message = format!("{wanted} is taken in network {name}");
            return Err(ApiError::new("address_in_use", message));
        }
        Ok(())
    }

    fn nowhere<T>(&self, wanted: Option<IpAddr>) -> Result<Option<T>, ApiError> {
        match wanted {
            None => Ok(None),
            Some(wanted) => self.check(wanted, false).map(|()| None),
        }
    }

    fn full(&self) -> ApiError {
        let message = format!("network {} has no address left", self.network.name);
        ApiError::new("network_full", message).help("give it a larger `subnet` or `ip_range`")
    }
}

/// A hardware address, locally administered, from the address it goes with:
/// unique in its network by construction.
pub fn mac_for(address: IpAddr) -> String {
    let (kind, [a, b, c, d]) = match address {
        IpAddr::V4(address) => (0x57, address.octets()),
        IpAddr::V6(address) => {
            let bits = u128::from(address) as u32;
            (0x58, bits.to_be_bytes())
        }
    };
    format!("02:{kind:02x}:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network() -> Network {
        Network {
            name: "n".to_owned(),
            subnet: "10.1.2.0/29".parse().ok(),
            gateway: Some([10, 1, 2, 1].into()),
            subnet6: "fd00::/64".parse().ok(),
            gateway6: "fd00::1".parse().ok(),
            ..Network::default()
        }
    }

    fn find(network: &Network, taken: &Taken, wanted: &AttachSpec) -> Result<Nic, ApiError> {
        let before = None;
        Place {
            network,
            taken,
            wanted,
            before,
        }
        .find()
    }

    #[test]
    fn the_lowest_that_nobody_has() {
        let mut network = network();
        network.reserved = vec![[10, 1, 2, 3].into()];
        let (mut taken, any) = (Taken::default(), AttachSpec::default());
        taken.keep(&AttachSpec {
            ipv4: Some([10, 1, 2, 2].into()),
            ..AttachSpec::default()
        });
        let mut seen = Vec::new();
        while let Ok(nic) = find(&network, &taken, &any) {
            seen.push(nic.ipv4.unwrap().octets()[3]);
            taken.add(&nic);
        }
        assert_eq!(seen, [4, 5, 6]);
        network.range = "10.1.2.0/31".parse().ok();
        assert!(find(&network, &taken, &any).is_err());
    }

    #[test]
    fn what_is_asked_for_is_given_or_refused() {
        let (network, mut taken) = (network(), Taken::default());
        let wanted = AttachSpec {
            ipv4: Some([10, 1, 2, 5].into()),
            ipv6: "fd00::abc".parse().ok(),
            mac: Some("02:00:00:00:00:01".to_owned()),
            ..AttachSpec::default()
        };
        taken.keep(&wanted);
        let nic = find(&network, &taken, &wanted).unwrap();
        assert_eq!((nic.ipv4, nic.ipv6), (wanted.ipv4, wanted.ipv6));
        assert_eq!(nic.mac, "02:00:00:00:00:01");
        taken.add(&nic);
        assert_eq!(
            find(&network, &taken, &wanted).unwrap_err().code,
            "address_in_use"
        );
        let outside = AttachSpec {
            ipv4: Some([10, 9, 9, 9].into()),
            ..AttachSpec::default()
        };
        assert_eq!(
            find(&network, &taken, &outside).unwrap_err().code,
            "bad_address"
        );
    }

    #[test]
    fn a_successor_keeps_its_addresses() {
        let (network, taken, wanted) = (network(), Taken::default(), AttachSpec::default());
        let before = Nic {
            ipv4: Some([10, 1, 2, 6].into()),
            ipv6: "fd00::7".parse().ok(),
            ..Nic::default()
        };
        let place = Place {
            network: &network,
            taken: &taken,
            wanted: &wanted,
            before: Some(&before),
        };
        let nic = place.find().unwrap();
        assert_eq!((nic.ipv4, nic.ipv6), (before.ipv4, before.ipv6));
    }

    #[test]
    fn without_ipv4() {
        let network = Network {
            subnet: None,
            gateway: None,
            ..network()
        };
        let nic = find(&network, &Taken::default(), &AttachSpec::default()).unwrap();
        assert_eq!((nic.ipv4, nic.ipv6), (None, "fd00::2".parse().ok()));
        assert_eq!(nic.mac, "02:58:00:00:00:02");
    }
}

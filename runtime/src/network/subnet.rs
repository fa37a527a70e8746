//! IPv4 subnets and how one is chosen.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `address/prefix`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    base: Ipv4Addr,
    prefix: u8,
}

impl Subnet {
    /// The network address.
    pub fn base(self) -> Ipv4Addr {
        self.base
    }

    /// The prefix length.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Usable host addresses, lowest first.
    pub fn hosts(self) -> impl Iterator<Item = Ipv4Addr> {
        let base = u32::from(self.base);
        let size = 1u64 << (32 - u32::from(self.prefix));
        // The last but one stands for the host itself.
        (1..size.saturating_sub(2)).map(move |n| Ipv4Addr::from(base.wrapping_add(n as u32)))
    }

    fn overlaps(self, other: Subnet) -> bool {
        let shift = 32 - u32::from(self.prefix.min(other.prefix));
        u64::from(u32::from(self.base)) >> shift == u64::from(u32::from(other.base)) >> shift
    }
}

impl FromStr for Subnet {
    type Err = String;

    fn from_str(text: &str) -> Result<Subnet, String> {
        let wrong = || format!("`{text}` is not an IPv4 subnet such as 10.20.0.0/24");
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let address: Ipv4Addr = address.parse().map_err(|_| wrong())?;
        let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
        if !(8..=29).contains(&prefix) {
            return Err(format!("`{text}`: the prefix must be between 8 and 29"));
        }
        let mask = u32::MAX << (32 - u32::from(prefix));
        Ok(Subnet {
            base: Ipv4Addr::from(u32::from(address) & mask),
            prefix,
        })
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

/// The first /24 of 10.89.0.0/16 and upwards that overlaps none of `taken`.
pub fn free_subnet(taken: &[Subnet]) -> Option<Subnet> {
    (89u8..=126)
        .flat_map(|a| {
            (0u8..=255).map(move |b| Subnet {
                base: Ipv4Addr::new(10, a, b, 0),
                prefix: 24,
            })
        })
        .find(|subnet| !taken.iter().any(|other| other.overlaps(*subnet)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_subnet_overlaps_none() {
        let taken = ["10.89.0.0/24", "10.89.1.128/25", "10.89.2.0/23"].map(|s| s.parse().unwrap());
        assert_eq!(free_subnet(&taken).unwrap().to_string(), "10.89.4.0/24");
    }

    #[test]
    fn hosts_leave_out_the_ends() {
        let subnet: Subnet = "10.1.2.3/29".parse().unwrap();
        let hosts: Vec<String> = subnet.hosts().map(|a| a.to_string()).collect();
        assert_eq!(hosts.first().unwrap(), "10.1.2.1");
        assert_eq!(hosts.last().unwrap(), "10.1.2.5");
    }
}

//! Which subnet a network gets when nobody asked for one.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// The first /24 of the private ranges, from 10.89.0.0 upwards, that overlaps
/// none of `taken`.
pub fn free_subnet(taken: &[Ipv4Net]) -> Option<Ipv4Net> {
    let ten = (89u8..=126).flat_map(|b| (0u8..=255).map(move |c| [10, b, c, 0]));
    let twelve = (16u8..=31).flat_map(|b| (0u8..=255).map(move |c| [172, b, c, 0]));
    let sixteen = (0u8..=255).map(|c| [192, 168, c, 0]);
    ten.chain(twelve)
        .chain(sixteen)
        .filter_map(|base| Ipv4Net::new(Ipv4Addr::from(base), 24).ok())
        .find(|subnet| !taken.iter().any(|other| overlap(*other, *subnet)))
}

/// They have an address in common.
pub fn overlap(a: Ipv4Net, b: Ipv4Net) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

/// As [`overlap`].
pub fn overlap6(a: Ipv6Net, b: Ipv6Net) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

/// A unique local /64 (RFC 4193), always the same for a name on one host.
pub fn unique_local(host: &impl Hash, name: &str) -> Option<Ipv6Net> {
    let mut hasher = DefaultHasher::new();
    host.hash(&mut hasher);
    name.hash(&mut hasher);
    // 40 bits of global id and 16 of subnet id behind `fd`.
    let id = hasher.finish() >> 8;
    let bits = (0xfd_u128 << 120) | (u128::from(id) << 64);
    Ipv6Net::new(Ipv6Addr::from(bits), 64).ok()
}

/// Subnets that the host reaches by a route other than the default one
/// (`/proc/net/route`, proc(5)); none where that cannot be told.
pub fn host_routes() -> Vec<Ipv4Net> {
    let text = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    routes(&text)
}

fn routes(text: &str) -> Vec<Ipv4Net> {
    let number = |word: &str| u32::from_str_radix(word, 16).ok();
    // In memory order, that of the machine.
    let address = |word: &str| Some(Ipv4Addr::from(number(word)?.to_ne_bytes()));
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let net = address(words.get(1)?)?;
            let mask = address(words.get(7)?)?;
            let net = Ipv4Net::with_netmask(net, mask).ok()?;
            (net.prefix_len() > 0).then_some(net)
        })
        .collect()
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
    fn a_network_that_has_all_of_ten_leaves_others() {
        let taken = ["10.0.0.0/8", "172.16.0.0/16"].map(|s| s.parse().unwrap());
        assert_eq!(free_subnet(&taken).unwrap().to_string(), "172.17.0.0/24");
        assert_eq!(free_subnet(&["0.0.0.0/0".parse().unwrap()]), None);
    }

    #[test]
    fn unique_local_subnets_stay_and_differ() {
        let of = |name| unique_local(&"host", name).unwrap();
        assert_eq!(of("shop_default"), of("shop_default"));
        assert_ne!(of("shop_default"), of("shop_back"));
        assert!(of("shop_default").to_string().starts_with("fd"));
        assert_ne!(
            unique_local(&"other", "shop_default"),
            Some(of("shop_default"))
        );
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn routes_of_the_host() {
        let text = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                    eth0\t00000000\t010012AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                    tun0\t0000590A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
        assert_eq!(routes(text), ["10.89.0.0/16".parse().unwrap()]);
    }
}

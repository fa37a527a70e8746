//! Which addresses a network gets.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use stack_api::event::ApiError;
use stack_api::spec::NetworkSpec;

use crate::daemon::Daemon;
use crate::network::{Network, free_subnet, host_routes, unique_local};

type Four = (Option<Ipv4Net>, Option<Ipv4Addr>);
type Six = (Option<Ipv6Net>, Option<Ipv6Addr>);

/// The subnet that is wanted, else the one it has, else a free one; and the
/// router in it.
pub(super) fn ipv4(
    wanted: &NetworkSpec,
    known: &Network,
    existing: &[Network],
) -> Result<Four, ApiError> {
    if wanted.no_ipv4 {
        return Ok((None, None));
    }
    let subnet = match wanted.subnet.or(known.subnet) {
        Some(subnet) => subnet,
        None => {
            // No two networks share a subnet: their guests can be told apart,
            // and what the host reaches otherwise stays within reach.
            let mut taken: Vec<Ipv4Net> = existing.iter().filter_map(|n| n.subnet).collect();
            let ours = taken.clone();
            taken.extend(host_routes());
            free_subnet(&taken)
                .or_else(|| free_subnet(&ours))
                .ok_or_else(|| ApiError::new("no_subnet", "no subnet is free for a network"))?
        }
    };
    let inside = |address: &Ipv4Addr| subnet.contains(address);
    let kept = known.gateway.filter(inside);
    let gateway = wanted.gateway.or(kept).or_else(|| subnet.hosts().next());
    Ok((Some(subnet), gateway))
}

/// As [`ipv4`].
pub(super) fn ipv6(
    daemon: &Daemon,
    wanted: &NetworkSpec,
    known: &Network,
) -> Result<Six, ApiError> {
    if !wanted.ipv6 {
        return Ok((None, None));
    }
    let own = || unique_local(&daemon.paths.data, &wanted.name);
    let subnet = wanted
        .subnet6
        .or(known.subnet6)
        .or_else(own)
        .ok_or_else(|| ApiError::new("no_subnet", "no IPv6 subnet is free for a network"))?;
    let first = Ipv6Addr::from(u128::from(subnet.network()).saturating_add(1));
    let kept = known.gateway6.filter(|address| subnet.contains(address));
    Ok((Some(subnet), wanted.gateway6.or(kept).or(Some(first))))
}

//! `networks`: subnets, gateways and options.

use std::net::IpAddr;

use ipnet::IpNet;
use stack_api::spec::NetworkSpec;

use super::{entries, flag, items, text, texts_by_key, unusable};
use crate::diagnostic::{Problem, Report, codes};
use crate::tree::Node;

/// Docker's option for the largest packet in bytes.
const MTU: &str = "com.docker.network.driver.mtu";
/// Docker's option for the address of the host that ports are published at.
pub(super) const HOST_BINDING: &str = "com.docker.network.bridge.host_binding_ipv4";
/// Docker's option that keeps containers of a network apart.
const ICC: &str = "com.docker.network.bridge.enable_icc";

/// RFC 8200, section 5: what every IPv6 network carries.
const LEAST_MTU_6: u16 = 1280;
/// RFC 791: what every IPv4 host takes.
const LEAST_MTU_4: u16 = 576;

pub(super) fn network(key: &str, node: &Node, report: &mut Report) -> NetworkSpec {
    let mut spec = NetworkSpec {
        name: text(node, "name").unwrap_or_else(|| key.to_owned()),
        internal: flag(node, "internal"),
        external: flag(node, "external"),
        no_ipv4: node.get("enable_ipv4").and_then(Node::as_bool) == Some(false),
        ipv6: flag(node, "enable_ipv6"),
        labels: texts_by_key(node, "labels"),
        ..NetworkSpec::default()
    };
    for node in items(node.at(&["ipam", "config"])) {
        if let Some(pool) = pool(node, report) {
            take(&mut spec, pool, report);
        }
    }
    if spec.no_ipv4 && !spec.ipv6 {
        let message = format!("the network `{key}` has neither IPv4 nor IPv6");
        let problem = Problem::error(codes::INCONSISTENT, message);
        let at = node.get("enable_ipv4").unwrap_or(node);
        let problem = problem.at(at.place(), "turns IPv4 off");
        report.push(problem.help("write `enable_ipv6: true`, too"));
    }
    options(&mut spec, node, report);
    spec
}

/// One entry of `ipam.config`, whose parts fit together.
struct Pool<'a> {
    place: &'a Node,
    subnet: IpNet,
    gateway: Option<IpAddr>,
    range: Option<IpNet>,
    reserved: Vec<(String, IpAddr)>,
}

fn pool<'a>(node: &'a Node, report: &mut Report) -> Option<Pool<'a>> {
    let Some(place) = node.get("subnet") else {
        for part in ["gateway", "ip_range", "aux_addresses"] {
            if let Some(part_node) = node.get(part) {
                let message = format!("`{part}` needs a `subnet` beside it");
                let problem = Problem::error(codes::INCONSISTENT, message);
                report.push(problem.at(part_node.place(), "without a subnet"));
            }
        }
        return None;
    };
    let Some(subnet) = subnet(place.as_str().unwrap_or_default()) else {
        let why = "is not a subnet such as `10.5.0.0/16` or `fd00:5::/64`";
        unusable(place, why, report);
        return None;
    };
    let inside = |address: &IpAddr| subnet.contains(address);
    let mut address = |node: &Node| {
        let found = node.as_str().and_then(|text| text.parse::<IpAddr>().ok());
        let found = found.filter(inside);
        if found.is_none() {
            unusable(node, &format!("is not an address in {subnet}"), report);
        }
        found
    };
    let gateway = node.get("gateway").and_then(&mut address);
    let reserved = entries(node.get("aux_addresses"))
        .filter_map(|(name, node)| Some((name.clone(), address(node)?)))
        .collect();
    let range = node.get("ip_range").and_then(|range| {
        let found = range.as_str().and_then(|text| text.parse::<IpNet>().ok());
        let found = found.filter(|range| subnet.contains(range));
        if found.is_none() {
            unusable(range, &format!("is not a part of {subnet}"), report);
        }
        found.map(|range| range.trunc())
    });
    Some(Pool {
        place,
        subnet,
        gateway,
        range,
        reserved,
    })
}

/// `10.5.0.0/16`, with room for a gateway and one more.
fn subnet(text: &str) -> Option<IpNet> {
    let subnet = text.parse::<IpNet>().ok()?;
    let fits = match subnet {
        IpNet::V4(subnet) => (8..=30).contains(&subnet.prefix_len()),
        IpNet::V6(subnet) => (16..=120).contains(&subnet.prefix_len()),
    };
    fits.then(|| subnet.trunc())
}

fn take(spec: &mut NetworkSpec, pool: Pool<'_>, report: &mut Report) {
    let Pool {
        place,
        subnet,
        gateway,
        range,
        reserved,
    } = pool;
    let (taken, off) = match subnet {
        IpNet::V4(_) => (spec.subnet.is_some(), spec.no_ipv4.then_some("enable_ipv4")),
        IpNet::V6(_) => (
            spec.subnet6.is_some(),
            (!spec.ipv6).then_some("enable_ipv6"),
        ),
    };
    if let Some(switch) = off {
        let message = format!("the subnet `{subnet}` has no effect: `{switch}` is off");
        let problem = Problem::warning(codes::IGNORED, message).on(place, "has no effect");
        return report.push(problem.help(format!("write `{switch}: true`")));
    }
    if taken {
        let message = format!("the subnet `{subnet}` is a second one of its kind");
        let problem = Problem::error(codes::UNSUPPORTED, message).on(place, "one too many");
        return report.push(
            problem.help("a network has one IPv4 and one IPv6 subnet: write another network"),
        );
    }
    spec.reserved.extend(reserved);
    match subnet {
        IpNet::V4(subnet) => {
            spec.subnet = Some(subnet);
            spec.gateway = match gateway {
                Some(IpAddr::V4(gateway)) => Some(gateway),
                _ => None,
            };
            spec.range = match range {
                Some(IpNet::V4(range)) => Some(range),
                _ => None,
            };
        }
        IpNet::V6(subnet) => {
            spec.subnet6 = Some(subnet);
            spec.gateway6 = match gateway {
                Some(IpAddr::V6(gateway)) => Some(gateway),
                _ => None,
            };
            spec.range6 = match range {
                Some(IpNet::V6(range)) => Some(range),
                _ => None,
            };
        }
    }
}

fn options(spec: &mut NetworkSpec, node: &Node, report: &mut Report) {
    for (option, value) in entries(node.get("driver_opts")) {
        let written = value.scalar_text().unwrap_or_default();
        match option.as_str() {
            MTU => {
                let least = if spec.ipv6 { LEAST_MTU_6 } else { LEAST_MTU_4 };
                spec.mtu = written.parse().ok().filter(|mtu| *mtu >= least);
                if spec.mtu.is_none() {
                    let why = format!("is not a number of bytes from {least} to 65535");
                    unusable(value, &why, report);
                }
            }
            HOST_BINDING => {
                if written.parse::<std::net::Ipv4Addr>().is_err() {
                    unusable(value, "is not an IPv4 address", report);
                }
            }
            // Services that must not reach each other would.
            ICC if written == "false" => {
                let message = format!("`{option}: false` is not supported");
                let problem =
                    Problem::error(codes::UNSUPPORTED, message).on(value, "not supported");
                report.push(problem.help("put each service into a network of its own"));
            }
            ICC => {}
            _ => {
                let message = format!("the option `{option}` has no effect");
                let problem = Problem::warning(codes::IGNORED, message);
                report.push(problem.at(
                    value.place(),
                    "networks are switches, not bridges of the host",
                ));
            }
        }
    }
}

//! The services' places on networks.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;

use stack_api::spec::{AttachSpec, NetworkSpec, ServiceSpec};

use super::{entries, items, text, texts, unusable};
use crate::diagnostic::{Problem, Report, codes};
use crate::tree::Node;

/// Bytes of a network card's name (`IFNAMSIZ` without its zero).
const LONGEST_NAME: usize = 15;

/// Where a service is attached. `network_mode: none` is nowhere.
pub(super) fn attachments(service: &Node, report: &mut Report) -> BTreeMap<String, AttachSpec> {
    let mut all = match service.get("network_mode").and_then(Node::as_str) {
        Some("bridge" | "default") => {
            BTreeMap::from([("default".to_owned(), AttachSpec::default())])
        }
        Some(_) => BTreeMap::new(),
        None => entries(service.get("networks"))
            .map(|(key, node)| (key.clone(), attachment(node, report)))
            .collect(),
    };
    if let Some(node) = service.get("mac_address") {
        // It is that of the first card.
        let mac = hardware_address(node, report);
        let first = all.values_mut().rev().max_by_key(|place| place.priority);
        if let Some(place) = first.filter(|place| place.mac.is_none()) {
            place.mac = mac;
        }
    }
    all
}

fn attachment(node: &Node, report: &mut Report) -> AttachSpec {
    let number = |key| node.get(key).and_then(Node::as_int).unwrap_or(0);
    AttachSpec {
        aliases: texts(node, "aliases"),
        ipv4: address(node.get("ipv4_address"), "is not an IPv4 address", report),
        ipv6: address(node.get("ipv6_address"), "is not an IPv6 address", report),
        mac: node
            .get("mac_address")
            .and_then(|node| hardware_address(node, report)),
        interface: node
            .get("interface_name")
            .and_then(|node| card_name(node, report)),
        gw_priority: number("gw_priority"),
        priority: number("priority"),
    }
}

fn address<T: FromStr>(node: Option<&Node>, why: &str, report: &mut Report) -> Option<T> {
    let node = node?;
    let parsed = node.as_str().and_then(|text| text.parse().ok());
    if parsed.is_none() {
        unusable(node, why, report);
    }
    parsed
}

/// Six bytes in hexadecimal, of one card: in lower case with colons.
fn hardware_address(node: &Node, report: &mut Report) -> Option<String> {
    let text = node.as_str().unwrap_or_default();
    let bytes: Vec<u8> = text
        .split([':', '-'])
        .filter_map(|byte| match byte.len() {
            1..=2 => u8::from_str_radix(byte, 16).ok(),
            _ => None,
        })
        .collect();
    let count = text.split([':', '-']).count();
    let usable =
        count == 6 && bytes.len() == 6 && bytes.iter().any(|byte| *byte != 0) && bytes[0] & 1 == 0;
    if !usable {
        let why = "is not the hardware address of one card, such as `02:42:ac:11:00:02`";
        unusable(node, why, report);
        return None;
    }
    let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(bytes.join(":"))
}

fn card_name(node: &Node, report: &mut Report) -> Option<String> {
    let name = node.as_str().unwrap_or_default();
    let usable = (1..=LONGEST_NAME).contains(&name.len())
        && name != "lo"
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        // Names that the guest uses while it renames cards.
        && !name.starts_with("stack");
    if !usable {
        let why = "cannot be the name of a card: at most 15 letters, digits, `.`, `_` and `-`";
        unusable(node, why, report);
    }
    usable.then(|| name.to_owned())
}

/// Fixed addresses are in their networks, and nobody else has them.
pub(super) fn check(model: &Node, networks: &BTreeMap<String, NetworkSpec>, report: &mut Report) {
    let mut given: BTreeMap<(&String, IpAddr), &Node> = BTreeMap::new();
    for (_, service) in entries(model.get("services")) {
        for (key, place) in entries(service.get("networks")) {
            // What another stack or `stack network create` made is not known here.
            let Some(network) = networks.get(key).filter(|network| !network.external) else {
                continue;
            };
            for attribute in ["ipv4_address", "ipv6_address"] {
                let Some(node) = place.get(attribute) else {
                    continue;
                };
                let Some(address) = node.as_str().and_then(|text| text.parse::<IpAddr>().ok())
                else {
                    continue;
                };
                if let Some(why) = misfit(network, address) {
                    let message = format!("`{address}` is no address of the network `{key}`");
                    let mut problem = Problem::error(codes::INCONSISTENT, message).on(node, &why.0);
                    if let Some(subnet) = model.at(&["networks", key, "ipam"]) {
                        problem = problem.at(subnet.place(), "the network's addresses");
                    }
                    report.push(problem.maybe_help(why.1));
                } else if let Some(first) = given.insert((key, address), node)
                    && first.span != node.span
                {
                    let message = format!("`{address}` is given twice in the network `{key}`");
                    let problem = Problem::error(codes::CONFLICT, message);
                    report.push(problem.on(first, "first here").on(node, "again here"));
                }
            }
        }
    }
}

/// Why an address is none of a network's, and what to do.
fn misfit(network: &NetworkSpec, address: IpAddr) -> Option<(String, Option<String>)> {
    let (subnet, gateway, family) = match address {
        IpAddr::V4(_) => (
            network.subnet.map(ipnet::IpNet::from),
            network.gateway.map(IpAddr::from),
            "10.5.0.0/24",
        ),
        IpAddr::V6(_) => (
            network.subnet6.map(ipnet::IpNet::from),
            network.gateway6.map(IpAddr::from),
            "fd00:5::/64",
        ),
    };
    let Some(subnet) = subnet else {
        let help = format!("write `ipam: {{config: [{{subnet: {family}}}]}}` in the network");
        let switch = if address.is_ipv6() && !network.ipv6 {
            ", and `enable_ipv6: true`"
        } else {
            ""
        };
        return Some((
            "the network has no fixed subnet".to_owned(),
            Some(format!("{help}{switch}")),
        ));
    };
    let ends = [subnet.network(), subnet.broadcast()];
    let is_end = address.is_ipv4() && ends.contains(&address) || address == subnet.network();
    if !subnet.contains(&address) {
        Some((format!("not in {subnet}"), None))
    } else if is_end {
        Some((format!("stands for {subnet} as a whole"), None))
    } else if gateway == Some(address) {
        Some(("the gateway has it".to_owned(), None))
    } else {
        None
    }
}

/// `links: ["db:database"]` makes `database` a name of `db` for this service.
pub(super) fn links(service: &Node) -> Vec<(String, String)> {
    items(service.get("links"))
        .iter()
        .filter_map(|link| link.as_str()?.split_once(':'))
        .map(|(target, name)| (name.to_owned(), target.to_owned()))
        .collect()
}

/// Where the ports of a service without `host_ip` are published, when one of
/// its networks says so.
pub(super) fn binding(model: &Node, service: &ServiceSpec) -> Option<IpAddr> {
    service.networks.keys().find_map(|key| {
        let options = model.at(&["networks", key, "driver_opts"])?;
        text(options, super::network::HOST_BINDING)?.parse().ok()
    })
}

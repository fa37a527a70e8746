//! Networks and the services' places on them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use stack_api::spec::{AttachSpec, NetworkSpec, ServiceSpec};

use super::{entries, flag, items, text, texts, texts_by_key, unusable};
use crate::diagnostic::{Problem, Report, codes};
use crate::tree::Node;

pub(super) fn network(key: &str, node: &Node, report: &mut Report) -> NetworkSpec {
    let mut spec = NetworkSpec {
        name: text(node, "name").unwrap_or_else(|| key.to_owned()),
        internal: flag(node, "internal"),
        external: flag(node, "external"),
        labels: texts_by_key(node, "labels"),
        ..NetworkSpec::default()
    };
    for pool in items(node.at(&["ipam", "config"])) {
        let Some(subnet) = pool.get("subnet") else {
            if let Some(gateway) = pool.get("gateway") {
                unusable(gateway, "is a gateway without a subnet", report);
            }
            continue;
        };
        let written = subnet.as_str().unwrap_or_default();
        if written.contains(':') || spec.subnet.is_some() {
            let what = if written.contains(':') {
                "IPv6"
            } else {
                "a second subnet"
            };
            let message = format!("the subnet `{written}` has no effect: {what} is not supported");
            report.push(Problem::warning(codes::IGNORED, message).on(subnet, "not supported yet"));
            continue;
        }
        if !is_subnet(written) {
            unusable(subnet, "is not a subnet such as `10.5.0.0/16`", report);
            continue;
        }
        spec.subnet = Some(written.to_owned());
        if let Some(gateway) = pool.get("gateway") {
            match gateway.as_str().and_then(|text| text.parse().ok()) {
                Some(address) => spec.gateway = Some(address),
                None => unusable(gateway, "is not an IPv4 address", report),
            }
        }
    }
    spec
}

fn is_subnet(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else {
        return false;
    };
    address.parse::<Ipv4Addr>().is_ok()
        && length
            .parse::<u8>()
            .is_ok_and(|length| (8..=30).contains(&length))
}

/// Where a service is attached. `network_mode: none` is nowhere.
pub(super) fn attachments(service: &Node, report: &mut Report) -> BTreeMap<String, AttachSpec> {
    if let Some(mode) = service.get("network_mode").and_then(Node::as_str) {
        return match mode {
            "bridge" | "default" => BTreeMap::from([("default".to_owned(), AttachSpec::default())]),
            _ => BTreeMap::new(),
        };
    }
    let mut all = BTreeMap::new();
    for (key, node) in entries(service.get("networks")) {
        let ipv4 = node.get("ipv4_address").and_then(|address| {
            let parsed = address.as_str().and_then(|text| text.parse().ok());
            if parsed.is_none() {
                unusable(address, "is not an IPv4 address", report);
            }
            parsed
        });
        let priority = node
            .get("gw_priority")
            .or(node.get("priority"))
            .and_then(Node::as_int)
            .unwrap_or(0);
        all.insert(
            key.clone(),
            AttachSpec {
                aliases: texts(node, "aliases"),
                ipv4,
                priority,
            },
        );
    }
    all
}

/// `links: ["db:database"]` makes `database` a name of `db` on the networks that
/// both are on.
pub(super) fn link_aliases(model: &Node, services: &mut BTreeMap<String, ServiceSpec>) {
    for (name, node) in entries(model.get("services")) {
        for link in items(node.get("links")) {
            let Some((target, alias)) = link.as_str().and_then(|text| text.split_once(':')) else {
                continue;
            };
            let networks: Vec<String> = services
                .get(name)
                .map(|s| s.networks.keys().cloned().collect())
                .unwrap_or_default();
            let Some(target) = services.get_mut(target) else {
                continue;
            };
            for network in networks {
                if let Some(place) = target
                    .networks
                    .get_mut(&network)
                    .filter(|place| !place.aliases.iter().any(|a| a == alias))
                {
                    place.aliases.push(alias.to_owned());
                }
            }
        }
    }
}

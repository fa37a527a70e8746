//! Published ports.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::{Lints, items, replicas, servers, text};
use crate::tree::Node;

/// A published port.
struct Published<'a> {
    service: &'a str,
    node: &'a Node,
    target: u16,
    host: Option<RangeInclusive<u16>>,
    /// `None` is every address.
    address: Option<IpAddr>,
    protocol: &'a str,
}

pub(super) fn check(lints: &mut Lints<'_>) {
    let mut all: Vec<Published<'_>> = Vec::new();
    for (name, service) in lints.services() {
        let image = text(service, "image");
        for node in items(service.get("ports")) {
            let Some(port) = published(name, node) else {
                continue;
            };
            exposed(lints, image, &port);
            unquoted(lints, node);
            if replicas(service) > 1
                && port
                    .host
                    .as_ref()
                    .is_some_and(|range| range.clone().count() == 1)
            {
                let message =
                    format!("several containers of `{name}` want the same port of the host");
                lints.push("L0018", message, |problem| {
                    problem
                        .at(node.value_place(), "only one of them can have it")
                        .help("leave out the host's port, give a range, or put a proxy in front")
                });
            }
            all.push(port);
        }
    }
    duplicates(lints, &all);
}

/// L0002: a database that everybody can reach.
fn exposed(lints: &mut Lints<'_>, image: &str, port: &Published<'_>) {
    let known = servers::of_image(image).is_some_and(|server| server.ports.contains(&port.target));
    if port.address.is_some() || !(known || servers::is_database_port(port.target)) {
        return;
    }
    let (service, target) = (port.service, port.target);
    let message = format!(
        "the database port {target} of `{service}` is open to every network of this machine"
    );
    let host = port.host.as_ref().map_or(target, |range| *range.start());
    lints.push("L0002", message, |problem| {
        problem.at(port.node.value_place(), "on all addresses").help(format!(
            "services reach it without publishing; for tools on this machine write `127.0.0.1:{host}:{target}`"
        ))
    });
}

/// L0009: two services that want the same port.
fn duplicates(lints: &mut Lints<'_>, all: &[Published<'_>]) {
    let mut sorted: Vec<(&Published<'_>, &RangeInclusive<u16>)> = all
        .iter()
        .filter_map(|port| Some((port, port.host.as_ref()?)))
        .collect();
    sorted.sort_by_key(|(_, range)| *range.start());
    for (i, (first, range)) in sorted.iter().enumerate() {
        let near = sorted[i + 1..]
            .iter()
            .take_while(|(_, other)| other.start() <= range.end());
        // One is enough to see it; a thousand services on one port are one mistake each.
        let clash = near.map(|(port, _)| *port).find(|port| {
            port.service != first.service
                && port.protocol == first.protocol
                && (port.address.is_none()
                    || first.address.is_none()
                    || port.address == first.address)
        });
        let Some(second) = clash else { continue };
        let message = format!(
            "`{}` and `{}` publish the same port of the host",
            first.service, second.service
        );
        lints.push("L0009", message, |problem| {
            problem
                .at(first.node.value_place(), "here")
                .at(second.node.value_place(), "and here")
                .help("give one of them another port; different profiles help only while they are never enabled together")
        });
    }
}

/// L0017: `22:22` without quotes is a number in base 60 for older readers.
fn unquoted(lints: &mut Lints<'_>, node: &Node) {
    let written = lints.written(node.value_place());
    let is_base_60 = written.split_once(':').is_some_and(|(left, right)| {
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        digits(left) && digits(right) && right.parse::<u8>().is_ok_and(|value| value < 60)
    });
    if !is_base_60 {
        return;
    }
    let span = node.value_place();
    let message = format!("`{written}` is a number in base 60 for YAML 1.1 readers");
    let fix = Some((span, format!("\"{written}\"")));
    lints.push_fixable("L0017", message, fix, |problem| {
        problem
            .at(span, "without quotes")
            .help(format!("write \"{written}\""))
    });
}

fn published<'a>(service: &'a str, node: &'a Node) -> Option<Published<'a>> {
    let target = node.get("target").and_then(Node::as_int);
    let host = text(node, "published");
    let (from, to) = host.split_once('-').unwrap_or((host, host));
    let address = text(node, "host_ip").parse::<IpAddr>().ok();
    Some(Published {
        service,
        node,
        target: u16::try_from(target?).ok()?,
        host: from
            .parse()
            .ok()
            .zip(to.parse().ok())
            .map(|(from, to)| from..=to),
        address: address.filter(|address| !address.is_unspecified()),
        protocol: match text(node, "protocol") {
            "" => "tcp",
            protocol => protocol,
        },
    })
}

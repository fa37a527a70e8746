//! `ports`

use std::collections::BTreeMap;
use std::net::IpAddr;

use stack_api::spec::PortSpec;

use super::{items, text, unusable};
use crate::diagnostic::{Problem, Report, codes};
use crate::tree::{Node, Span};

/// Bytes of a DNS label (RFC 1035, section 2.3.4) without its underscore.
const LONGEST_LABEL: usize = 62;

pub(super) fn ports(service: &Node, report: &mut Report) -> Vec<PortSpec> {
    items(service.get("ports"))
        .iter()
        .filter_map(|node| port(node, report))
        .collect()
}

/// An address of the host (none is all of them), who publishes there, and where.
type Taken<'a> = (Option<IpAddr>, &'a str, Span);

/// Warns about ports of the host that several services want.
pub(super) fn taken_twice(model: &Node, report: &mut Report) {
    let mut taken: BTreeMap<(u16, bool), Vec<Taken<'_>>> = BTreeMap::new();
    let mut quiet = Report::quiet();
    for (name, service) in super::entries(model.get("services")) {
        for node in items(service.get("ports")) {
            let Some(PortSpec {
                host_ip,
                published: Some(port),
                published_end: None,
                udp,
                ..
            }) = self::port(node, &mut quiet)
            else {
                continue;
            };
            let ip = host_ip.filter(|ip| !ip.is_unspecified());
            let place = node.get("published").map_or(node.span, |node| node.span);
            let others = taken.entry((port, udp)).or_default();
            let overlap = |other: &Option<IpAddr>| other.is_none() || ip.is_none() || *other == ip;
            let earlier = others
                .iter()
                .find(|(other, first, _)| *first != name && overlap(other));
            if let Some((_, first, at)) = earlier.copied() {
                let (at, place) = (at.min(place), at.max(place));
                let protocol = if udp { "udp" } else { "tcp" };
                let message = format!("`{first}` and `{name}` both publish port {port}/{protocol}");
                let problem = Problem::warning(codes::PORT_TWICE, message)
                    .at(at, "the port is published here")
                    .at(place, "and here too")
                    .help("only the first to start gets it: publish another port in one of them");
                report.push(problem);
            }
            others.push((ip, name, place));
        }
    }
}

fn port(node: &Node, report: &mut Report) -> Option<PortSpec> {
    let udp = match node.get("protocol").and_then(Node::as_str) {
        None | Some("tcp") => false,
        Some("udp") => true,
        Some(_) => {
            unusable(
                node.get("protocol")?,
                "is not a protocol that can be published",
                report,
            );
            return None;
        }
    };
    let target_node = node.get("target")?;
    let Some(target) = target_node
        .as_int()
        .and_then(|port| u16::try_from(port).ok())
        .filter(|port| *port > 0)
    else {
        unusable(target_node, "is not a port", report);
        return None;
    };
    let (published, published_end) = match node.get("published") {
        None => (None, None),
        Some(node) => match published(node.as_str().unwrap_or_default()) {
            Some(range) => range,
            None => {
                unusable(node, "is not a port or a range of ports", report);
                return None;
            }
        },
    };
    // The address has been checked with the rules.
    let host_ip = node
        .get("host_ip")
        .and_then(Node::as_str)
        .and_then(|ip| ip.parse().ok());
    Some(PortSpec {
        host_ip,
        published,
        published_end,
        target,
        udp,
        labels: labels(node),
    })
}

/// What an SRV lookup finds the port by: `_name._tcp.service`. A service name
/// has letters, digits and hyphens (RFC 6335, section 5.1), so whatever else
/// is in there becomes a hyphen.
fn labels(port: &Node) -> Vec<String> {
    let mut labels = Vec::new();
    for key in ["name", "app_protocol"] {
        let text = text(port, key).unwrap_or_default().to_ascii_lowercase();
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let label: String = text.chars().map(plain).take(LONGEST_LABEL).collect();
        let label = label.trim_matches('-').to_owned();
        if !label.is_empty() && !labels.contains(&label) {
            labels.push(label);
        }
    }
    labels
}

type Range = (Option<u16>, Option<u16>);

/// `8080`, `8000-8010`; `0` lets the system choose.
fn published(text: &str) -> Option<Range> {
    if text.is_empty() || text == "0" {
        return Some((None, None));
    }
    match text.split_once('-') {
        None => Some((Some(text.parse().ok()?), None)),
        Some((first, last)) => {
            let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
            (first > 0 && first <= last).then_some((Some(first), Some(last)))
        }
    }
}

//! `ports`

use stack_api::spec::PortSpec;

use super::{items, unusable};
use crate::diagnostic::Report;
use crate::tree::Node;

pub(super) fn ports(service: &Node, report: &mut Report) -> Vec<PortSpec> {
    items(service.get("ports"))
        .iter()
        .filter_map(|node| port(node, report))
        .collect()
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
    })
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

//! More rights than a service should have.

use super::{Lints, is_true, replicas, text};
use crate::tree::Node;

pub(super) fn check(lints: &mut Lints<'_>) {
    for (name, service) in lints.services() {
        if let Some(node) = service.get("privileged").filter(|node| is_true(Some(node))) {
            let message = format!("`{name}` has all privileges");
            lints.push("L0006", message, |problem| {
                problem
                    .at(node.place(), "all capabilities and devices")
                    .help("add the capabilities it needs with `cap_add`")
            });
        }
        fixed_name(lints, name, service);
    }
}

/// L0013: a name for one container where there could be several.
fn fixed_name(lints: &mut Lints<'_>, name: &str, service: &Node) {
    let Some(node) = service.get("container_name") else {
        return;
    };
    let scaled = service.get("scale").or(service.at(&["deploy", "replicas"]));
    let start_first = service.at(&["deploy", "update_config", "order"]);
    let reason = match (scaled, start_first.and_then(Node::as_str)) {
        (Some(place), _) => place,
        (None, Some("start-first")) => start_first.unwrap_or(service),
        (None, _) => return,
    };
    if replicas(service) == 0 {
        return;
    }
    let message = format!(
        "`{name}` has the fixed name `{}`, so there can be only one",
        text(service, "container_name")
    );
    lints.push("L0013", message, |problem| {
        problem
            .at(node.place(), "one name")
            .at(reason.place(), "wants to be several")
            .help("leave `container_name` out")
    });
}

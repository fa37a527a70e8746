//! `healthcheck`

use stack_api::spec::HealthCheckSpec;

use super::service::milliseconds;
use super::{flag, texts, unusable};
use crate::diagnostic::Report;
use crate::tree::Node;

pub(super) fn check(node: &Node, report: &mut Report) -> HealthCheckSpec {
    let test = node.get("test").map(|_| texts(node, "test"));
    let none = test
        .as_ref()
        .is_some_and(|test| test.first().is_some_and(|word| word == "NONE"));
    if let (Some(test), Some(place)) = (&test, node.get("test"))
        && test.len() < 2
        && !none
        && !test.is_empty()
    {
        unusable(
            &place
                .as_sequence()
                .and_then(|items| items.first())
                .cloned()
                .unwrap_or_else(|| place.clone()),
            "is followed by no command",
            report,
        );
    }
    HealthCheckSpec {
        disable: flag(node, "disable") || none,
        test: test.filter(|test| !test.is_empty() && !none),
        interval_ms: milliseconds(node.get("interval"), report),
        timeout_ms: milliseconds(node.get("timeout"), report),
        retries: node
            .get("retries")
            .and_then(Node::as_int)
            .and_then(|count| u32::try_from(count).ok()),
        start_period_ms: milliseconds(node.get("start_period"), report),
        start_interval_ms: milliseconds(node.get("start_interval"), report),
    }
}

//! `deploy.update_config` and `deploy.rollback_config`

use stack_api::rollout::{FailureAction, Order, Rollout};

use super::service::milliseconds;
use super::unusable;
use crate::diagnostic::Report;
use crate::tree::Node;

/// What is not given is as in the deploy specification.
pub(super) fn rollout(node: Option<&Node>, report: &mut Report) -> Option<Rollout> {
    let node = node?;
    let default = Rollout::default();
    let time = |key: &str, report: &mut Report| {
        let given = node.get(key).filter(|given| !given.is_null());
        milliseconds(given, report).unwrap_or(0)
    };
    Some(Rollout {
        parallelism: parallelism(node, report).unwrap_or(default.parallelism),
        delay_ms: time("delay", report),
        monitor_ms: time("monitor", report),
        failure_action: failure_action(node, report).unwrap_or_default(),
        max_failure_ratio: ratio(node, report).unwrap_or(default.max_failure_ratio),
        order: match node.get("order").and_then(Node::as_str) {
            Some("start-first") => Order::StartFirst,
            _ => Order::StopFirst,
        },
    })
}

fn parallelism(node: &Node, report: &mut Report) -> Option<u32> {
    let given = node.get("parallelism")?;
    let number = given.as_int().and_then(|number| u32::try_from(number).ok());
    if number.is_none() {
        unusable(given, "is not a number of containers", report);
    }
    number
}

fn failure_action(node: &Node, report: &mut Report) -> Option<FailureAction> {
    let given = node.get("failure_action")?;
    match given.as_str() {
        Some("pause") => Some(FailureAction::Pause),
        Some("continue") => Some(FailureAction::Continue),
        Some("rollback") => Some(FailureAction::Rollback),
        _ => {
            unusable(given, "is not `pause`, `continue` or `rollback`", report);
            None
        }
    }
}

fn ratio(node: &Node, report: &mut Report) -> Option<f64> {
    let given = node.get("max_failure_ratio")?;
    let ratio = given.as_float().filter(|ratio| (0.0..=1.0).contains(ratio));
    if ratio.is_none() {
        unusable(given, "is not a share between 0 and 1", report);
    }
    ratio
}

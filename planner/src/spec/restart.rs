//! `restart` and `deploy.restart_policy`

use stack_api::spec::Restart;

use super::unusable;
use crate::diagnostic::{Problem, Report, codes};
use crate::suggest;
use crate::tree::Node;

/// `restart` counts when both are given.
pub(super) fn restart(node: &Node, report: &mut Report) -> Restart {
    if let Some(policy) = node.get("restart") {
        return written(policy.as_str().unwrap_or_default()).unwrap_or_else(|| {
            let text = policy.as_str().unwrap_or_default();
            let message =
                format!("`{text}` is not `no`, `always`, `unless-stopped` or `on-failure[:times]`");
            let known = ["no", "always", "unless-stopped", "on-failure"];
            let problem = Problem::error(codes::UNUSABLE_VALUE, message)
                .on(policy, "cannot be used")
                .maybe_help(suggest::did_you_mean(text, known.into_iter()));
            report.push(problem);
            Restart::No
        });
    }
    let Some(policy) = node.at(&["deploy", "restart_policy"]) else {
        return Restart::No;
    };
    let max = policy
        .get("max_attempts")
        .and_then(Node::as_int)
        .and_then(|count| u32::try_from(count).ok());
    match policy.get("condition") {
        None => Restart::Always,
        Some(condition) => match condition.as_str() {
            Some("any") => Restart::Always,
            Some("on-failure") => Restart::OnFailure { max },
            Some("none") => Restart::No,
            // What `restart` takes is taken here too.
            other => written(other.unwrap_or_default()).unwrap_or_else(|| {
                unusable(condition, "is not `none`, `on-failure` or `any`", report);
                Restart::No
            }),
        },
    }
}

fn written(text: &str) -> Option<Restart> {
    Some(match text {
        "" | "no" => Restart::No,
        "always" => Restart::Always,
        "unless-stopped" => Restart::UnlessStopped,
        "on-failure" => Restart::OnFailure { max: None },
        text => Restart::OnFailure {
            max: Some(text.strip_prefix("on-failure:")?.parse().ok()?),
        },
    })
}

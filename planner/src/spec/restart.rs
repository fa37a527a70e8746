//! `restart` and `deploy.restart_policy`

use stack_api::retry::Retry;
use stack_api::spec::Restart;

use super::service::milliseconds;
use super::unusable;
use crate::diagnostic::{Problem, Report, codes};
use crate::suggest;
use crate::tree::Node;

/// `deploy.restart_policy` counts when both are given (Compose deploy
/// specification).
pub(super) fn restart(node: &Node, report: &mut Report) -> (Restart, Retry) {
    match (node.at(&["deploy", "restart_policy"]), node.get("restart")) {
        (Some(policy), _) => (condition(policy, report), retry(policy, report)),
        (None, Some(own)) => (short(own, report), Retry::default()),
        (None, None) => (Restart::No, Retry::default()),
    }
}

fn short(policy: &Node, report: &mut Report) -> Restart {
    let text = policy.as_str().unwrap_or_default();
    written(text).unwrap_or_else(|| {
        let message =
            format!("`{text}` is not `no`, `always`, `unless-stopped` or `on-failure[:times]`");
        let known = ["no", "always", "unless-stopped", "on-failure"];
        let problem = Problem::error(codes::UNUSABLE_VALUE, message)
            .on(policy, "cannot be used")
            .maybe_help(suggest::did_you_mean(text, known.into_iter()));
        report.push(problem);
        Restart::No
    })
}

fn condition(policy: &Node, report: &mut Report) -> Restart {
    let Some(condition) = policy.get("condition") else {
        return Restart::Always;
    };
    match condition.as_str() {
        Some("any") => Restart::Always,
        Some("none") => Restart::No,
        // What `restart` takes is taken here too.
        other => written(other.unwrap_or_default()).unwrap_or_else(|| {
            unusable(condition, "is not `none`, `on-failure` or `any`", report);
            Restart::No
        }),
    }
}

fn retry(policy: &Node, report: &mut Report) -> Retry {
    let mut time = |key: &str| {
        let given = policy.get(key).filter(|given| !given.is_null());
        milliseconds(given, report)
    };
    let (delay_ms, window_ms) = (time("delay"), time("window").unwrap_or(0));
    let max_attempts = policy.get("max_attempts").and_then(|given| {
        let number = given.as_int().and_then(|number| u32::try_from(number).ok());
        if number.is_none() {
            unusable(given, "is not a number of restarts", report);
        }
        number
    });
    Retry {
        delay_ms,
        // As for Docker, 0 is no limit.
        max_attempts: max_attempts.filter(|number| *number > 0),
        window_ms,
    }
}

fn written(text: &str) -> Option<Restart> {
    Some(match text {
        "" | "no" => Restart::No,
        "always" => Restart::Always,
        "unless-stopped" => Restart::UnlessStopped,
        "on-failure" => Restart::OnFailure { max: None },
        text => {
            let times: u32 = text.strip_prefix("on-failure:")?.parse().ok()?;
            // As for Docker, 0 is no limit.
            let max = Some(times).filter(|times| *times > 0);
            Restart::OnFailure { max }
        }
    })
}

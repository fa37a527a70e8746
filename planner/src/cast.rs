//! Text to the type an attribute wants, after interpolation.

use crate::diagnostic::{Problem, Report, codes};
use crate::tree::{Node, Value};

/// Types that a text may stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cast {
    Int,
    Float,
    Bool,
}

/// Attributes whose text is read as a number or a boolean. `*` is any key or item.
pub(crate) const CASTS: &[(&[&str], Cast)] = &[
    (&["services", "*", "cpu_count"], Cast::Int),
    (&["services", "*", "cpu_percent"], Cast::Float),
    (&["services", "*", "cpu_period"], Cast::Int),
    (&["services", "*", "cpu_quota"], Cast::Int),
    (&["services", "*", "cpu_rt_period"], Cast::Int),
    (&["services", "*", "cpu_rt_runtime"], Cast::Int),
    (&["services", "*", "cpus"], Cast::Float),
    (&["services", "*", "cpu_shares"], Cast::Int),
    (&["services", "*", "init"], Cast::Bool),
    (
        &["services", "*", "depends_on", "*", "required"],
        Cast::Bool,
    ),
    (&["services", "*", "depends_on", "*", "restart"], Cast::Bool),
    (&["services", "*", "deploy", "replicas"], Cast::Int),
    (
        &["services", "*", "deploy", "update_config", "parallelism"],
        Cast::Int,
    ),
    (
        &[
            "services",
            "*",
            "deploy",
            "update_config",
            "max_failure_ratio",
        ],
        Cast::Float,
    ),
    (
        &["services", "*", "deploy", "rollback_config", "parallelism"],
        Cast::Int,
    ),
    (
        &[
            "services",
            "*",
            "deploy",
            "rollback_config",
            "max_failure_ratio",
        ],
        Cast::Float,
    ),
    (
        &["services", "*", "deploy", "restart_policy", "max_attempts"],
        Cast::Int,
    ),
    (
        &[
            "services",
            "*",
            "deploy",
            "placement",
            "max_replicas_per_node",
        ],
        Cast::Int,
    ),
    (&["services", "*", "healthcheck", "retries"], Cast::Int),
    (&["services", "*", "healthcheck", "disable"], Cast::Bool),
    (&["services", "*", "oom_kill_disable"], Cast::Bool),
    (&["services", "*", "oom_score_adj"], Cast::Int),
    (&["services", "*", "pids_limit"], Cast::Int),
    (&["services", "*", "ports", "*", "target"], Cast::Int),
    (&["services", "*", "privileged"], Cast::Bool),
    (&["services", "*", "read_only"], Cast::Bool),
    (&["services", "*", "scale"], Cast::Int),
    (&["services", "*", "stdin_open"], Cast::Bool),
    (&["services", "*", "tty"], Cast::Bool),
    (&["services", "*", "ulimits", "*"], Cast::Int),
    (&["services", "*", "ulimits", "*", "hard"], Cast::Int),
    (&["services", "*", "ulimits", "*", "soft"], Cast::Int),
    (&["services", "*", "volumes", "*", "read_only"], Cast::Bool),
    (
        &["services", "*", "volumes", "*", "volume", "nocopy"],
        Cast::Bool,
    ),
    (&["networks", "*", "external"], Cast::Bool),
    (&["networks", "*", "internal"], Cast::Bool),
    (&["networks", "*", "attachable"], Cast::Bool),
    (&["networks", "*", "enable_ipv4"], Cast::Bool),
    (&["networks", "*", "enable_ipv6"], Cast::Bool),
    (&["volumes", "*", "external"], Cast::Bool),
    (&["secrets", "*", "external"], Cast::Bool),
    (&["configs", "*", "external"], Cast::Bool),
];

/// Replaces a text by what it stands for. Anything but text is left alone.
pub(crate) fn apply(node: &mut Node, cast: Cast, report: &mut Report) {
    let Some(text) = node.as_str() else { return };
    match value_of(text, cast) {
        Some(value) => {
            if cast == Cast::Bool && !matches!(text.to_ascii_lowercase().as_str(), "true" | "false")
            {
                let plain = if value == Value::Bool(true) {
                    "true"
                } else {
                    "false"
                };
                let problem =
                    Problem::warning(codes::OLD_BOOLEAN, format!("`{text}` is read as `{plain}`"));
                report.push(
                    problem
                        .on(node, "not a boolean in YAML 1.2")
                        .help(format!("write `{plain}`")),
                );
            }
            node.value = value;
        }
        None => {
            let wanted = match cast {
                Cast::Int => "an integer",
                Cast::Float => "a number",
                Cast::Bool => "a boolean",
            };
            let problem = Problem::error(codes::BAD_CAST, format!("`{text}` is not {wanted}"));
            let mut problem = problem.on(node, format!("{wanted} is expected"));
            if text.is_empty() {
                problem = problem.help(
                    "is it a variable that is not set? `${NAME:-default}` gives it a default",
                );
            } else if cast == Cast::Float && text.contains(',') {
                problem = problem.help(format!("write `{}`", text.replace(',', ".")));
            } else if cast == Cast::Bool {
                problem = problem.help("write `true` or `false`");
            }
            report.blame(node, problem);
        }
    }
}

fn value_of(text: &str, cast: Cast) -> Option<Value> {
    match cast {
        Cast::Int => text.parse().ok().map(Value::Int),
        Cast::Float => text.parse().ok().map(Value::Float),
        Cast::Bool => match text.to_ascii_lowercase().as_str() {
            "true" | "y" | "yes" | "on" => Some(Value::Bool(true)),
            "false" | "n" | "no" | "off" => Some(Value::Bool(false)),
            _ => None,
        },
    }
}

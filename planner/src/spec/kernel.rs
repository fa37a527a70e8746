//! Names that the guest's kernel must know: capabilities, signals and limits;
//! and host names, which it keeps in a short field.

use stack_protocol::{capability, signal};

use super::{entries, items};
use crate::diagnostic::{Problem, Report, codes};
use crate::suggest;
use crate::tree::Node;

/// Bytes of a host or domain name at most (`__NEW_UTS_LEN` of Linux).
const LONGEST_HOST_NAME: usize = 64;

/// Limits of setrlimit(2), as `ulimits` has them.
const LIMITS: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Checks a service.
pub(super) fn check(service: &Node, report: &mut Report) {
    for key in ["cap_add", "cap_drop"] {
        for node in items(service.get(key)) {
            capability(node, report);
        }
    }
    if let Some(node) = service.get("stop_signal") {
        stop_signal(node, report);
    }
    for (name, node) in entries(service.get("ulimits")) {
        if !LIMITS.contains(&name.as_str()) {
            let help = suggest::did_you_mean(name, LIMITS.into_iter());
            unknown(
                &format!("`{name}` is not a limit"),
                node.place(),
                help,
                report,
            );
        }
    }
    for key in ["hostname", "domainname"] {
        if let Some(node) = service.get(key)
            && let Some(name) = node.as_str()
            && name.len() > LONGEST_HOST_NAME
        {
            let message = format!("`{name}` is longer than {LONGEST_HOST_NAME} bytes");
            unknown(&message, node.value_place(), None, report);
        }
    }
}

fn capability(node: &Node, report: &mut Report) {
    let Some(text) = node.scalar_text() else {
        return;
    };
    let upper = text.to_ascii_uppercase();
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    if bare == "ALL" || capability::NAMES.contains(&bare) {
        return;
    }
    let help = suggest::did_you_mean(bare, capability::NAMES.into_iter());
    let message = format!("`{text}` is not a capability");
    unknown(&message, node.value_place(), help, report);
}

fn stop_signal(node: &Node, report: &mut Report) {
    let Some(text) = node.scalar_text() else {
        return;
    };
    if text.is_empty() || signal::number(&text).is_some() {
        return;
    }
    let upper = text.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    let near = suggest::nearest(bare, signal::NAMES.into_iter());
    let help = near.map(|name| format!("did you mean `SIG{name}`?"));
    let message = format!("`{text}` is not a signal");
    unknown(&message, node.value_place(), help, report);
}

fn unknown(message: &str, at: crate::tree::Span, help: Option<String>, report: &mut Report) {
    let problem = Problem::error(codes::UNUSABLE_VALUE, message);
    report.push(problem.at(at, "cannot be used").maybe_help(help));
}

//! Rules about single resources that types cannot say.

use std::net::IpAddr;

use crate::diagnostic::{Problem, Report, codes};
use crate::tree::{Node, Path, visit};

/// Checks the merged tree.
pub(crate) fn check(root: &Node, report: &mut Report) {
    visit(root, &["volumes", "*"], &mut |node, path| {
        external_alone(node, path, report)
    });
    visit(root, &["configs", "*"], &mut |node, path| {
        one_source(node, path, &["file", "environment", "content"], report)
    });
    visit(root, &["secrets", "*"], &mut |node, path| {
        one_source(node, path, &["file", "environment"], report)
    });
    visit(
        root,
        &["services", "*", "ports", "*", "host_ip"],
        &mut |node, _| {
            if let Some(text) = node.as_str().filter(|text| text.parse::<IpAddr>().is_err()) {
                let problem =
                    Problem::error(codes::BAD_HOST, format!("`{text}` is not an IP address"));
                report.push(problem.on(node, "an IP address is expected"));
            }
        },
    );
    visit(root, &["services", "*", "ports", "*"], &mut |node, path| {
        if node.as_mapping().is_some() && node.get("target").is_none() {
            let service = path.service().unwrap_or_default();
            let message = format!("a port of `{service}` has no `target`");
            let problem = Problem::error(codes::MISSING_KEY, message)
                .at(node.place(), "`target` is missing")
                .help("`target` is the port in the service, `published` the one of the host");
            report.push(problem);
        }
    });
    visit(
        root,
        &["services", "*", "develop", "watch", "*", "path"],
        &mut |node, path| {
            if node.as_str() == Some("") {
                report.push(
                    Problem::error(codes::NOT_ALLOWED, format!("`{path}` must not be empty"))
                        .on(node, "empty"),
                );
            }
        },
    );
    let requests: [&[&str]; 2] = [
        &[
            "services",
            "*",
            "deploy",
            "resources",
            "reservations",
            "devices",
            "*",
        ],
        &["services", "*", "gpus", "*"],
    ];
    for pattern in requests {
        visit(root, pattern, &mut |node, path| {
            if let (Some(count), Some(ids)) = (node.get("count"), node.get("device_ids")) {
                let problem = Problem::error(
                    codes::CONFLICT,
                    format!("`{path}` has both `count` and `device_ids`"),
                );
                report.push(
                    problem
                        .at(count.place(), "one of them")
                        .at(ids.place(), "must go"),
                );
            }
        });
    }
}

/// An external volume is not made here, so nothing can be said about how.
fn external_alone(node: &Node, path: &Path, report: &mut Report) {
    let Some(external) = node.get("external").filter(|external| is_true(external)) else {
        return;
    };
    for (key, child) in node.as_mapping().into_iter().flatten() {
        if !matches!(key.as_str(), "name" | "external") && !key.starts_with("x-") {
            let problem = Problem::error(
                codes::CONFLICT,
                format!("`{path}` is external and has `{key}`"),
            );
            report.push(
                problem
                    .at(child.place(), "this has no effect")
                    .at(external.place(), "because of this"),
            );
        }
    }
}

fn one_source(node: &Node, path: &Path, keys: &[&str], report: &mut Report) {
    let given: Vec<_> = keys.iter().filter_map(|key| node.get(key)).collect();
    let list = keys
        .iter()
        .map(|key| format!("`{key}`"))
        .collect::<Vec<_>>()
        .join(", ");
    if let [first, second, ..] = given[..] {
        let problem = Problem::error(
            codes::CONFLICT,
            format!("`{path}` may have only one of {list}"),
        );
        report.push(
            problem
                .at(second.place(), "this one")
                .at(first.place(), "and this one"),
        );
    }
    let elsewhere = node.get("driver").is_some() || node.get("external").is_some();
    if given.is_empty() && !elsewhere && node.as_mapping().is_some() {
        let problem = Problem::error(codes::MISSING_KEY, format!("`{path}` needs one of {list}"));
        report.push(problem.at(node.place(), "has no content"));
    }
}

/// `true`, also as text.
pub(crate) fn is_true(node: &Node) -> bool {
    node.as_bool().unwrap_or_else(|| {
        matches!(
            node.as_str(),
            Some("true" | "True" | "TRUE" | "t" | "T" | "1")
        )
    })
}

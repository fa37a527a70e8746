//! `configs` and `secrets` as files.

use stack_api::spec::FileSpec;

use super::{items, text, unusable};
use crate::canonical::clean_path;
use crate::diagnostic::{Problem, Report, codes};
use crate::project::Parts;
use crate::tree::Node;

/// What to do with more than a file of a moderate size.
const MOUNT_IT: &str = "mount it: `FILE:/path/in/service:ro` under `volumes`";

pub(super) fn files(parts: &Parts, service: &Node, report: &mut Report) -> Vec<FileSpec> {
    let mut all = Vec::new();
    for (kind, what, folder) in [
        ("configs", "config", "/"),
        ("secrets", "secret", "/run/secrets/"),
    ] {
        for reference in items(service.get(kind)) {
            let Some(source) = text(reference, "source") else {
                continue;
            };
            let content = match parts.contents.get(&(kind, source.clone())) {
                Some(Ok(content)) => content.clone(),
                Some(Err(none)) => {
                    let reason = &none.why;
                    let defined = parts
                        .model
                        .at(&[kind, &source])
                        .map_or(reference.span, Node::place);
                    let problem = Problem::error(
                        codes::UNUSABLE_VALUE,
                        format!("the {what} `{source}` has no content: {reason}"),
                    );
                    let problem = problem
                        .at(defined, "defined here")
                        .at(reference.span, "used here");
                    report.push(match none.too_much {
                        true => problem.help(MOUNT_IT),
                        false => problem,
                    });
                    continue;
                }
                None => continue, // not defined, and consistency was not asked for
            };
            let target = text(reference, "target").unwrap_or_else(|| source.clone());
            let target = if target.starts_with('/') {
                target
            } else {
                format!("{folder}{target}")
            };
            let target = clean_path(&target);
            all.push(FileSpec {
                source: format!("{kind}.{source}"),
                target,
                content,
                mode: mode(reference.get("mode"), report),
                uid: id(reference.get("uid"), report),
                gid: id(reference.get("gid"), report),
            });
        }
    }
    all
}

fn mode(node: Option<&Node>, report: &mut Report) -> u32 {
    let Some(node) = node else { return 0o444 };
    node.as_str()
        .and_then(|text| u32::from_str_radix(text, 8).ok())
        .unwrap_or_else(|| {
            unusable(node, "is not a file mode", report);
            0o444
        })
}

fn id(node: Option<&Node>, report: &mut Report) -> u32 {
    let Some(node) = node else { return 0 };
    node.as_str()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| {
            unusable(node, "is not a numeric id", report);
            0
        })
}

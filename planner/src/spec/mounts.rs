//! `volumes` and `tmpfs`

use std::path::PathBuf;

use stack_api::spec::{MountSource, MountSpec};

use super::disguise::{disguised, is_mount_option};
use super::{entries, flag, items, text, unusable};
use crate::bind::quantity::parse_bytes;
use crate::canonical::clean_path;
use crate::diagnostic::{Problem, Report, codes};
use crate::tree::Node;

/// All mounts of a service: volumes in their order, then tmpfs.
pub(super) fn mounts(model: &Node, service: &Node, report: &mut Report) -> Vec<MountSpec> {
    let volumes = items(service.get("volumes"))
        .iter()
        .filter_map(|node| volume(model, node, report));
    let mut all: Vec<MountSpec> = volumes.collect();
    all.extend(
        items(service.get("tmpfs"))
            .iter()
            .filter_map(|node| tmpfs(node, report)),
    );
    all
}

/// `d:/data`, which the short form does not take apart.
fn has_drive(target: &str) -> bool {
    let mut chars = target.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic()) && chars.next() == Some(':')
}

fn volume(model: &Node, node: &Node, report: &mut Report) -> Option<MountSpec> {
    let target = match node.get("target").and_then(Node::as_str) {
        Some(target) if target.starts_with('/') => target.to_owned(),
        _ => {
            let at = node.get("target").unwrap_or(node);
            let message = "a mount needs an absolute path in the service as its `target`";
            let mut problem = Problem::error(codes::UNUSABLE_VALUE, message)
                .at(at.value_place(), "not an absolute path");
            if at.as_str().is_some_and(has_drive) {
                problem = problem.help(
                    "one letter and a colon are read as a drive of Windows: give the volume a \
                     longer name, or write `source` and `target`",
                );
            }
            report.push(problem);
            return None;
        }
    };
    let kind = node.get("type")?;
    foreign_options(node, kind.as_str().unwrap_or_default(), report);
    let mut always_read_only = false;
    let source = match kind.as_str() {
        Some("bind") => MountSource::Bind {
            path: PathBuf::from(bind_source(node, report)?),
            create: node
                .at(&["bind", "create_host_path"])
                .and_then(Node::as_bool)
                .unwrap_or(true),
            copy: false,
            subpath: None,
        },
        Some("volume") => {
            let options = node.get("volume");
            let nocopy = options.is_some_and(|options| flag(options, "nocopy"));
            let subpath = options.and_then(|options| text(options, "subpath"));
            match text(node, "source") {
                None => {
                    if let Some(subpath) = options.and_then(|options| options.get("subpath")) {
                        let message = "`subpath` has no effect: a volume without a name is empty";
                        let problem = Problem::warning(codes::IGNORED, message);
                        report.push(problem.at(subpath.value_place(), "has no effect"));
                    }
                    MountSource::Anonymous { nocopy }
                }
                Some(volume) => match model.at(&["volumes", &volume]).and_then(disguised) {
                    Some(disguise) => {
                        always_read_only = disguise.read_only;
                        disguise.source(!nocopy && !always_read_only, subpath)
                    }
                    None => MountSource::Volume {
                        volume,
                        nocopy,
                        subpath,
                    },
                },
            }
        }
        Some("tmpfs") => MountSource::Tmpfs {
            size: node
                .at(&["tmpfs", "size"])
                .and_then(Node::as_str)
                .and_then(|size| size.parse().ok()),
            mode: node
                .at(&["tmpfs", "mode"])
                .and_then(Node::as_int)
                .and_then(|mode| u32::try_from(mode).ok()),
            options: Vec::new(),
        },
        Some("image") => {
            always_read_only = true;
            MountSource::Image {
                image: image_source(node, report)?,
                subpath: node
                    .get("image")
                    .and_then(|options| text(options, "subpath")),
            }
        }
        other => {
            let message = format!(
                "a mount of the type `{}` is not supported",
                other.unwrap_or_default()
            );
            report.push(Problem::error(codes::UNSUPPORTED, message).on(kind, "not supported"));
            return None;
        }
    };
    Some(MountSpec {
        target,
        read_only: flag(node, "read_only") || always_read_only,
        source,
    })
}

/// What a bind mount shows.
fn bind_source(node: &Node, report: &mut Report) -> Option<String> {
    let source = text(node, "source").filter(|source| !source.is_empty());
    if source.is_none() {
        let problem = Problem::error(codes::MISSING_KEY, "a bind mount has no `source`");
        report.push(
            problem
                .at(node.place(), "of which directory or file?")
                .help("`source` is a path of the host; a volume of its own has `type: volume`"),
        );
    }
    source
}

/// Which image a mount shows.
fn image_source(node: &Node, report: &mut Report) -> Option<String> {
    let source = text(node, "source").filter(|source| !source.is_empty());
    if source.is_none() {
        let problem = Problem::error(codes::MISSING_KEY, "a mount of an image has no `source`");
        let problem = problem.at(node.place(), "of which image?");
        report.push(problem.help("`source` is the image's reference, e.g. `nginx:1`"));
    }
    source
}

/// Says what is for mounts of another type.
fn foreign_options(node: &Node, kind: &str, report: &mut Report) {
    for section in ["bind", "volume", "tmpfs", "image", "cluster"] {
        let Some(options) = node.get(section).filter(|_| section != kind) else {
            continue;
        };
        // The short form has these for all, and they are told as what they are.
        let told = ["selinux", "propagation"].map(|key| options.get(key));
        let is_told = section == "bind" && told.iter().any(Option::is_some);
        if !is_told && entries(Some(options)).next().is_some() {
            let message = format!("`{section}` has no effect: the mount has the type `{kind}`");
            let problem = Problem::warning(codes::IGNORED, message);
            report.push(problem.at(options.place(), "has no effect"));
        }
    }
}

/// `/path[:options]`
fn tmpfs(node: &Node, report: &mut Report) -> Option<MountSpec> {
    let (target, options) = node
        .as_str()?
        .split_once(':')
        .unwrap_or((node.as_str()?, ""));
    if !target.starts_with('/') {
        unusable(node, "is not an absolute path", report);
        return None;
    }
    let (mut size, mut mode, mut read_only) = (None, None, false);
    let mut more = Vec::new();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let understood = match option.split_once('=') {
            Some(("size", value)) if !is_mount_option(option) => {
                size = parse_bytes(value).and_then(|size| u64::try_from(size).ok());
                size.is_some()
            }
            Some(("mode", value)) => {
                mode = u32::from_str_radix(value, 8).ok();
                mode.is_some()
            }
            None if option == "ro" || option == "rw" => {
                read_only = option == "ro";
                true
            }
            _ => {
                let known = is_mount_option(option);
                more.extend(known.then(|| option.to_owned()));
                known
            }
        };
        if !understood {
            let message = format!("the option `{option}` of a tmpfs has no effect");
            report.push(Problem::warning(codes::IGNORED, message).on(node, "not supported yet"));
        }
    }
    Some(MountSpec {
        target: clean_path(target),
        read_only,
        source: MountSource::Tmpfs {
            size,
            mode,
            options: more,
        },
    })
}

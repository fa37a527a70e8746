//! Volumes that are something else in truth, by the `driver_opts` of Docker's
//! local driver: a directory of the host, a tmpfs, a directory of an NFS server.

use std::path::PathBuf;

use stack_api::spec::MountSource;

use super::{nfs, text};
use crate::bind::quantity::parse_bytes;
use crate::diagnostic::{Problem, Report, codes};
use crate::tree::{Node, entries, items};

/// What a bind mount is here anyway.
const BIND: [&str; 4] = ["bind", "rbind", "private", "rprivate"];

/// What such a volume is.
pub(super) struct Disguise {
    what: What,
    /// `ro` is among its options.
    pub read_only: bool,
}

enum What {
    Directory(PathBuf),
    Tmpfs {
        size: Option<u64>,
        mode: Option<u32>,
        options: Vec<String>,
    },
    Nfs(nfs::Export),
}

impl Disguise {
    /// The mount of it; `copy`: an empty one begins with what the image has there.
    pub(super) fn source(self, copy: bool, subpath: Option<String>) -> MountSource {
        match self.what {
            What::Directory(path) => MountSource::Bind {
                path,
                create: false,
                copy,
                subpath,
            },
            What::Tmpfs {
                size,
                mode,
                options,
            } => MountSource::Tmpfs {
                size,
                mode,
                options,
            },
            What::Nfs(export) => MountSource::Nfs {
                server: export.server,
                path: export.path,
                options: export.options,
                copy,
                subpath,
            },
        }
    }
}

/// What a volume is in truth. `None`: a volume.
pub(super) fn disguised(volume: &Node) -> Option<Disguise> {
    let options = volume.get("driver_opts")?;
    let device = text(options, "device")?;
    let flags = text(options, "o").unwrap_or_default();
    let each = || flags.split(',').map(str::trim);
    let has = |name: &str| each().any(|flag| flag == name);
    let what = match text(options, "type").as_deref() {
        // With these the kernel does not look at the type (mount(2), MS_BIND).
        _ if has("bind") || has("rbind") => What::Directory(PathBuf::from(device)),
        Some("tmpfs") => {
            let option =
                |name: &str| each().find_map(|flag| flag.strip_prefix(name)?.strip_prefix('='));
            What::Tmpfs {
                size: option("size")
                    .and_then(parse_bytes)
                    .and_then(|size| u64::try_from(size).ok()),
                mode: option("mode").and_then(|mode| u32::from_str_radix(mode, 8).ok()),
                // Just what is said, as with Docker's driver: what a service's `tmpfs`
                // leaves out is not left out here.
                options: ["exec", "suid", "dev"]
                    .into_iter()
                    .chain(each().filter(|flag| is_mount_option(flag)))
                    .map(str::to_owned)
                    .collect(),
            }
        }
        Some(kind) if nfs::is(kind) => What::Nfs(nfs::export(kind, &device, &flags).ok()?),
        _ => return None,
    };
    let read_only = has("ro");
    Some(Disguise { what, read_only })
}

/// Says which options of such a volume have no effect.
pub(super) fn check(volume: &Node, report: &mut Report) {
    let Some(Disguise { what, .. }) = disguised(volume) else {
        return;
    };
    let understood = |option: &str| match (&what, option.split_once('=')) {
        (_, None) if matches!(option, "" | "ro" | "rw" | "defaults") => true,
        (What::Tmpfs { .. }, Some(("size", size))) => {
            parse_bytes(size).is_some_and(|size| u64::try_from(size).is_ok())
                || is_mount_option(option)
        }
        (What::Tmpfs { .. }, Some(("mode", mode))) => u32::from_str_radix(mode, 8).is_ok(),
        (What::Tmpfs { .. }, _) => is_mount_option(option),
        (What::Directory(_), _) => BIND.contains(&option),
        // It has a check of its own.
        (What::Nfs(_), _) => true,
    };
    let Some(node) = volume.at(&["driver_opts", "o"]) else {
        return;
    };
    for option in node.as_str().unwrap_or_default().split(',').map(str::trim) {
        if !understood(option) {
            let message = format!("the option `{option}` of this volume has no effect");
            report.push(Problem::warning(codes::IGNORED, message).on(node, "not supported"));
        }
    }
}

/// Says so when several services have the same tmpfs: each gets one of its own.
pub(super) fn not_shared(model: &Node, report: &mut Report) {
    for (key, volume) in entries(model.get("volumes")) {
        if !disguised(volume).is_some_and(|disguise| matches!(disguise.what, What::Tmpfs { .. })) {
            continue;
        }
        let mounts = |service: &Node| {
            items(service.get("volumes")).iter().any(|mount| {
                text(mount, "type").as_deref() == Some("volume")
                    && text(mount, "source").as_ref() == Some(key)
            })
        };
        let services = entries(model.get("services")).filter(|(_, service)| mounts(service));
        let names: Vec<String> = services.map(|(name, _)| format!("`{name}`")).collect();
        if names.len() < 2 {
            continue;
        }
        let message = format!(
            "the services {} do not share the volume `{key}`: it is a tmpfs, and each gets one of \
             its own",
            names.join(", ")
        );
        let problem = Problem::warning(codes::IGNORED, message).at(volume.place(), "in memory");
        report.push(problem.help("a volume without `driver_opts` is shared"));
    }
}

/// Other options of a tmpfs that the guest's kernel takes (tmpfs(5)).
pub(super) fn is_mount_option(option: &str) -> bool {
    let flags = [
        "exec", "noexec", "suid", "nosuid", "dev", "nodev", "noatime",
    ];
    match option.split_once('=') {
        Some(("uid" | "gid", id)) => id.parse::<u32>().is_ok(),
        Some(("nr_inodes" | "nr_blocks", count)) => {
            let digits = count.strip_suffix(['k', 'm', 'g', 'K', 'M', 'G']);
            digits.unwrap_or(count).parse::<u64>().is_ok()
        }
        // Of the machine's memory.
        Some(("size", size)) => size
            .strip_suffix('%')
            .is_some_and(|percent| percent.parse::<u64>().is_ok()),
        _ => flags.contains(&option),
    }
}

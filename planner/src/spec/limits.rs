//! Memory, processors and other limits.

use std::collections::{BTreeMap, BTreeSet};

use stack_api::spec::DiskRates;

use super::{entries, items, unusable};
use crate::bind::quantity::parse_bytes;
use crate::diagnostic::{Problem, Report, codes};
use crate::tree::Node;

/// The period that `cpu_quota` is measured against, in microseconds.
const CPU_PERIOD: f64 = 100_000.0;

/// Bytes; less than zero is no limit.
pub(super) fn size(node: Option<&Node>, report: &mut Report) -> Option<u64> {
    let node = node?;
    match node.as_str().map(str::parse::<i64>) {
        Some(Ok(size)) => u64::try_from(size).ok(),
        _ => {
            unusable(node, "is not a size", report);
            None
        }
    }
}

/// A file system with a journal, and room for something beside that.
const LEAST_ROOT: u64 = 64 << 20;
/// The largest that ext4 makes with blocks of 4 KiB and numbers of 32 bits.
const MOST_ROOT: u64 = 16 << 40;

/// `storage_opt: {size: …}` in bytes.
pub(super) fn root_size(node: &Node, report: &mut Report) -> Option<u64> {
    let given = node.at(&["storage_opt", "size"])?;
    let text = given.scalar_text()?;
    let size = parse_bytes(&text).and_then(|size| u64::try_from(size).ok());
    let why = match size {
        Some(LEAST_ROOT..=MOST_ROOT) => return size,
        Some(0..LEAST_ROOT) => "is too small for a root disk: it needs 64m at least",
        Some(_) => "is too large for a root disk: it can have 16t at most",
        None => "is not a size such as `512m` or `2g`",
    };
    unusable(given, why, report);
    None
}

/// `cpus`, `deploy.resources.limits.cpus`, `cpu_count` or quota by period.
pub(super) fn cpus(node: &Node, report: &mut Report) -> Option<f64> {
    let direct = node
        .get("cpus")
        .or(node.at(&["deploy", "resources", "limits", "cpus"]))
        .or(node.get("cpu_count"));
    if let Some(given) = direct {
        if let Some(quota) = node
            .get("cpu_quota")
            .filter(|quota| quota.as_float().is_some_and(|quota| quota > 0.0))
        {
            let problem = Problem::error(
                codes::INCONSISTENT,
                "`cpu_quota` and the number of processors say the same, each its own",
            );
            report.push(
                problem
                    .at(quota.place(), "a share by time")
                    .at(given.place(), "a number of processors")
                    .help("leave one of them out"),
            );
        }
        return match given.as_float() {
            Some(cpus) if cpus > 0.0 && cpus <= 1024.0 => Some(cpus),
            _ => {
                unusable(given, "is not a number of processors", report);
                None
            }
        };
    }
    let quota = node
        .get("cpu_quota")
        .and_then(Node::as_float)
        .filter(|quota| *quota > 0.0)?;
    let period = node
        .get("cpu_period")
        .and_then(Node::as_float)
        .filter(|period| *period > 0.0);
    Some(quota / period.unwrap_or(CPU_PERIOD))
}

/// Highest number of a processor that is taken for one.
const MOST_PROCESSORS: u32 = 4096;

/// `0-3,5` as numbers, each once.
pub(super) fn cpuset(node: &Node, report: &mut Report) -> Vec<u32> {
    let Some(given) = node.get("cpuset") else {
        return Vec::new();
    };
    let text = given.scalar_text().unwrap_or_default();
    let mut all = BTreeSet::new();
    for part in text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (first.trim().parse::<u32>(), last.trim().parse::<u32>()) {
            (Ok(first), Ok(last)) if first <= last && last < MOST_PROCESSORS => {
                all.extend(first..=last);
            }
            _ => {
                unusable(given, "is not a list of processors such as `0-3,5`", report);
                return Vec::new();
            }
        }
    }
    all.into_iter().collect()
}

/// The smallest rate of each kind, whatever the disk of the host.
pub(super) fn disk_rates(node: &Node, report: &mut Report) -> DiskRates {
    let mut least = |key: &str| {
        let mut least: Option<u64> = None;
        for device in items(node.at(&["blkio_config", key])) {
            let Some(given) = device.get("rate") else {
                continue;
            };
            let rate = given.as_int().or_else(|| given.as_str()?.parse().ok());
            match rate.and_then(|rate| u64::try_from(rate).ok()) {
                // As for Docker, no limit.
                Some(0) => {}
                Some(rate) => least = Some(least.map_or(rate, |other| other.min(rate))),
                None => unusable(given, "is not a rate", report),
            }
        }
        least
    };
    DiskRates {
        read_bps: least("device_read_bps"),
        write_bps: least("device_write_bps"),
        read_iops: least("device_read_iops"),
        write_iops: least("device_write_iops"),
    }
}

/// Processes at most; -1 is no limit.
pub(super) fn pids(node: &Node) -> Option<u64> {
    let limit = node
        .get("pids_limit")
        .or(node.at(&["deploy", "resources", "limits", "pids"]));
    limit
        .and_then(Node::as_int)
        .and_then(|limit| u64::try_from(limit).ok())
}

/// Soft and hard limits by name.
pub(super) fn ulimits(node: &Node, report: &mut Report) -> BTreeMap<String, (i64, i64)> {
    let mut limits = BTreeMap::new();
    for (name, limit) in entries(node.get("ulimits")) {
        let number = |key| limit.get(key).and_then(Node::as_int);
        let pair = match limit.as_int() {
            Some(both) => (both, both),
            None => (number("soft").unwrap_or(-1), number("hard").unwrap_or(-1)),
        };
        let (soft, hard) = pair;
        if soft < -1 || hard < -1 || (hard != -1 && (soft == -1 || soft > hard)) {
            let at = limit.get("soft").unwrap_or(limit);
            unusable(
                at,
                &format!("is above the hard limit {hard} of `{name}`, or less than -1"),
                report,
            );
        }
        limits.insert(name.clone(), pair);
    }
    limits
}

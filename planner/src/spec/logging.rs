//! `logging`

use stack_api::logging::Logging;

use super::unusable;
use crate::bind::quantity::parse_bytes;
use crate::diagnostic::Report;
use crate::tree::Node;

/// Smallest file that makes sense, in bytes: a few lines.
const LEAST: i64 = 4 << 10;

/// The limits of the log; they count whatever the driver, as the daemon keeps
/// the output in any case.
pub(super) fn logging(service: &Node, report: &mut Report) -> Logging {
    let option = |name: &str| service.at(&["logging", "options", name]);
    let mut logging = Logging::default();
    if let Some(node) = option("max-size") {
        let text = node.scalar_text().unwrap_or_default();
        match parse_bytes(&text) {
            // As Docker: no limit.
            Some(-1) => logging.max_size = Some(u64::MAX),
            Some(size) if size > 0 => logging.max_size = Some(size.max(LEAST).unsigned_abs()),
            _ => unusable(node, "is not a size", report),
        }
    }
    if let Some(node) = option("max-file") {
        let text = node.scalar_text().unwrap_or_default();
        match text.parse() {
            Ok(files) if files > 0 => logging.max_files = Some(files),
            _ => unusable(node, "is not a number of files", report),
        }
    }
    logging
}

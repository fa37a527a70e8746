//! A finding as one line of JSON, for editors and pipelines.

use serde_json::{Value, json};
use stack_planner::lint::Lint;
use stack_planner::{Loaded, Severity};

/// Lines and columns are counted from 1, columns in characters; the end is the
/// place behind the last character.
pub(super) fn line(lint: &Lint, loaded: &Loaded) -> Value {
    let found = &lint.diagnostic;
    let mut out = json!({
        "code": found.code,
        "severity": match found.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        },
        "message": found.message,
        "help": found.help,
        "fixable": lint.fix.is_some(),
    });
    let Some(label) = found.labels.first() else {
        return out;
    };
    out["file"] = json!(label.file);
    if let Some(text) = loaded.source_text(&label.file) {
        let (from, to) = (place(text, label.span.start), place(text, label.span.end));
        out["line"] = json!(from.0);
        out["column"] = json!(from.1);
        out["end_line"] = json!(to.0);
        out["end_column"] = json!(to.1);
    }
    out
}

fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    (line, before[start..].chars().count() + 1)
}

//! Findings for programs: one JSON object per line, described in
//! `docs/diagnostics.md`.

use std::path::Path;

use serde::Serialize;
use stack_planner::diagnostic::Position;
use stack_planner::{Diagnostic, Label, Severity};

use crate::error::Error;

#[derive(Debug, Serialize)]
struct Finding<'a> {
    r#type: &'static str,
    severity: &'static str,
    code: &'a str,
    message: String,
    #[serde(flatten)]
    place: Place<'a>,
    help: Option<String>,
    labels: Vec<Marked<'a>>,
}

/// Where, with lines and columns from 1.
#[derive(Debug, Default, Serialize)]
struct Place<'a> {
    file: Option<&'a Path>,
    line: Option<usize>,
    column: Option<usize>,
    end_line: Option<usize>,
    end_column: Option<usize>,
}

#[derive(Debug, Serialize)]
struct Marked<'a> {
    #[serde(flatten)]
    place: Place<'a>,
    text: &'a str,
}

/// One finding as a line without its end.
pub(in crate::project) fn line<'a>(
    diagnostic: &'a Diagnostic,
    text: impl Fn(&Path) -> Option<String>,
) -> String {
    let place = |label: &'a Label| place(label, text(&label.file).as_deref());
    written(&Finding {
        r#type: "diagnostic",
        severity: match diagnostic.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        },
        code: diagnostic.code,
        message: diagnostic.message.clone(),
        place: diagnostic.labels.first().map(place).unwrap_or_default(),
        help: diagnostic.help.clone(),
        labels: diagnostic
            .labels
            .iter()
            .map(|label| Marked {
                place: place(label),
                text: &label.text,
            })
            .collect(),
    })
}

/// A failure that no line of a file is to blame for.
pub(super) fn failure(error: &Error) -> String {
    written(&Finding {
        r#type: "diagnostic",
        severity: "error",
        code: error.code().unwrap_or("failed"),
        message: error.to_string(),
        place: Place::default(),
        help: error.help(),
        labels: Vec::new(),
    })
}

fn place<'a>(label: &'a Label, text: Option<&str>) -> Place<'a> {
    let at = |offset| text.map(|text| Position::of(text, offset));
    let (start, end) = (at(label.span.start), at(label.span.end));
    Place {
        file: Some(&label.file),
        line: start.map(|place| place.line),
        column: start.map(|place| place.column),
        end_line: end.map(|place| place.line),
        end_column: end.map(|place| place.column),
    }
}

/// Paths that are not UTF-8 cannot be written; they do not come from stack files.
fn written(finding: &Finding<'_>) -> String {
    serde_json::to_string(finding).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
}

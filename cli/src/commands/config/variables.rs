//! `config --variables`: the table and the JSON of Docker Compose.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};
use stack_planner::Variable;

/// Columns of a cell at least.
const CELL: usize = 20;
/// Blanks between cells at least.
const GAP: usize = 3;

/// One row per variable.
pub(super) fn table(variables: &BTreeMap<String, Variable>) -> String {
    let head = ["NAME", "REQUIRED", "DEFAULT VALUE", "ALTERNATE VALUE"].map(str::to_owned);
    let mut rows = vec![head];
    rows.extend(variables.iter().map(|(name, variable)| {
        [
            name.clone(),
            variable.required.to_string(),
            variable.default.clone(),
            variable.alternate.clone(),
        ]
    }));
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count() + GAP);
        widths.max().unwrap_or(0).max(CELL)
    };
    let [first, second, third] = [width(0), width(1), width(2)];
    let lines = rows.iter().map(|[name, required, default, alternate]| {
        format!("{name:<first$}{required:<second$}{default:<third$}{alternate}\n")
    });
    lines.collect()
}

/// An object by name.
pub(super) fn json(variables: &BTreeMap<String, Variable>) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Row<'a> {
        name: &'a str,
        default_value: &'a str,
        presence_value: &'a str,
        required: bool,
    }
    let rows: BTreeMap<&str, Row<'_>> = variables
        .iter()
        .map(|(name, variable)| {
            let row = Row {
                name,
                default_value: &variable.default,
                presence_value: &variable.alternate,
                required: variable.required,
            };
            (name.as_str(), row)
        })
        .collect();
    let mut out = Vec::new();
    let mut serializer =
        Serializer::with_formatter(&mut out, PrettyFormatter::with_indent(b"    "));
    // Texts and booleans can always be written into memory.
    drop(rows.serialize(&mut serializer));
    String::from_utf8(out).unwrap_or_default()
}

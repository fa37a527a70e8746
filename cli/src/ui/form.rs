//! `--format` of lists: a table, JSON, or a text with fields in it, as Docker
//! takes it (Go's `text/template`, the part of it that lists need).

mod eval;
mod function;
mod parse;

use std::collections::BTreeMap;
use std::io::IsTerminal;

use serde_json::{Map, Value};

use super::Ui;
use super::table::Columns;
use crate::error::Error;
use parse::Node;

/// What Docker writes above a column, where it is not the field's own name.
const HEADS: &[(&str, &str)] = &[
    ("BlockIO", "BLOCK I/O"),
    ("CPUPerc", "CPU %"),
    ("ImageID", "IMAGE ID"),
    ("MemPerc", "MEM %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("NetIO", "NET I/O"),
    ("OOMKilled", "OOM KILLED"),
    ("PIDs", "PIDS"),
    ("RunningFor", "CREATED"),
    ("BootID", "BOOT ID"),
    ("CreatedMs", "CREATED"),
];

/// `--format`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Form {
    /// The command's own table.
    Table,
    /// One object per line.
    Json,
    /// A text for each line.
    Template {
        /// The text is aligned at tabs, and has a head.
        table: bool,
        /// It.
        nodes: Vec<Node>,
    },
}

/// How something is printed that is no list of lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Columns for people.
    #[default]
    Table,
    /// JSON.
    Json,
}

/// One line of a list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Row {
    /// `--format json`.
    pub(crate) fields: Value,
    /// What `.Label "name"` finds; `None`: the thing has no labels.
    pub(crate) labels: Option<Map<String, Value>>,
}

impl Row {
    /// A line of something that has labels.
    pub(crate) fn with_labels(fields: Value, labels: &BTreeMap<String, String>) -> Row {
        let labels = labels.iter();
        let labels = labels.map(|(name, value)| (name.clone(), value.as_str().into()));
        Row {
            fields,
            labels: Some(labels.collect()),
        }
    }
}

impl From<Value> for Row {
    fn from(fields: Value) -> Row {
        Row {
            fields,
            labels: None,
        }
    }
}

impl Form {
    /// Reads `--format`; `example` is a line of the list, for its fields.
    ///
    /// # Errors
    /// It is none of the forms, or names a field that is not there.
    pub(crate) fn parse(text: &str, example: &Row) -> Result<Form, String> {
        match text.trim() {
            "table" | "" => return Ok(Form::Table),
            "json" => return Ok(Form::Json),
            _ => {}
        }
        let (table, text) = match text.trim().strip_prefix("table ") {
            Some(rest) => (true, rest.trim()),
            None => (false, text.trim()),
        };
        if !text.contains("{{") {
            return Err("table, json, or a text with fields such as {{.Name}}".to_owned());
        }
        let nodes = parse::parse(text)?;
        eval::text(&nodes, example, false)?;
        Ok(Form::Template { table, nodes })
    }

    /// The list in this form; `None`: the command has a table of its own.
    ///
    /// # Errors
    /// A field cannot be used as the text says.
    pub(crate) fn list(&self, ui: Ui, rows: &[Row]) -> Result<Option<String>, Error> {
        self.fill(ui, rows, std::io::stdout().is_terminal())
    }

    /// `terminal`: what services wrote must not do things there.
    fn fill(&self, ui: Ui, rows: &[Row], terminal: bool) -> Result<Option<String>, Error> {
        let (table, nodes) = match self {
            Form::Table => return Ok(None),
            Form::Json => {
                let lines = rows.iter().map(|row| format!("{}\n", row.fields));
                return Ok(Some(lines.collect()));
            }
            Form::Template { table, nodes } => (table, nodes),
        };
        let lines = rows.iter().map(|row| line(nodes, row, terminal || *table));
        let lines = lines.collect::<Result<Vec<String>, Error>>()?;
        if !table {
            return Ok(Some(lines.into_iter().map(|line| line + "\n").collect()));
        }
        let head = eval::text(nodes, &head(nodes), true).unwrap_or_default();
        let head: Vec<&str> = head.split('\t').collect();
        let mut columns = Columns::new(ui, &head);
        for line in lines {
            columns.row(line.split('\t').map(str::to_owned).collect());
        }
        Ok(Some(columns.to_string()))
    }
}

fn line(nodes: &[Node], row: &Row, clean: bool) -> Result<String, Error> {
    eval::text(nodes, row, clean).map_err(|why| {
        Error::usage(
            format!("--format: {why}"),
            "`--format json` shows what the fields hold",
        )
    })
}

/// A line whose fields hold their own names.
fn head(nodes: &[Node]) -> Row {
    let mut names = Vec::new();
    parse::fields(nodes, &mut names);
    let fields = names.into_iter().map(|name| {
        let known = HEADS.iter().find(|(field, _)| *field == name);
        let head = known.map_or_else(|| words(&name), |(_, head)| (*head).to_owned());
        (name, Value::String(head))
    });
    Row {
        fields: Value::Object(fields.collect()),
        labels: Some(Map::new()),
    }
}

/// `CreatedAt`: `CREATED AT`.
fn words(name: &str) -> String {
    let mut text = String::new();
    let mut before_is_small = false;
    for letter in name.chars() {
        if letter.is_uppercase() && before_is_small {
            text.push(' ');
        }
        before_is_small = letter.is_lowercase();
        text.extend(letter.to_uppercase());
    }
    text
}

#[cfg(test)]
mod tests;

//! `--format` of lists: a table, JSON, or a text with fields in it, as Docker
//! takes it (Go's `text/template`, the part of it that lists need).

mod eval;
mod function;
mod head;
mod parse;

use std::collections::BTreeMap;
use std::io::IsTerminal;

use serde_json::{Map, Value};

use super::Ui;
use super::table::Columns;
use crate::error::Error;
use parse::Node;

/// `--format`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Form {
    /// The command's own table.
    Table,
    /// One object per line, or an array of them.
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

    /// Reads `--format` of something that is shown in full, as JSON.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), and there is no table.
    pub(crate) fn of_objects(text: &str, example: &Row) -> Result<Form, String> {
        match Form::parse(text, example)? {
            Form::Table | Form::Template { table: true, .. } => {
                Err("json, or a text with fields such as {{.Name}}".to_owned())
            }
            form => Ok(form),
        }
    }

    /// The list in this form; `None`: the command has a table of its own.
    ///
    /// # Errors
    /// A field cannot be used as the text says.
    pub(crate) fn list(&self, ui: Ui, rows: &[Row]) -> Result<Option<String>, Error> {
        self.fill(ui, rows, std::io::stdout().is_terminal())
    }

    /// The same for lists whose JSON is one array in Docker Compose.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub(crate) fn array(&self, ui: Ui, rows: &[Row]) -> Result<Option<String>, Error> {
        if *self != Form::Json {
            return self.list(ui, rows);
        }
        let all: Vec<&Value> = rows.iter().map(|row| &row.fields).collect();
        Ok(Some(format!("{}\n", serde_json::json!(all))))
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
        let head = head::text(nodes);
        let head: Vec<&str> = head.split('\t').collect();
        let mut columns = Columns::new(ui, &head);
        for line in lines {
            columns.row(line.split('\t').map(str::to_owned).collect());
        }
        Ok(Some(columns.to_string()))
    }
}

/// Things in full: as people read JSON, or in a form.
///
/// # Errors
/// As [`Form::list`].
pub(crate) fn objects(form: Option<&Form>, ui: Ui, rows: &[Row]) -> Result<String, Error> {
    let said = match form {
        Some(form) => form.array(ui, rows)?,
        None => None,
    };
    if let Some(said) = said {
        return Ok(said);
    }
    let all: Vec<&Value> = rows.iter().map(|row| &row.fields).collect();
    let text = serde_json::to_string_pretty(&all).map_err(|e| Error::Lost(e.to_string()))?;
    Ok(text + "\n")
}

fn line(nodes: &[Node], row: &Row, clean: bool) -> Result<String, Error> {
    eval::text(nodes, row, clean).map_err(|why| {
        Error::usage(
            format!("--format: {why}"),
            "`--format json` shows what the fields hold",
        )
    })
}

#[cfg(test)]
mod tests;

//! `stack volume ls`

use stack_api::volume::VolumeInfo;

use crate::commands::filters::Filters;
use crate::context::Context;
use crate::error::Error;
use crate::ui::form::{Form, Row};
use crate::ui::human;
use crate::ui::table::Columns;
use crate::{exit, ui};

/// List volumes
#[derive(Debug, clap::Args)]
#[command(
    visible_alias = "list",
    after_help = "Example: volumes that nobody uses\n  stack volume ls --filter dangling=true"
)]
pub(super) struct Ls {
    /// Only names
    #[arg(short, long)]
    quiet: bool,

    /// Only those with `name=…`, `project=…`, `label=key[=value]` or
    /// `dangling=true`; several labels are all needed, of other keys any value will do
    #[arg(short = 'f', long = "filter", value_name = "FILTER", value_parser = parse_filter)]
    filters: Vec<Filter>,

    /// table, json (one object per line), or a text with fields in it, e.g.
    /// '{{.Name}} {{.Size}}'
    #[arg(long, value_name = "FORM", default_value = "table", value_parser = form)]
    format: Form,
}

/// `--format` of volumes.
pub(in crate::commands) fn form(text: &str) -> Result<Form, String> {
    Form::parse(text, &row(&VolumeInfo::default()))
}

pub(super) fn row(volume: &VolumeInfo) -> Row {
    Row::with_labels(super::inspect::json(volume), &volume.labels)
}

#[derive(Debug, Clone)]
enum Filter {
    Name(String),
    Project(String),
    Label(String, Option<String>),
    Dangling(bool),
}

fn parse_filter(text: &str) -> Result<Filter, String> {
    match text.split_once('=') {
        Some(("name", part)) => Ok(Filter::Name(part.to_owned())),
        Some(("project", name)) => Ok(Filter::Project(name.to_owned())),
        Some(("dangling", "true" | "1")) => Ok(Filter::Dangling(true)),
        Some(("dangling", "false" | "0")) => Ok(Filter::Dangling(false)),
        Some(("label", label)) => Ok(match label.split_once('=') {
            Some((key, value)) => Filter::Label(key.to_owned(), Some(value.to_owned())),
            None => Filter::Label(label.to_owned(), None),
        }),
        _ => Err(
            "there are `name=…`, `project=…`, `label=key[=value]` and `dangling=true`".to_owned(),
        ),
    }
}

impl Filter {
    fn takes(&self, volume: &VolumeInfo) -> bool {
        match self {
            Filter::Name(part) => volume.name.contains(part),
            Filter::Project(name) => volume.project == *name,
            Filter::Dangling(wanted) => volume.users.is_empty() == *wanted,
            Filter::Label(key, value) => {
                let found = volume.labels.get(key);
                found.is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
            }
        }
    }
}

impl Ls {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let client = context.client().await?;
        let mut volumes: Vec<VolumeInfo> = client.get("/v1/volumes").await?;
        let is_label = |filter: &Filter| matches!(filter, Filter::Label(..));
        let filters = Filters::new(&self.filters, is_label);
        volumes.retain(|volume| filters.take(|filter| filter.takes(volume)));
        show(context, &volumes, self.quiet, &self.format)
    }
}

/// Prints a list of volumes.
pub(in crate::commands) fn show(
    context: &Context,
    volumes: &[VolumeInfo],
    quiet: bool,
    format: &Form,
) -> Result<u8, Error> {
    if quiet {
        for volume in volumes {
            ui::print_line(&volume.name)?;
        }
        return Ok(exit::OK);
    }
    let rows: Vec<Row> = volumes.iter().map(row).collect();
    match format.list(context.ui, &rows)? {
        Some(text) => ui::print(text)?,
        None => {
            let head = ["NAME", "STACK", "FORM", "SIZE", "CONTAINERS"];
            let mut table = Columns::new(context.ui, &head);
            for volume in volumes {
                let owner = match volume.project.as_str() {
                    "" => "-",
                    project => project,
                };
                table.row(vec![
                    volume.name.clone(),
                    owner.to_owned(),
                    super::inspect::kind(volume.form).to_owned(),
                    human::bytes(volume.size),
                    volume.users.join(", "),
                ]);
            }
            ui::print(table)?;
        }
    }
    Ok(exit::OK)
}

//! `stack image ls`

use serde_json::json;
use stack_api::image::Details;

use super::filter::{self, Wanted};
use super::{familiar, parts};
use crate::commands::filters::Filters;
use crate::context::Context;
use crate::error::Error;
use crate::ui::form::{Form, Row};
use crate::ui::human;
use crate::ui::table::Columns;
use crate::{exit, ui};

/// List images
#[derive(Debug, clap::Args)]
#[command(
    visible_alias = "list",
    after_help = "Example: images without a name\n  stack image ls --filter dangling=true"
)]
pub(super) struct Ls {
    /// Only images of this name, as a pattern
    #[arg(value_name = "NAME")]
    name: Option<String>,

    /// Only ids
    #[arg(short, long)]
    quiet: bool,

    /// Accepted for Docker's sake: there are no intermediate images
    #[arg(short, long, hide = true)]
    all: bool,

    /// Show digests
    #[arg(long)]
    digests: bool,

    /// Show whole ids
    #[arg(long)]
    no_trunc: bool,

    /// Only those with `dangling=true`, `reference=PATTERN`,
    /// `label=key[=value]` or `until=TIME`
    #[arg(short = 'f', long = "filter", value_name = "FILTER", value_parser = filter::parse)]
    filters: Vec<Wanted>,

    /// table, json (one object per line), or a text with fields in it, e.g.
    /// '{{.Repository}} {{.Size}}'
    #[arg(long, value_name = "FORM", default_value = "table", value_parser = form)]
    format: Form,
}

impl Ls {
    pub(super) async fn run(mut self, context: &Context) -> Result<u8, Error> {
        self.filters.extend(self.name.take().map(Wanted::Reference));
        let client = context.client().await?;
        let mut images: Vec<Details> = client.get("/v1/images/all").await?;
        let is_other = |filter: &Wanted| matches!(filter, Wanted::Other(_));
        let filters = Filters::new(&self.filters, is_other);
        images.retain(|image| filters.take(|filter| filter.takes(image)));
        images.sort_by(|a, b| (a.nameless, &a.reference).cmp(&(b.nameless, &b.reference)));
        let id = |image: &Details| match self.no_trunc {
            true => image.id.clone(),
            false => human::short_id(&image.id).to_owned(),
        };
        if self.quiet {
            for image in &images {
                ui::print_line(id(image))?;
            }
            return Ok(exit::OK);
        }
        let rows = images.iter().map(|image| row(image, &id(image)));
        let rows: Vec<Row> = rows.collect();
        if let Some(text) = self.format.list(context.ui, &rows)? {
            ui::print(text)?;
            return Ok(exit::OK);
        }
        let mut head = vec!["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"];
        if self.digests {
            head.insert(2, "DIGEST");
        }
        let mut table = Columns::new(context.ui, &head);
        for image in &images {
            let (repository, tag) = name(image);
            let mut row = vec![
                repository,
                tag,
                id(image),
                created(image),
                human::bytes(image.size),
            ];
            if self.digests {
                let digest = image.digest.clone();
                row.insert(2, digest.unwrap_or_else(|| "<none>".to_owned()));
            }
            table.row(row);
        }
        ui::print(table)?;
        Ok(exit::OK)
    }
}

fn form(text: &str) -> Result<Form, String> {
    Form::parse(text, &row(&Details::default(), ""))
}

fn name(image: &Details) -> (String, String) {
    let none = || "<none>".to_owned();
    if image.nameless {
        return (none(), none());
    }
    let shown = familiar(&image.reference);
    let (repository, tag) = parts(&shown);
    (repository.to_owned(), tag.map_or_else(none, str::to_owned))
}

/// When it was made, or else when it came.
fn made_ms(image: &Details) -> u64 {
    let made = image.made.as_ref();
    let made = made.and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let made = made.and_then(|at| u64::try_from(at.as_millisecond()).ok());
    // What is reproducible was made in 1970.
    made.filter(|ms| *ms > 0).unwrap_or(image.stored_ms)
}

fn created(image: &Details) -> String {
    match made_ms(image) {
        0 => "-".to_owned(),
        ms => format!("{} ago", human::span(human::now_ms().saturating_sub(ms))),
    }
}

fn row(image: &Details, id: &str) -> Row {
    let (repository, tag) = name(image);
    let fields = json!({
        "Repository": repository,
        "Tag": tag,
        "ID": id,
        "Digest": image.digest,
        "CreatedAt": image.made,
        "CreatedSince": created(image),
        "Size": image.size,
        "UniqueSize": image.unique,
        "Platform": image.platform,
        "Containers": image.containers,
        "Labels": image.labels,
    });
    Row::with_labels(fields, &image.labels)
}

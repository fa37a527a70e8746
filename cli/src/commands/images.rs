//! `stack images`

use stack_api::request::ImageInfo;

use crate::context::Context;
use crate::error::Error;
use crate::ui::form::{Form, Row};
use crate::ui::human;
use crate::ui::table::{Columns, cut};
use crate::{exit, ui};

/// List the images on this machine
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: which images take the most room\n  \
                  stack images --format json | jq -s 'sort_by(-.Size)[].Reference'")]
pub(crate) struct Images {
    /// Only ids
    #[arg(short, long)]
    quiet: bool,

    /// table, json (one object per line), or a text with fields in it, e.g.
    /// '{{.Reference}} {{.Size}}'
    #[arg(long, value_name = "FORM", default_value = "table", value_parser = form)]
    format: Form,

    /// Show whole ids
    #[arg(long)]
    no_trunc: bool,
}

impl Images {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let client = context.client().await?;
        let mut images: Vec<ImageInfo> = client.get("/v1/images").await?;
        images.sort_by(|a, b| a.reference.cmp(&b.reference));
        let id = |image: &ImageInfo| match self.no_trunc {
            true => image.id.clone(),
            false => human::short_id(&image.id).to_owned(),
        };
        if self.quiet {
            for image in &images {
                ui::print_line(id(image))?;
            }
            return Ok(exit::OK);
        }
        let rows: Vec<Row> = images.iter().map(row).collect();
        if let Some(text) = self.format.list(context.ui, &rows)? {
            ui::print(text)?;
            return Ok(exit::OK);
        }
        let now = human::now_ms();
        let head = ["IMAGE", "ID", "PLATFORM", "CREATED", "SIZE"];
        let mut table = Columns::new(context.ui, &head);
        for image in &images {
            let created = match image.created_ms {
                0 => "-".to_owned(),
                ms => format!("{} ago", human::span(now.saturating_sub(ms))),
            };
            let reference = if self.no_trunc {
                image.reference.clone()
            } else {
                cut(&image.reference, 60)
            };
            table.row(vec![
                reference,
                id(image),
                image.platform.clone(),
                created,
                human::bytes(image.size),
            ]);
        }
        ui::print(table)?;
        Ok(exit::OK)
    }
}

fn form(text: &str) -> Result<Form, String> {
    Form::parse(text, &row(&ImageInfo::default()))
}

fn row(image: &ImageInfo) -> Row {
    Row::from(serde_json::json!({
        "Reference": image.reference,
        "ID": image.id,
        "Digest": image.digest,
        "Size": image.size,
        "Platform": image.platform,
        "CreatedMs": image.created_ms,
    }))
}

//! `stack images`

use stack_api::request::ImageInfo;

use super::ps::Format;
use crate::context::Context;
use crate::error::Error;
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

    /// table, or json: one object per line
    #[arg(long, value_enum, default_value_t, hide_possible_values = true)]
    format: Format,

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
        if self.format == Format::Json {
            for image in &images {
                ui::print_line(serde_json::json!({
                    "Reference": image.reference,
                    "ID": image.id,
                    "Digest": image.digest,
                    "Size": image.size,
                    "Platform": image.platform,
                    "CreatedMs": image.created_ms,
                }))?;
            }
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

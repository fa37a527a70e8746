//! `stack system df`

use stack_api::system::Usage;

use crate::context::Context;
use crate::error::Error;
use crate::ui::form::{Form, Row};
use crate::ui::human;
use crate::ui::table::Columns;
use crate::{exit, ui};

/// Show what takes up the disk
///
/// Sizes are blocks on the disk, not what files seem to have: disks of VMs
/// are mostly holes. What images share counts once in their sum.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: each image, container and volume\n  stack system df -v")]
pub(super) struct Df {
    /// Show each thing
    #[arg(short, long)]
    verbose: bool,

    /// table, json (one object per line), or a text with fields in it, e.g.
    /// '{{.Type}} {{.Size}}'
    #[arg(long, value_name = "FORM", default_value = "table", value_parser = form)]
    format: Form,
}

impl Df {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let client = context.client().await?;
        let usage: Vec<Usage> = client.get("/v1/system/usage").await?;
        let rows = usage.iter().map(|kind| line(kind, self.verbose).into());
        let rows: Vec<Row> = rows.collect();
        if let Some(text) = self.format.list(context.ui, &rows)? {
            ui::print(text)?;
            return Ok(exit::OK);
        }
        let head = ["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"];
        let mut table = Columns::new(context.ui, &head);
        let mut whole = Usage::default();
        for kind in &usage {
            whole.size += kind.size;
            whole.reclaimable += kind.reclaimable;
            table.row(vec![
                kind.kind.clone(),
                kind.total.to_string(),
                kind.active.to_string(),
                human::bytes(kind.size),
                share(kind),
            ]);
        }
        table.row(vec![
            "all".to_owned(),
            String::new(),
            String::new(),
            human::bytes(whole.size),
            share(&whole),
        ]);
        ui::print(table)?;
        if self.verbose {
            ui::print(String::from("\n"))?;
            let mut table = Columns::new(context.ui, &["TYPE", "NAME", "SIZE", "USED BY"]);
            for item in usage.iter().flat_map(|kind| &kind.items) {
                table.row(vec![
                    item.kind.clone(),
                    item.name.clone(),
                    human::bytes(item.size),
                    item.used_by.join(", "),
                ]);
            }
            ui::print(table)?;
        }
        Ok(exit::OK)
    }
}

fn form(text: &str) -> Result<Form, String> {
    Form::parse(text, &line(&Usage::default(), false).into())
}

fn share(kind: &Usage) -> String {
    let size = human::bytes(kind.reclaimable);
    match (kind.reclaimable * 100).checked_div(kind.size) {
        Some(percent) => format!("{size} ({percent}%)"),
        None => size,
    }
}

fn line(kind: &Usage, verbose: bool) -> serde_json::Value {
    let mut line = serde_json::json!({
        "Type": kind.kind,
        "TotalCount": kind.total,
        "Active": kind.active,
        "Size": kind.size,
        "Reclaimable": kind.reclaimable,
    });
    if verbose {
        let items = kind.items.iter().map(|item| {
            serde_json::json!({"Name": item.name, "Size": item.size, "UsedBy": item.used_by})
        });
        line["Items"] = items.collect();
    }
    line
}

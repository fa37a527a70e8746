//! `stack history`

use stack_api::history::Entry;

use crate::context::Context;
use crate::error::Error;
use crate::ui::form::Format;
use crate::ui::table::Columns;
use crate::ui::untrusted::plain;
use crate::ui::{human, palette};
use crate::{exit, ui};

/// List the definitions that the stack has reached
///
/// A definition is kept when all of it ran as wanted, the last 20 of them. The
/// present one is marked. `stack rollback` goes back to one.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: what changed lately, and back to number 3\n  \
                  stack history && stack rollback 3")]
pub(crate) struct History {
    /// table, or json: one object per line
    #[arg(long, value_enum, default_value_t, hide_possible_values = true)]
    format: Format,
}

impl History {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let name = context.named()?.name;
        let client = context.client().await?;
        let entries: Vec<Entry> = client.get(&format!("/v1/stacks/{name}/history")).await?;
        if self.format == Format::Json {
            for entry in &entries {
                let line = serde_json::to_string(entry).map_err(std::io::Error::from);
                ui::print_line(line.map_err(Error::Output)?)?;
            }
            return Ok(exit::OK);
        }
        let paint = context.ui.out;
        let mut table = Columns::new(context.ui, &["NUMBER", "REACHED", "BY", "CHANGES"]);
        for entry in entries.iter().rev() {
            let number = if entry.present {
                paint.paint(palette::GOOD, format_args!("{} *", entry.number))
            } else {
                entry.number.to_string()
            };
            let age = human::span(human::now_ms().saturating_sub(entry.at_ms));
            table.row(vec![
                number,
                format!("{age} ago"),
                plain(&entry.by),
                plain(&entry.changes.join("; ")),
            ]);
        }
        ui::print(table)?;
        Ok(exit::OK)
    }
}

//! `stack system prune`

use stack_api::system::{self, Pruned};

use crate::commands::confirm::confirmed;
use crate::commands::image::filter::{self, together};
use crate::context::Context;
use crate::error::Error;
use crate::ui::human;
use crate::ui::table::Columns;
use crate::{exit, ui};

/// Remove what nobody needs
///
/// Stopped containers, networks that nobody is on, and images without a name.
/// Shows what would go and how much that is, and asks.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: everything that can be had again\n  stack system prune --all")]
pub(super) struct Prune {
    /// Also images with a name, the build cache and templates
    #[arg(short, long)]
    all: bool,

    /// Also volumes without a name that no container mounts
    #[arg(long)]
    volumes: bool,

    /// Do not ask
    #[arg(short, long)]
    force: bool,

    /// Only show
    #[arg(long)]
    dry_run: bool,

    /// Only containers and images with `until=TIME`, `label=key[=value]` or
    /// `label!=key[=value]`
    #[arg(long = "filter", value_name = "FILTER", value_parser = filter::parse_prune)]
    filters: Vec<filter::Prune>,
}

impl Prune {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let client = context.client().await?;
        let order = |dry_run| system::Prune {
            all: self.all,
            volumes: self.volumes,
            filter: together(&self.filters),
            dry_run,
        };
        if self.dry_run || !self.force {
            let found: Pruned = client.call("/v1/system/prune", &order(true)).await?;
            if self.dry_run || found.items.is_empty() && found.bytes == 0 {
                return show(context, &found);
            }
            let table = list(context, &found);
            ui::say(table.to_string().trim_end());
            let size = human::bytes(found.bytes);
            if !confirmed("all this", &format!("This frees {size}. Go on?"))? {
                return Ok(exit::OK);
            }
        }
        let pruned: Pruned = client.call("/v1/system/prune", &order(false)).await?;
        show(context, &pruned)
    }
}

fn list(context: &Context, pruned: &Pruned) -> Columns {
    let mut table = Columns::new(context.ui, &["TYPE", "NAME", "SIZE"]);
    for item in &pruned.items {
        let size = match item.kind.as_str() {
            "network" => String::new(),
            _ => human::bytes(item.size),
        };
        table.row(vec![item.kind.clone(), item.name.clone(), size]);
    }
    table
}

fn show(context: &Context, pruned: &Pruned) -> Result<u8, Error> {
    if !pruned.items.is_empty() {
        ui::print(list(context, pruned))?;
    }
    for note in &pruned.notes {
        context.ui.warn(note);
    }
    ui::say(format!("{} in all", human::bytes(pruned.bytes)));
    Ok(exit::OK)
}

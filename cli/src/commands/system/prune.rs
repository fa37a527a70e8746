//! `stack system prune`

use stack_api::system::{self, Pruned};

use crate::commands::confirm::{Care, Going};
use crate::commands::image::filter::{self, together};
use crate::context::Context;
use crate::error::Error;
use crate::ui::table::Columns;
use crate::ui::{Ui, human};
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

    /// Only the build cache, with fetched build contexts
    #[arg(long, conflicts_with_all = ["all", "volumes", "filters"])]
    build_cache: bool,

    #[command(flatten)]
    care: Care,

    /// Only containers, images and volumes with `until=TIME` (not with
    /// `--volumes`), `label=key[=value]` or `label!=key[=value]`
    #[arg(long = "filter", value_name = "FILTER", value_parser = filter::parse_prune)]
    filters: Vec<filter::Prune>,
}

impl Prune {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let client = context.client().await?;
        let order = async |dry_run| {
            let order = system::Prune {
                all: self.all,
                build_cache: self.build_cache,
                volumes: self.volumes,
                filter: together(&self.filters),
                dry_run,
            };
            client.call("/v1/system/prune", &order).await
        };
        let pruned: Option<Pruned> = self.care.take(context.ui, order).await?;
        if let Some(pruned) = pruned {
            if !pruned.items.is_empty() {
                ui::print(list(context.ui, &pruned))?;
            }
            for note in &pruned.notes {
                context.ui.warn(note);
            }
            ui::say(format!("{} in all", human::bytes(pruned.bytes)));
        }
        Ok(exit::OK)
    }
}

impl Going for Pruned {
    const KIND: &'static str = "all this";

    fn is_empty(&self) -> bool {
        self.items.is_empty() && self.bytes == 0
    }

    fn lines(&self, ui: Ui) -> Vec<String> {
        let table = list(ui, self).to_string();
        table.lines().map(str::to_owned).collect()
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }
}

fn list(ui: Ui, pruned: &Pruned) -> Columns {
    let mut table = Columns::new(ui, &["TYPE", "NAME", "SIZE"]);
    for item in &pruned.items {
        let size = match item.kind.as_str() {
            "network" => String::new(),
            _ => human::bytes(item.size),
        };
        table.row(vec![item.kind.clone(), item.name.clone(), size]);
    }
    table
}

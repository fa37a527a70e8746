//! `stack volume prune`

use stack_api::volume::{PruneVolumes, VolumeInfo};

use crate::commands::confirm::{Care, Going};
use crate::commands::image::filter;
use crate::context::Context;
use crate::error::Error;
use crate::ui::{Ui, human};
use crate::{exit, ui};

/// Remove volumes without a name that no container mounts
///
/// Shows what would go and how much that is, and asks.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: see what could go\n  stack volume prune --all --dry-run")]
pub(super) struct Prune {
    /// Those with a name, too
    #[arg(short, long)]
    all: bool,

    #[command(flatten)]
    care: Care,

    /// Only those with `until=TIME`, `label=key[=value]` or
    /// `label!=key[=value]`
    #[arg(long = "filter", value_name = "FILTER", value_parser = filter::parse_prune)]
    filters: Vec<filter::Prune>,
}

impl Prune {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let client = context.client().await?;
        let order = async |dry_run| {
            let order = PruneVolumes {
                all: self.all,
                filter: filter::together(&self.filters),
                dry_run,
            };
            client.call("/v1/volumes/prune", &order).await
        };
        let volumes: Option<Vec<VolumeInfo>> = self.care.take(context.ui, order).await?;
        if let Some(volumes) = volumes {
            for volume in &volumes {
                ui::print_line(&volume.name)?;
            }
            ui::say(format!("{} in all", human::bytes(volumes.bytes())));
        }
        Ok(exit::OK)
    }
}

impl Going for Vec<VolumeInfo> {
    const KIND: &'static str = "volumes with all their data";

    fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    fn lines(&self, _ui: Ui) -> Vec<String> {
        let line = |volume: &VolumeInfo| format!("{}  {}", volume.name, human::bytes(volume.size));
        self.iter().map(line).collect()
    }

    fn bytes(&self) -> u64 {
        self.iter().map(|volume| volume.size).sum()
    }
}

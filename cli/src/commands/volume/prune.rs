//! `stack volume prune`

use std::io::{IsTerminal, stdin};

use stack_api::volume::{PruneVolumes, VolumeInfo};

use crate::context::Context;
use crate::error::Error;
use crate::ui::human;
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

    /// Do not ask
    #[arg(short, long)]
    force: bool,

    /// Only show
    #[arg(long)]
    dry_run: bool,
}

impl Prune {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let client = context.client().await?;
        let order = |dry_run| PruneVolumes {
            all: self.all,
            dry_run,
        };
        let found: Vec<VolumeInfo> = client.call("/v1/volumes/prune", &order(true)).await?;
        if self.dry_run || found.is_empty() || (!self.force && !confirmed(&found)?) {
            show(&found)?;
            return Ok(exit::OK);
        }
        let removed: Vec<VolumeInfo> = client.call("/v1/volumes/prune", &order(false)).await?;
        show(&removed)?;
        Ok(exit::OK)
    }
}

fn show(volumes: &[VolumeInfo]) -> Result<(), Error> {
    for volume in volumes {
        ui::print_line(&volume.name)?;
    }
    let size = volumes.iter().map(|volume| volume.size).sum();
    ui::say(format!("{} in all", human::bytes(size)));
    Ok(())
}

fn confirmed(volumes: &[VolumeInfo]) -> Result<bool, Error> {
    if !stdin().is_terminal() {
        return Err(Error::Usage {
            message: "there is nobody to ask whether volumes shall be removed".to_owned(),
            help: Some("say so with --force".to_owned()),
        });
    }
    for volume in volumes {
        ui::say(format!("{}  {}", volume.name, human::bytes(volume.size)));
    }
    ui::say("These volumes go with all their data. Go on? [y/N]");
    let mut answer = String::new();
    let read = stdin().read_line(&mut answer);
    let yes = matches!(answer.trim(), "y" | "Y" | "yes");
    Ok(read.is_ok() && yes)
}

//! `stack image prune`

use stack_api::image::{self, Removed};

use super::filter::{self, together};
use super::show;
use crate::commands::confirm::confirmed;
use crate::context::Context;
use crate::error::Error;
use crate::{exit, ui};

/// Remove images without a name that no container needs
///
/// Shows what would go and how much that is, and asks. Images that `stack
/// rollback` leads back to stay without --all.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: see what could go\n  stack image prune --all --dry-run")]
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

    /// Only those with `until=TIME`, `label=key[=value]` or
    /// `label!=key[=value]`
    #[arg(long = "filter", value_name = "FILTER", value_parser = filter::parse_prune)]
    filters: Vec<filter::Prune>,
}

impl Prune {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let client = context.client().await?;
        let order = |dry_run| image::Prune {
            all: self.all,
            filter: together(&self.filters),
            dry_run,
        };
        if self.dry_run || !self.force {
            let found: Removed = client.call("/v1/images/prune", &order(true)).await?;
            if self.dry_run || found == Removed::default() {
                show(&found)?;
                return Ok(exit::OK);
            }
            for name in &found.untagged {
                ui::say(super::familiar(name));
            }
            for id in &found.deleted {
                ui::say(id);
            }
            let size = crate::ui::human::bytes(found.bytes);
            if !confirmed("images", &format!("This frees {size}. Go on?"))? {
                return Ok(exit::OK);
            }
        }
        let removed: Removed = client.call("/v1/images/prune", &order(false)).await?;
        show(&removed)?;
        Ok(exit::OK)
    }
}

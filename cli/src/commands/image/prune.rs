//! `stack image prune`

use stack_api::image::{self, Removed};

use super::filter::{self, together};
use super::{familiar, show};
use crate::commands::confirm::{Care, Going};
use crate::context::Context;
use crate::error::Error;
use crate::exit;
use crate::ui::Ui;

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
            let order = image::Prune {
                all: self.all,
                filter: together(&self.filters),
                only: Vec::new(),
                dry_run,
            };
            client.call("/v1/images/prune", &order).await
        };
        let removed: Option<Removed> = self.care.take(context.ui, order).await?;
        if let Some(removed) = removed {
            show(&removed)?;
        }
        Ok(exit::OK)
    }
}

impl Going for Removed {
    const KIND: &'static str = "images";

    fn is_empty(&self) -> bool {
        *self == Removed::default()
    }

    fn lines(&self, _ui: Ui) -> Vec<String> {
        let names = self.untagged.iter().map(|name| familiar(name));
        names.chain(self.deleted.iter().cloned()).collect()
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }
}

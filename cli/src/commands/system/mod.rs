//! `stack system`

mod df;
mod prune;

use clap::Subcommand;

use crate::context::Context;
use crate::error::Error;

/// See what takes up the disk, and get it back
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: what could go, without asking\n  stack system prune --dry-run")]
pub(crate) struct System {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Df(df::Df),
    Prune(prune::Prune),
}

impl System {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        match self.verb {
            Verb::Df(verb) => verb.run(context).await,
            Verb::Prune(verb) => verb.run(context).await,
        }
    }
}

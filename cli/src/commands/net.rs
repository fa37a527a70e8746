//! `stack net`

mod capture;
mod stats;

use clap::Subcommand;

use crate::context::Context;
use crate::error::Error;
pub(super) use stats::summary;

/// Look into the network: counters and captures
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: what does this service say to others\n  \
                  stack net capture web -w - | tshark -r -")]
pub(crate) struct Net {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Capture(capture::Capture),
    Stats(stats::Stats),
}

impl Net {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        match self.verb {
            Verb::Capture(verb) => verb.run(context).await,
            Verb::Stats(verb) => verb.run(context).await,
        }
    }
}

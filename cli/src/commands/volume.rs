//! `stack volume`

mod create;
mod export;
mod import;
mod inspect;
pub(super) mod ls;
mod prune;
mod rm;

use clap::Subcommand;
use stack_api::volume::VolumeInfo;

use crate::client::Client;
use crate::context::Context;
use crate::error::Error;

/// Manage volumes
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: what takes up the disk\n  stack volume ls")]
pub(crate) struct Volume {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Create(create::Create),
    Export(export::Export),
    Import(import::Import),
    Inspect(inspect::Inspect),
    Ls(ls::Ls),
    Prune(prune::Prune),
    Rm(rm::Rm),
}

impl Volume {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        match self.verb {
            Verb::Create(verb) => verb.run(context).await,
            Verb::Export(verb) => verb.run(context).await,
            Verb::Import(verb) => verb.run(context).await,
            Verb::Inspect(verb) => verb.run(context).await,
            Verb::Ls(verb) => verb.run(context).await,
            Verb::Prune(verb) => verb.run(context).await,
            Verb::Rm(verb) => verb.run(context).await,
        }
    }
}

/// The volume that a word means: its full name, else its key in the project
/// at hand.
async fn find(context: &Context, client: &Client, word: &str) -> Result<VolumeInfo, Error> {
    let volumes: Vec<VolumeInfo> = client.get("/v1/volumes").await?;
    if let Some(found) = volumes.iter().find(|volume| volume.name == word) {
        return Ok(found.clone());
    }
    let project = context.named().ok().map(|project| project.name);
    let full = project.map(|project| format!("{project}_{word}"));
    let found = volumes
        .iter()
        .find(|volume| full.as_ref() == Some(&volume.name));
    found.cloned().ok_or_else(|| {
        let named = volumes.iter().filter(|volume| !volume.anonymous);
        let known: Vec<&str> = named.map(|volume| volume.name.as_str()).collect();
        Error::Usage {
            message: format!("there is no volume {word}"),
            help: (!known.is_empty()).then(|| format!("there are: {}", known.join(", "))),
        }
    })
}

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

/// The full name of the volume that a word means: a key of the project's file, else the
/// key of one that the project once made, else a full name.
async fn find(context: &Context, client: &Client, word: &str) -> Result<String, Error> {
    look_up(context, client, word)
        .await?
        .map_err(|missing| missing.error)
}

/// A volume that is not there.
struct Missing {
    /// The project, when the word is a key of its file.
    of: Option<String>,
    /// What to say of it.
    error: Error,
}

/// As [`find`].
async fn look_up(
    context: &Context,
    client: &Client,
    word: &str,
) -> Result<Result<String, Missing>, Error> {
    // Sizes take as long as there are files.
    let volumes: Vec<VolumeInfo> = client.get("/v1/volumes?sizes=false").await?;
    let exists = |name: &str| volumes.iter().any(|volume| volume.name == name);
    let there_is_none = |name: &str, help: Option<String>, of: Option<String>| {
        let message = format!("there is no volume {name}");
        let error = Error::Usage { message, help };
        Ok(Err(Missing { of, error }))
    };
    if let Ok(project) = context.named() {
        if let Some(full) = project.volume_names.get(word) {
            // Even if it is not there: what has the key as its name may be another one's.
            if exists(full) {
                return Ok(Ok(full.clone()));
            }
            let other = format!(
                "`{word}` is a key of {}'s file; a volume of that full name is there, too, and is \
                 reached from another folder",
                project.name
            );
            let help = exists(word).then_some(other);
            return there_is_none(full, help, Some(project.name));
        }
        let full = format!("{}_{word}", project.name);
        if exists(&full) {
            return Ok(Ok(full));
        }
    }
    if exists(word) {
        return Ok(Ok(word.to_owned()));
    }
    let named = volumes.iter().filter(|volume| !volume.anonymous);
    let known: Vec<&str> = named.map(|volume| volume.name.as_str()).collect();
    let help = (!known.is_empty()).then(|| format!("there are: {}", known.join(", ")));
    there_is_none(word, help, None)
}

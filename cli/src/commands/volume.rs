//! `stack volume`

mod create;
mod export;
mod import;
mod inspect;
pub(super) mod ls;
mod prune;
mod rm;

use std::collections::BTreeMap;

use clap::Subcommand;
use stack_api::spec::StackSpec;
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
/// key of one that the project once made, else a full name. Without a file the last `up` says
/// what the keys are.
async fn find(context: &Context, client: &Client, word: &str) -> Result<String, Error> {
    look_up(context, client, word)
        .await?
        .map_err(|missing| missing.error)
}

/// Full names of a stack's volumes by their keys, as the last `up` brought them; none when
/// there is no such stack.
async fn last_volumes(client: &Client, stack: &str) -> BTreeMap<String, String> {
    let spec = client.get(&format!("/v1/stacks/{stack}")).await;
    let spec: StackSpec = spec.unwrap_or_default();
    let volumes = spec.volumes.into_iter();
    volumes.map(|(key, volume)| (key, volume.name)).collect()
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
    let named = context.named().ok();
    if let Some(project) = &named {
        let last;
        let keys = match project.services {
            Some(_) => &project.volume_names,
            None => {
                last = last_volumes(client, &project.name).await;
                &last
            }
        };
        if let Some(full) = keys.get(word) {
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
            let of = project.services.is_some().then(|| project.name.clone());
            return there_is_none(full, help, of);
        }
        let full = format!("{}_{word}", project.name);
        if exists(&full) {
            return Ok(Ok(full));
        }
    }
    if let Some(found) = volumes.iter().find(|volume| volume.name == word) {
        // Without a file nobody knows whether the word was meant as a key.
        let nameless = named.filter(|project| project.services.is_none());
        let other = nameless.filter(|p| !["", &p.name].contains(&found.project.as_str()));
        let Some(project) = other else {
            return Ok(Ok(word.to_owned()));
        };
        let help = format!(
            "volume {word} belongs to stack {}: to reach it say `-p {0}`",
            found.project
        );
        let full = format!("{}_{word}", project.name);
        return there_is_none(&full, Some(help), None);
    }
    let named = volumes.iter().filter(|volume| !volume.anonymous);
    let known: Vec<&str> = named.map(|volume| volume.name.as_str()).collect();
    let help = (!known.is_empty()).then(|| format!("there are: {}", known.join(", ")));
    there_is_none(word, help, None)
}

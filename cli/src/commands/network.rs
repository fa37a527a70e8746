//! `stack network`

mod connect;
mod create;
mod disconnect;
mod inspect;
mod ls;
mod prune;
mod rm;

use clap::Subcommand;
use stack_api::network::NetworkInfo;

use crate::client::Client;
use crate::context::{Context, containers};
use crate::error::Error;

/// Manage networks, also those that several stacks share
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: a network for two stacks, whose files say `external: true`\n  \
                  stack network create shared && stack -f a.yaml up -d && stack -f b.yaml up -d"
)]
pub(crate) struct Network {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Connect(connect::Connect),
    Create(create::Create),
    Disconnect(disconnect::Disconnect),
    Inspect(inspect::Inspect),
    Ls(ls::Ls),
    Prune(prune::Prune),
    Rm(rm::Rm),
}

impl Network {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        match self.verb {
            Verb::Connect(verb) => verb.run(context).await,
            Verb::Disconnect(verb) => verb.run(context).await,
            Verb::Create(verb) => verb.run(context).await,
            Verb::Inspect(verb) => verb.run(context).await,
            Verb::Ls(verb) => verb.run(context).await,
            Verb::Prune(verb) => verb.run(context).await,
            Verb::Rm(verb) => verb.run(context).await,
        }
    }
}

/// The network that a word means: its full name, else its key in the
/// project at hand.
async fn find(context: &Context, client: &Client, word: &str) -> Result<NetworkInfo, Error> {
    let networks: Vec<NetworkInfo> = client.get("/v1/networks").await?;
    if let Some(found) = networks.iter().find(|network| network.name == word) {
        return Ok(found.clone());
    }
    let project = context.named().ok().map(|project| project.name);
    let full = project.map(|project| format!("{project}_{word}"));
    let found = networks.iter().find(|n| full.as_ref() == Some(&n.name));
    found.cloned().ok_or_else(|| {
        let known: Vec<&str> = networks.iter().map(|n| n.name.as_str()).collect();
        Error::Usage {
            message: format!("there is no network {word}"),
            help: (!known.is_empty()).then(|| format!("there are: {}", known.join(", "))),
        }
    })
}

/// The containers that a word means: one by its name or id, else those of a
/// service of the project at hand.
async fn members(context: &Context, client: &Client, word: &str) -> Result<Vec<String>, Error> {
    let Ok(project) = context.named() else {
        return Ok(vec![word.to_owned()]);
    };
    let list = containers(client, &project.name).await?;
    let of = list.iter().filter(|container| container.service == word);
    let names: Vec<String> = of.map(|container| container.name.clone()).collect();
    let is_name = list.iter().any(|container| container.name == word);
    Ok(match names.is_empty() || is_name {
        true => vec![word.to_owned()],
        false => names,
    })
}

//! `stack network connect`

use std::net::{Ipv4Addr, Ipv6Addr};

use stack_api::network;
use stack_api::spec::AttachSpec;

use super::{find, members};
use crate::context::Context;
use crate::error::Error;
use crate::exit;

/// Put a container on a network
///
/// A running machine has a network card to spare, and those of networks that it
/// was taken off. When it has none it is restarted for another card, if you say so.
/// The next `up` that makes the container anew goes by the stack file again.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: put a service on a shared network under another name\n  \
                  stack network connect --alias db shared postgres"
)]
pub(super) struct Connect {
    /// Another name on this network
    #[arg(long = "alias", value_name = "NAME")]
    aliases: Vec<String>,

    /// IPv4 address
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<Ipv4Addr>,

    /// IPv6 address
    #[arg(long, value_name = "ADDRESS")]
    ip6: Option<Ipv6Addr>,

    /// Restart the machine if it has no network card to spare
    #[arg(long)]
    restart: bool,

    /// Network: full name, or key of this project's file
    network: String,

    /// Container, or a service of this project
    container: String,
}

impl Connect {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let client = context.client().await?;
        let network = find(context, &client, &self.network).await?.name;
        let path = format!("/v1/networks/{network}/connect");
        for container in members(context, &client, &self.container).await? {
            let request = network::Connect {
                container,
                place: AttachSpec {
                    aliases: self.aliases.clone(),
                    ipv4: self.ip,
                    ipv6: self.ip6,
                    ..AttachSpec::default()
                },
                restart: self.restart,
            };
            context.operate(&client, &path, &request, false).await?;
        }
        Ok(exit::OK)
    }
}

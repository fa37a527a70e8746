//! `stack network disconnect`

use stack_api::network;

use super::{find, members};
use crate::context::Context;
use crate::error::Error;
use crate::exit;

/// Take a container off a network
///
/// It works at once: the machine goes on without that card.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: see what a service does without its database\n  \
                  stack network disconnect back db"
)]
pub(super) struct Disconnect {
    /// There is no difference
    #[arg(short = 'F', long, hide = true)]
    force: bool,

    /// Network: full name, or key of this project's file
    network: String,

    /// Container, or a service of this project
    container: String,
}

impl Disconnect {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let client = context.client().await?;
        let network = find(context, &client, &self.network).await?.name;
        let path = format!("/v1/networks/{network}/disconnect");
        for container in members(context, &client, &self.container).await? {
            let request = network::Disconnect { container };
            context.operate(&client, &path, &request, false).await?;
        }
        Ok(exit::OK)
    }
}

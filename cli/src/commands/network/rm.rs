//! `stack network rm`

use stack_api::network::NetworkInfo;

use super::find;
use crate::context::Context;
use crate::error::Error;
use crate::{exit, ui};

/// Remove networks that nobody is on
#[derive(Debug, clap::Args)]
#[command(
    visible_alias = "remove",
    after_help = "Example: remove a shared network\n  stack network rm shared"
)]
pub(super) struct Rm {
    /// Do not fail when there is none
    #[arg(short, long)]
    force: bool,

    /// Networks
    #[arg(value_name = "NETWORK", required = true)]
    networks: Vec<String>,
}

impl Rm {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let client = context.client().await?;
        for word in &self.networks {
            let found: NetworkInfo = match find(context, &client, word).await {
                Ok(found) => found,
                Err(Error::Usage { .. }) if self.force => continue,
                Err(error) => return Err(error),
            };
            client
                .delete(&format!("/v1/networks/{}", found.name))
                .await?;
            ui::print_line(found.name)?;
        }
        Ok(exit::OK)
    }
}

//! `stack volume rm`

use super::find;
use crate::context::Context;
use crate::error::Error;
use crate::ui;

/// Remove volumes that no container mounts, with all data
#[derive(Debug, clap::Args)]
#[command(
    visible_alias = "remove",
    after_help = "Example: remove a shared volume\n  stack volume rm shared"
)]
pub(super) struct Rm {
    /// Do not fail when there is none
    #[arg(short, long)]
    force: bool,

    /// Volumes: full names, or keys of this project's file
    #[arg(value_name = "VOLUME", required = true)]
    volumes: Vec<String>,
}

impl Rm {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let client = context.client().await?;
        let one = async |word: &str| {
            let name = match find(context, &client, word).await {
                Ok(name) => name,
                Err(Error::Usage { .. }) if self.force => return Ok(()),
                Err(error) => return Err(error),
            };
            client.delete(&format!("/v1/volumes/{name}")).await?;
            ui::print_line(name)
        };
        context.each(&self.volumes, one).await
    }
}

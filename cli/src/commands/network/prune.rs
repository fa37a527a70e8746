//! `stack network prune`

use crate::commands::confirm::confirmed;
use crate::context::Context;
use crate::error::Error;
use crate::{exit, ui};

/// Remove all networks that nobody is on
///
/// Networks of a stack stay as long as there is the stack.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: clear up\n  stack network prune -f")]
pub(super) struct Prune {
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

impl Prune {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let question = "This removes all networks that nobody is on. Go on?";
        if !self.force && !confirmed("networks", question)? {
            return Ok(exit::OK);
        }
        let client = context.client().await?;
        let removed: Vec<String> = client.call("/v1/networks/prune", &()).await?;
        for name in removed {
            ui::print_line(name)?;
        }
        Ok(exit::OK)
    }
}

//! `stack network prune`

use std::io::{IsTerminal, stdin};

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
        if !self.force && !confirmed()? {
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

fn confirmed() -> Result<bool, Error> {
    if !stdin().is_terminal() {
        return Err(Error::Usage {
            message: "there is nobody to ask whether networks shall be removed".to_owned(),
            help: Some("say so with --force".to_owned()),
        });
    }
    ui::say("This removes all networks that nobody is on. Go on? [y/N]");
    let mut answer = String::new();
    let read = stdin().read_line(&mut answer);
    let yes = matches!(answer.trim(), "y" | "Y" | "yes");
    Ok(read.is_ok() && yes)
}

//! `stack completion`

use clap_complete::{Shell, generate};

use crate::error::Error;
use crate::{args, exit, ui};

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: complete commands and options in bash, from the next shell on\n  \
                  stack completion bash > ~/.local/share/bash-completion/completions/stack"
)]
pub(crate) struct Completion {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completion {
    pub(super) fn run(self) -> Result<u8, Error> {
        let mut script = Vec::new();
        generate(self.shell, &mut args::command(), "stack", &mut script);
        ui::print(String::from_utf8_lossy(&script))?;
        Ok(exit::OK)
    }
}

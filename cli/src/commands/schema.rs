//! `stack schema`

use std::path::PathBuf;

use crate::error::Error;
use crate::{exit, ui};

/// Print the JSON Schema of stack files
///
/// With it, editors complete and check a stack file while it is written, and
/// explain each attribute. Tell the editor with a comment in the first line:
///
///   # yaml-language-server: $schema=./stack.schema.json
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: put it beside the stack file\n  \
                  stack schema -o stack.schema.json")]
pub(crate) struct Schema {
    /// Write into a file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Schema {
    pub(super) fn run(self) -> Result<u8, Error> {
        let schema = serde_json::to_string_pretty(&stack_planner::json_schema());
        let text = schema.map_err(|error| Error::Output(error.into()))? + "\n";
        ui::print_into(self.output, text)?;
        Ok(exit::OK)
    }
}

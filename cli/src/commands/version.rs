//! `stack version`

use stack_api::request;

use crate::client::daemon;
use crate::context::Context;
use crate::error::Error;
use crate::{exit, ui};

/// Show the versions of stack and of the running stackd
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: the bare number, for scripts\n  stack version --short")]
pub(crate) struct Version {
    /// Only this program's number
    #[arg(short, long)]
    short: bool,

    /// pretty or json
    #[arg(
        short = 'f',
        short_alias = 'F',
        long,
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    format: Format,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    #[default]
    Pretty,
    Json,
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

impl Version {
    /// The daemon is asked if it runs; it is not started for this.
    pub(super) async fn run(self, _context: &Context) -> Result<u8, Error> {
        if self.short {
            ui::print_line(VERSION)?;
            return Ok(exit::OK);
        }
        let running: Option<request::Version> = match daemon::running().await {
            Some(client) => client.get("/v1/version").await.ok(),
            None => None,
        };
        match self.format {
            Format::Json => ui::print_line(serde_json::json!({
                "version": VERSION,
                "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
                "daemon": running,
            }))?,
            Format::Pretty => {
                let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
                ui::print_line(format_args!("stack  {VERSION} ({os}/{arch})"))?;
                match running {
                    Some(daemon) => ui::print_line(format_args!(
                        "stackd {} (API {}, process {})",
                        daemon.version, daemon.api, daemon.pid
                    ))?,
                    None => ui::print_line("stackd is not running; commands start it")?,
                }
            }
        }
        Ok(exit::OK)
    }
}

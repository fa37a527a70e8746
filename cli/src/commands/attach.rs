//! `stack attach`

use stack_api::run;

use super::session::{self, Keys, Manner};
use crate::context::{Context, containers};
use crate::error::Error;
use crate::terminal;

/// Connect this terminal with the main process of a service
///
/// What it writes from now on is shown, what is typed is its standard input
/// (with `stdin_open: true` in the stack file). The exit code is its own.
/// Ctrl-P Ctrl-Q leaves it running.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: look at a service for a while without sending it anything\n  \
                  stack attach --no-stdin --sig-proxy=false web"
)]
pub(crate) struct Attach {
    /// Keys that leave the process running
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    detach_keys: Keys,

    /// Number of the container (default: the first that runs)
    #[arg(long, value_name = "N")]
    index: Option<u32>,

    /// Do not send it what is typed
    #[arg(long)]
    no_stdin: bool,

    /// Pass signals on to it, Ctrl-C for one
    #[arg(
        long,
        value_name = "BOOL",
        default_value_t = true,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        action = clap::ArgAction::Set
    )]
    sig_proxy: bool,

    /// Service
    #[arg(value_name = "SERVICE")]
    service: String,
}

impl Attach {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let project = context.named()?;
        let client = context.client().await?;
        let existing = containers(&client, &project.name).await?;
        project.check_services(std::slice::from_ref(&self.service), &existing)?;
        let chosen = existing.iter().find(|container| {
            container.service == self.service
                && !container.one_off
                && self.index.is_none_or(|n| n == container.number)
        });
        let tty = chosen.is_some_and(|container| container.tty)
            && !self.no_stdin
            && terminal::is_interactive();
        let request = run::Attach {
            service: self.service,
            index: self.index,
            size: if tty { terminal::size() } else { None },
            ..run::Attach::default()
        };
        let path = format!("/v1/stacks/{}/attach", project.name);
        let (io, _connection) = client.upgrade(&path, &request).await?;
        let manner = Manner {
            tty,
            no_stdin: self.no_stdin,
            // What comes through a pipe is no keys.
            detach: tty.then_some(self.detach_keys),
            pass_signals: self.sig_proxy && !tty,
        };
        session::run(io, &manner).await
    }
}

//! `stack exec`

use stack_api::request::ExecRequest;

use super::session::{self, Manner, Terminal};
use crate::context::{Context, containers};
use crate::error::Error;
use crate::terminal;

/// Run a command in a running container
///
/// With a terminal on standard input and output the command gets one as well;
/// otherwise standard input is piped to it, and its standard output and
/// standard error stay apart. The exit code is the command's.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: a shell in the first container of a service, and a dump through a pipe\n  \
                  stack exec web sh\n  \
                  stack exec -T db pg_dump -U postgres shop > shop.sql"
)]
pub(crate) struct Exec {
    #[command(flatten)]
    terminal: Terminal,

    /// Start it and do not wait for it
    #[arg(short, long)]
    detach: bool,

    /// Environment variable; without a value, the one it has here or in `.env`
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,

    /// User (and group) to run as
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,

    /// Directory to run in
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,

    /// Number of the container (default: the first that runs)
    #[arg(long, value_name = "N")]
    index: Option<u32>,

    /// Give it all capabilities
    #[arg(long)]
    privileged: bool,

    /// Service
    #[arg(value_name = "SERVICE")]
    service: String,

    /// Command and its arguments
    #[arg(
        value_name = "COMMAND",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub(crate) command: Vec<String>,
}

impl Exec {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let services = std::slice::from_ref(&self.service);
        let project = context.named()?;
        let client = context.client().await?;
        let env = |entry: &String| match project.environment.get(entry) {
            Some(value) => format!("{entry}={value}"),
            None => with_value(entry),
        };
        let tty = !self.detach && self.terminal.is_wanted();
        let stdin = self.terminal.interactive && !self.detach;
        let request = ExecRequest {
            service: self.service.clone(),
            index: self.index,
            args: self.command,
            env: self.env.iter().map(env).collect(),
            cwd: self.workdir,
            user: self.user,
            tty,
            size: if tty { terminal::size() } else { None },
            stdin,
            privileged: self.privileged,
            detach: self.detach,
            sync: false,
            at_rest: false,
        };
        match client.exec(&project.name, &request).await {
            Ok((io, _connection)) => {
                let manner = Manner {
                    // Ctrl-C would be one of its keys, which it does not get.
                    tty: tty && stdin,
                    no_stdin: !stdin,
                    ..Manner::default()
                };
                session::run(io, &manner).await
            }
            Err(error) => {
                // A name that is not there says more than "not running".
                project.check_services(services, &containers(&client, &project.name).await?)?;
                Err(error)
            }
        }
    }
}

/// `NAME` becomes `NAME=value`, as Docker does.
pub(super) fn with_value(entry: &str) -> String {
    match (entry.contains('='), std::env::var(entry)) {
        (false, Ok(value)) => format!("{entry}={value}"),
        _ => entry.to_owned(),
    }
}

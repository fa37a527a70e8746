//! `stack exec`

mod session;

use std::ffi::{OsStr, OsString};
use std::io::Read;

use stack_api::request::ExecRequest;

use crate::args::Global;
use crate::context::{Context, containers};
use crate::error::Error;
use crate::{detach, exit, terminal};

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
    /// Do not give the command a terminal
    #[arg(short = 'T', long)]
    no_tty: bool,

    /// Give it a terminal and keep standard input open; this is the default
    #[arg(short, long, hide = true)]
    interactive: bool,

    /// As --interactive, for `-it`
    #[arg(short, long, hide = true)]
    tty: bool,

    /// Start it and do not wait for it
    #[arg(short, long)]
    detach: bool,

    /// Environment variable; without a value, the one it has here
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

    /// Keep the process of a detached command alive: say when it has started,
    /// then stay until it ends
    #[arg(long, hide = true)]
    hold: bool,

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
        if self.detach {
            return self.hand_over(context);
        }
        let services = std::slice::from_ref(&self.service);
        let project = context.named()?;
        let client = context.client().await?;
        let tty = !self.no_tty && !self.hold && terminal::is_interactive();
        let request = ExecRequest {
            service: self.service.clone(),
            index: self.index,
            args: self.command,
            env: self.env.iter().map(|entry| with_value(entry)).collect(),
            cwd: self.workdir,
            user: self.user,
            tty,
            size: if tty { terminal::size() } else { None },
            stdin: !self.hold,
            privileged: self.privileged,
        };
        match client.exec(&project.name, &request).await {
            Ok((io, _connection)) if self.hold => {
                session::hold(io).await?;
                Ok(exit::OK)
            }
            Ok((io, _connection)) => session::run(io, tty).await,
            Err(error) => {
                // A name that is not there says more than "not running".
                project.check_services(services, &containers(&client, &project.name).await?)?;
                Err(error)
            }
        }
    }

    /// Starts this program again, without a terminal, to stay with the
    /// command; gives control back as soon as the command runs.
    fn hand_over(self, context: &Context) -> Result<u8, Error> {
        let failed = |error: std::io::Error| Error::File {
            doing: "cannot start",
            path: std::env::current_exe().unwrap_or_default(),
            source: error,
        };
        let program = std::env::current_exe().map_err(failed)?;
        let again = self.again(&context.global);
        let again: Vec<&OsStr> = again.iter().map(AsRef::as_ref).collect();
        let mut child = detach::holder(&program, &again).map_err(failed)?;
        let mut word = String::new();
        if let Some(out) = child.stdout.take() {
            out.take(64).read_to_string(&mut word).map_err(failed)?;
        }
        if word.trim() == session::STARTED {
            return Ok(exit::OK);
        }
        // It has said on standard error what went wrong.
        let status = child.wait().map_err(failed)?;
        Ok(status
            .code()
            .map_or(exit::FAILURE, exit::clamp)
            .max(exit::FAILURE))
    }

    /// The same call with `--hold` in place of `--detach`.
    fn again(self, global: &Global) -> Vec<OsString> {
        let mut args = global.to_args();
        args.extend(["exec".into(), "--hold".into()]);
        let mut option = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                args.push(format!("--{name}={value}").into());
            }
        };
        for entry in &self.env {
            option("env", Some(with_value(entry)));
        }
        option("user", self.user);
        option("workdir", self.workdir);
        option("index", self.index.map(|n| n.to_string()));
        if self.privileged {
            args.push("--privileged".into());
        }
        args.push("--".into());
        args.push(self.service.into());
        args.extend(self.command.into_iter().map(OsString::from));
        args
    }
}

/// `NAME` becomes `NAME=value`, as Docker does.
fn with_value(entry: &str) -> String {
    match (entry.contains('='), std::env::var(entry)) {
        (false, Ok(value)) => format!("{entry}={value}"),
        _ => entry.to_owned(),
    }
}

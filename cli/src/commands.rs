//! The commands, one file each.

mod attach;
mod completion;
mod config;
mod convert;
mod doctor;
mod down;
mod events;
mod exec;
mod exit_codes;
mod explain;
mod fmt;
mod graph;
mod history;
mod images;
mod init;
mod lifecycle;
mod lint;
mod load;
mod lock;
mod logs;
mod ls;
mod network;
mod plan;
mod port;
mod ps;
mod pull;
mod rollback;
mod run;
mod schema;
mod session;
mod up;
mod version;
mod watch;

use clap::Subcommand;

use crate::context::Context;
use crate::error::Error;

/// Services on the command line.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Services {
    /// Services (default: all)
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Up(up::Up),
    Down(down::Down),
    Ps(ps::Ps),
    Logs(logs::Logs),
    Watch(watch::Watch),
    Exec(exec::Exec),
    Run(Box<run::Run>),
    Attach(attach::Attach),
    Events(events::Events),
    Plan(plan::Plan),
    History(history::History),
    Rollback(rollback::Rollback),
    Config(Box<config::Config>),
    Graph(graph::Graph),
    Schema(schema::Schema),
    Fmt(fmt::Fmt),
    Lint(lint::Lint),
    Convert(convert::Convert),
    Init(init::Init),
    Start(lifecycle::Start),
    Stop(lifecycle::Stop),
    Restart(lifecycle::Restart),
    Kill(lifecycle::Kill),
    Rm(lifecycle::Rm),
    Pause(lifecycle::Pause),
    Unpause(lifecycle::Unpause),
    Pull(pull::Pull),
    Load(load::Load),
    Images(images::Images),
    Lock(lock::Lock),
    Ls(ls::Ls),
    Network(network::Network),
    Port(port::Port),
    Explain(explain::Explain),
    Doctor(doctor::Doctor),
    Version(version::Version),
    Completion(completion::Completion),
    #[command(hide = true)]
    ExitCodes(exit_codes::ExitCodes),
}

/// Runs a command; gives the exit code.
///
/// # Errors
/// It failed.
pub(crate) fn run(command: Command, context: &Context) -> Result<u8, Error> {
    match command {
        Command::Config(command) => wait(command.run(context)),
        Command::Completion(command) => command.run(),
        Command::Explain(command) => command.run(context),
        Command::ExitCodes(command) => command.run(),
        Command::Schema(command) => command.run(),
        Command::Init(command) => command.run(context),
        Command::Convert(command) => command.run(context),
        Command::Lint(command) => command.run(context),
        Command::Fmt(command) => command.run(context),
        Command::Up(command) => wait(command.run(context)),
        Command::Down(command) => wait(command.run(context)),
        Command::Ps(command) => wait(command.run(context)),
        Command::Logs(command) => wait(command.run(context)),
        Command::Watch(command) => wait(command.run(context)),
        Command::Exec(command) => wait(command.run(context)),
        Command::Run(command) => wait(command.run(context)),
        Command::Attach(command) => wait(command.run(context)),
        Command::Events(command) => wait(command.run(context)),
        Command::Graph(command) => wait(command.run(context)),
        Command::Plan(command) => wait(command.run(context)),
        Command::History(command) => wait(command.run(context)),
        Command::Rollback(command) => wait(command.run(context)),
        Command::Start(command) => wait(command.run(context)),
        Command::Stop(command) => wait(command.run(context)),
        Command::Restart(command) => wait(command.run(context)),
        Command::Kill(command) => wait(command.run(context)),
        Command::Rm(command) => wait(command.run(context)),
        Command::Pause(command) => wait(command.run(context)),
        Command::Unpause(command) => wait(command.run(context)),
        Command::Pull(command) => wait(command.run(context)),
        Command::Load(command) => wait(command.run(context)),
        Command::Images(command) => wait(command.run(context)),
        Command::Lock(command) => wait(command.run(context)),
        Command::Ls(command) => wait(command.run(context)),
        Command::Network(command) => wait(command.run(context)),
        Command::Port(command) => wait(command.run(context)),
        Command::Doctor(command) => wait(command.run(context)),
        Command::Version(command) => wait(command.run(context)),
    }
}

/// Runs what talks to the daemon, on this thread.
fn wait(command: impl Future<Output = Result<u8, Error>>) -> Result<u8, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime
        .map_err(|error| Error::Lost(error.to_string()))?
        .block_on(command)
}

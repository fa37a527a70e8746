//! The commands, one file each.

mod attach;
mod build;
mod commit;
mod completion;
mod config;
mod confirm;
mod convert;
mod cp;
mod create;
mod debug;
mod doctor;
mod down;
mod events;
mod exec;
mod exit_codes;
mod explain;
mod export;
mod filters;
mod fmt;
mod graph;
mod history;
mod image;
mod images;
mod init;
mod lifecycle;
mod lint;
mod load;
mod lock;
mod logs;
mod ls;
mod net;
mod network;
mod plan;
mod port;
mod ps;
mod pull;
mod push;
mod rollback;
mod run;
mod save;
mod scale;
mod schema;
mod session;
mod stats;
mod system;
mod top;
mod up;
mod version;
mod volume;
mod volumes;
mod wait;
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
    Create(create::Create),
    Scale(scale::Scale),
    Wait(wait::Wait),
    Top(top::Top),
    Stats(stats::Stats),
    Cp(cp::Cp),
    Export(export::Export),
    Commit(commit::Commit),
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
    Build(Box<build::Build>),
    Pull(pull::Pull),
    Push(push::Push),
    Load(load::Load),
    Save(save::Save),
    Images(images::Images),
    Image(image::Image),
    Lock(lock::Lock),
    Ls(ls::Ls),
    Net(net::Net),
    Network(network::Network),
    Volume(volume::Volume),
    Volumes(volumes::Volumes),
    System(system::System),
    Port(port::Port),
    Explain(explain::Explain),
    Doctor(doctor::Doctor),
    Debug(debug::Debug),
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
        Command::Config(command) => block_on(command.run(context)),
        Command::Completion(command) => command.run(),
        Command::Explain(command) => command.run(context),
        Command::ExitCodes(command) => command.run(),
        Command::Schema(command) => command.run(),
        Command::Init(command) => command.run(context),
        Command::Convert(command) => command.run(context),
        Command::Lint(command) => command.run(context),
        Command::Fmt(command) => command.run(context),
        Command::Up(command) => block_on(command.run(context)),
        Command::Down(command) => block_on(command.run(context)),
        Command::Ps(command) => block_on(command.run(context)),
        Command::Logs(command) => block_on(command.run(context)),
        Command::Watch(command) => block_on(command.run(context)),
        Command::Exec(command) => block_on(command.run(context)),
        Command::Run(command) => block_on(command.run(context)),
        Command::Attach(command) => block_on(command.run(context)),
        Command::Create(command) => block_on(command.run(context)),
        Command::Scale(command) => block_on(command.run(context)),
        Command::Wait(command) => block_on(command.run(context)),
        Command::Top(command) => block_on(command.run(context)),
        Command::Stats(command) => block_on(command.run(context)),
        Command::Cp(command) => block_on(command.run(context)),
        Command::Export(command) => block_on(command.run(context)),
        Command::Commit(command) => block_on(command.run(context)),
        Command::Push(command) => block_on(command.run(context)),
        Command::Save(command) => block_on(command.run(context)),
        Command::Image(command) => block_on(command.run(context)),
        Command::System(command) => block_on(command.run(context)),
        Command::Events(command) => block_on(command.run(context)),
        Command::Graph(command) => block_on(command.run(context)),
        Command::Plan(command) => block_on(command.run(context)),
        Command::History(command) => block_on(command.run(context)),
        Command::Rollback(command) => block_on(command.run(context)),
        Command::Start(command) => block_on(command.run(context)),
        Command::Stop(command) => block_on(command.run(context)),
        Command::Restart(command) => block_on(command.run(context)),
        Command::Kill(command) => block_on(command.run(context)),
        Command::Rm(command) => block_on(command.run(context)),
        Command::Pause(command) => block_on(command.run(context)),
        Command::Unpause(command) => block_on(command.run(context)),
        Command::Build(command) => block_on(command.run(context)),
        Command::Pull(command) => block_on(command.run(context)),
        Command::Load(command) => block_on(command.run(context)),
        Command::Images(command) => block_on(command.run(context)),
        Command::Lock(command) => block_on(command.run(context)),
        Command::Ls(command) => block_on(command.run(context)),
        Command::Net(command) => block_on(command.run(context)),
        Command::Network(command) => block_on(command.run(context)),
        Command::Volume(command) => block_on(command.run(context)),
        Command::Volumes(command) => block_on(command.run(context)),
        Command::Port(command) => block_on(command.run(context)),
        Command::Debug(command) => block_on(command.run(context)),
        Command::Doctor(command) => block_on(command.run(context)),
        Command::Version(command) => block_on(command.run(context)),
    }
}

/// Runs what talks to the daemon, on this thread.
fn block_on(command: impl Future<Output = Result<u8, Error>>) -> Result<u8, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime
        .map_err(|error| Error::Lost(error.to_string()))?
        .block_on(command)
}

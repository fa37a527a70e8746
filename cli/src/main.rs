//! The `stack` command: reads stack files with the planner, asks the daemon
//! to make them so, and shows what happens.
//!
//! It decides nothing that the planner or the daemon should. Standard output
//! is data, standard error is talk.

mod annotate;
mod args;
mod builds;
mod client;
mod commands;
mod context;
mod detach;
mod error;
mod exit;
mod exits;
mod interrupt;
mod logs;
mod output;
mod paths;
mod progress;
mod project;
mod proxies;
mod source;
mod terminal;
mod ui;
mod watch;

use std::process::ExitCode;

use context::Context;
use ui::Ui;

fn main() -> ExitCode {
    let mut cli = match args::parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() {
                exit::USAGE
            } else {
                exit::OK
            };
            // Nobody to show it to is no reason for another error.
            drop(error.print());
            return ExitCode::from(code);
        }
    };
    project::complete_options(&mut cli.global);
    let context = Context {
        ui: Ui::new(cli.global.ansi),
        global: cli.global,
    };
    match commands::run(cli.command, &context) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            context.tell(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

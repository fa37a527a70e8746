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
    let ui = Ui::new(cli.global.ansi);
    let form = cli.global.diagnostics;
    let annotate = cli.global.annotate;
    let context = Context {
        ui,
        global: cli.global,
    };
    match commands::run(cli.command, &context) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            if !error.is_silent() {
                if !error.is_annotated() {
                    annotate.failure(&error, None);
                }
                project::diagnostics::failure(ui, form, &error);
            }
            ExitCode::from(error.exit_code())
        }
    }
}

//! `--build=false`, `-d=true`: as in Docker Compose, every option that is
//! either there or not may say which. Help says nothing of it: such command
//! lines are read a second time, with other options.

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command};

/// Does one of the arguments look like such an option?
pub(super) fn are_in(args: &[OsString]) -> bool {
    let value = |arg: &OsString| {
        let arg = arg.to_str().filter(|arg| arg.starts_with('-'))?;
        boolean(arg.rsplit_once('=')?.1).ok()
    };
    args.iter().any(|arg| value(arg).is_some())
}

/// The command line with such options.
pub(super) fn taken_by(command: Command) -> Command {
    command.mut_args(option).mut_subcommands(taken_by)
}

fn option(arg: Arg) -> Arg {
    if !matches!(arg.get_action(), ArgAction::SetTrue) {
        return arg;
    }
    arg.action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_value("false")
        .default_missing_value("true")
        .value_parser(boolean)
}

/// The words of Go's `strconv.ParseBool`.
fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("true or false".to_owned()),
    }
}

//! The command line: what is common to all commands.

mod booleans;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Styles};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, CommandFactory, FromArgMatches, Parser};

use crate::annotate::Annotate;
use crate::commands::Command;
use crate::progress;
use crate::project::diagnostics;
use crate::ui::Ansi;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default())
    .placeholder(AnsiColor::Cyan.on_default().dimmed());

/// Heading of the options that every command takes.
const PROJECT: &str = "Project options";

/// Docker Compose for micro-VMs: each service of a stack file runs in its own
/// virtual machine.
#[derive(Debug, Parser)]
#[command(
    name = "stack",
    version,
    styles = STYLES,
    disable_help_subcommand = false,
    subcommand_required = true,
    arg_required_else_help = true,
    // As in Docker Compose: `up -d -d`, and the last of several values. An
    // alias or a script may have given the option already.
    args_override_self = true,
    after_help = "Example: start the stack in this directory and see what runs\n  \
                  stack up -d --wait && stack ps"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Global {
    /// Stack file; several are merged in order, `-` is standard input
    /// [env: COMPOSE_FILE]
    #[arg(short, long = "file", value_name = "FILE", help_heading = PROJECT)]
    pub(crate) files: Vec<PathBuf>,

    /// File with variables, instead of `.env`; the last one wins
    #[arg(long = "env-file", value_name = "FILE", help_heading = PROJECT)]
    pub(crate) env_files: Vec<PathBuf>,

    /// Profile to enable; `*` enables all [env: COMPOSE_PROFILES]
    #[arg(long = "profile", value_name = "NAME", help_heading = PROJECT)]
    pub(crate) profiles: Vec<String>,

    /// Project name [env: COMPOSE_PROJECT_NAME]
    #[arg(short, long, global = true, value_name = "NAME", help_heading = PROJECT)]
    pub(crate) project_name: Option<String>,

    /// Directory that relative paths start from (default: the first file's)
    #[arg(long, global = true, value_name = "DIR", help_heading = PROJECT)]
    pub(crate) project_directory: Option<PathBuf>,

    /// When to use colours
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "WHEN",
        env = "COMPOSE_ANSI",
        hide_env_values = true,
        default_value_t,
        hide_possible_values = true,
        help_heading = PROJECT,
        help = "Colours: auto, always or never"
    )]
    pub(crate) ansi: Ansi,

    /// How to show what is wrong in stack files
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "FORM",
        default_value_t,
        hide_possible_values = true,
        hide_default_value = true,
        help_heading = PROJECT,
        help = "What is wrong in stack files, on standard error: human, or json (one object per \
                line)"
    )]
    pub(crate) diagnostics: diagnostics::Form,

    /// Annotations for a CI system
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "SYSTEM",
        env = "STACK_ANNOTATE",
        hide_env_values = true,
        default_value_t,
        hide_possible_values = true,
        hide_default_value = true,
        help_heading = PROJECT,
        help = "What is wrong, for a CI system: auto, github, gitlab or off"
    )]
    pub(crate) annotate: Annotate,

    /// How to show progress
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "MODE",
        env = "COMPOSE_PROGRESS",
        hide_env_values = true,
        default_value_t,
        hide_possible_values = true,
        help_heading = PROJECT,
        help = "Progress: auto, tty, plain, json or quiet"
    )]
    pub(crate) progress: progress::Mode,

    /// Neither option nor environment variable said how to use colours.
    #[arg(skip)]
    pub(crate) ansi_is_open: bool,

    /// Neither option nor environment variable said how to show progress.
    #[arg(skip)]
    pub(crate) progress_is_open: bool,
}

/// Options that may be given several times, before and after the command:
/// id before, id after.
const REPEATED: [(&str, &str); 3] = [
    ("files", "files-after"),
    ("env_files", "env-files-after"),
    ("profiles", "profiles-after"),
];

/// The whole command line as clap sees it: the repeated options are accepted
/// after the command as well. Short forms are, too, where they mean
/// nothing else (`logs -f` follows, `run -p` publishes).
pub(crate) fn command() -> clap::Command {
    let top = Cli::command().max_term_width(100);
    let repeated: Vec<Arg> = REPEATED
        .iter()
        .filter_map(|(before, after)| {
            let arg = top.get_arguments().find(|arg| arg.get_id() == before)?;
            Some(arg.clone().id(*after))
        })
        .collect();
    let global: Vec<Arg> = top
        .get_arguments()
        .filter(|arg| arg.is_global_set())
        .cloned()
        .collect();
    top.mut_subcommands(|command| {
        let command = compact(command);
        if matches!(
            command.get_name(),
            "version" | "completion" | "exit-codes" | "explain"
        ) {
            return command;
        }
        let is_taken = |short| {
            command
                .get_arguments()
                .any(|arg| arg.get_short() == Some(short))
        };
        let args = repeated.iter().cloned().map(|arg| match arg.get_short() {
            Some(short) if is_taken(short) => arg.short(None),
            _ => arg,
        });
        let mut args: Vec<Arg> = args.collect();
        // What a command has itself does not come down to it.
        let clashes = |arg: &&Arg| arg.get_short().is_some_and(is_taken);
        args.extend(
            global
                .iter()
                .filter(clashes)
                .cloned()
                .map(|arg| arg.short(None)),
        );
        command.args(args)
    })
}

/// One line per option in `--help` as in `-h`: what the command's description
/// has beyond its first sentence goes below the options, before the example.
fn compact(command: clap::Command) -> clap::Command {
    let long = command
        .get_long_about()
        .map(ToString::to_string)
        .unwrap_or_default();
    let Some((_, details)) = long.split_once("\n\n") else {
        return command;
    };
    let example = command
        .get_after_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    let below = format!("{}\n\n{example}", details.trim_end());
    command.long_about(None).after_help(below)
}

/// Parses the arguments of this process.
///
/// # Errors
/// Wrong use, or a wish for help: clap knows how to show both.
pub(crate) fn parse() -> Result<Cli, clap::Error> {
    parse_from(std::env::args_os())
}

fn parse_from(args: impl IntoIterator<Item = impl Into<OsString>>) -> Result<Cli, clap::Error> {
    let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
    let matches = match command().try_get_matches_from(&args) {
        Err(error) if error.use_stderr() && booleans::are_in(&args) => {
            let again = booleans::taken_by(command()).try_get_matches_from(&args);
            again.map_err(|_| error)?
        }
        matches => matches?,
    };
    let mut cli = Cli::from_arg_matches(&matches)?;
    let is_open = |id| matches.value_source(id) == Some(ValueSource::DefaultValue);
    cli.global.ansi_is_open = is_open("ansi");
    cli.global.progress_is_open = is_open("progress");
    if let Some((_, sub)) = matches.subcommand() {
        cli.global
            .files
            .extend(values::<PathBuf>(sub, "files-after"));
        cli.global
            .env_files
            .extend(values::<PathBuf>(sub, "env-files-after"));
        cli.global
            .profiles
            .extend(values::<String>(sub, "profiles-after"));
    }
    Ok(cli)
}

fn values<T: Clone + Send + Sync + 'static>(sub: &ArgMatches, id: &str) -> Vec<T> {
    // Commands without the option have no values of it.
    let found = sub.try_get_many::<T>(id).ok().flatten();
    found.into_iter().flatten().cloned().collect()
}

#[cfg(test)]
mod compose_options;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clap_finds_no_contradiction() {
        command().debug_assert();
    }

    #[test]
    fn files_are_taken_on_both_sides() {
        let args = [
            "stack",
            "-f",
            "a.yaml",
            "up",
            "-d",
            "-f",
            "b.yaml",
            "--profile",
            "x",
        ];
        let cli = parse_from(args).unwrap();
        assert_eq!(
            cli.global.files,
            [PathBuf::from("a.yaml"), PathBuf::from("b.yaml")]
        );
        assert_eq!(cli.global.profiles, ["x"]);
    }

    #[test]
    fn logs_f_follows() {
        let cli = parse_from(["stack", "logs", "-f", "web", "--file", "c.yaml"]).unwrap();
        assert_eq!(cli.global.files, [PathBuf::from("c.yaml")]);
        let Command::Logs(logs) = cli.command else {
            panic!("not logs")
        };
        assert!(logs.follow);
    }

    #[test]
    fn run_p_publishes() {
        let args = ["stack", "-p", "shop", "run", "-p", "80", "web", "ls", "-p"];
        let cli = parse_from(args).unwrap();
        assert_eq!(cli.global.project_name.as_deref(), Some("shop"));
        let args = ["stack", "run", "--project-name", "shop", "web"];
        let cli = parse_from(args).unwrap();
        assert_eq!(cli.global.project_name.as_deref(), Some("shop"));
    }

    #[test]
    fn an_option_may_be_given_again() {
        let args = [
            "stack", "-p", "a", "-p", "b", "logs", "-t", "-t", "-n1", "-n2",
        ];
        let cli = parse_from(args).unwrap();
        assert_eq!(cli.global.project_name.as_deref(), Some("b"));
        let args = ["stack", "-f", "a", "-f", "b", "up", "-d", "-d"];
        assert_eq!(parse_from(args).unwrap().global.files.len(), 2);
    }

    #[test]
    fn what_is_there_or_not_may_say_so() {
        booleans::taken_by(command()).debug_assert();
        let up = |args: &[&str]| {
            let all = ["stack", "up"].iter().chain(args);
            let cli = parse_from(all).map_err(|error| error.to_string())?;
            let Command::Up(up) = cli.command else {
                panic!("not up")
            };
            Ok::<_, String>(format!("{up:?}"))
        };
        let plain = up(&["-d"]).unwrap();
        assert_eq!(up(&["-d=true", "--build=false"]).unwrap(), plain);
        assert_eq!(up(&["--build", "-d", "--build=f"]).unwrap(), plain);
        assert_ne!(up(&["--build=1", "-d"]).unwrap(), plain);
        let error = up(&["--build=maybe"]).unwrap_err();
        assert!(error.contains("--build"), "{error}");
        assert!(up(&["--bulid=true"]).is_err());
        let args = ["stack", "exec", "-T=true", "web", "ls", "--color=true"];
        let Command::Exec(exec) = parse_from(args).unwrap().command else {
            panic!("not exec")
        };
        assert_eq!(exec.command, ["ls", "--color=true"]);
    }

    #[test]
    fn exec_leaves_the_words_of_its_command_alone() {
        let args = [
            "stack",
            "exec",
            "-T",
            "web",
            "ls",
            "-f",
            "-p",
            "--profile",
            "x",
        ];
        let cli = parse_from(args).unwrap();
        assert!(cli.global.files.is_empty());
        let Command::Exec(exec) = cli.command else {
            panic!("not exec")
        };
        assert_eq!(exec.command, ["ls", "-f", "-p", "--profile", "x"]);
    }

    #[test]
    fn every_command_has_an_example() {
        for command in command().get_subcommands() {
            let help = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(
                help.contains("stack "),
                "{} has no example",
                command.get_name()
            );
        }
    }
}

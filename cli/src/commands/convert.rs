//! `stack convert`

use std::io::{IsTerminal, Read};
use std::path::PathBuf;

use clap::Parser;
use stack_planner::Source;
use stack_planner::convert::{self, Converted};

use crate::context::Context;
use crate::error::Error;
use crate::project::Phases;
use crate::source::Files;
use crate::{exit, ui};

/// Turn `docker run` lines into a stack file, or a stack into such lines
///
/// Lines come as words, as one quoted text, from a file or from standard input;
/// they may go on after a backslash, and there may be several. `podman run`,
/// `docker network create` and `docker volume create` are understood as well.
/// What has no counterpart is in a comment, and is said.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples: a stack file from a line, and lines from a stack\n  \
                  stack convert docker run -d --name web -p 8080:80 nginx:1.27 > stack.yaml\n  \
                  stack convert --to docker-run"
)]
pub(crate) struct Convert {
    /// The command; with --to docker-run: services (default: all)
    #[arg(
        value_name = "WORD",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    words: Vec<String>,

    /// File with commands; `-` is standard input
    #[arg(short, long, value_name = "PATH", conflicts_with = "words")]
    input: Option<PathBuf>,

    /// stack: a stack file, or docker-run: command lines
    #[arg(long, value_enum, default_value_t, hide_possible_values = true)]
    to: To,

    /// Write into a file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum To {
    #[default]
    Stack,
    DockerRun,
}

/// Options behind a quoted text or services, where a command's own would be.
#[derive(Debug, clap::Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct Late {
    words: Vec<String>,

    #[arg(long, value_enum)]
    to: Option<To>,

    #[arg(short, long)]
    output: Option<PathBuf>,
}

impl Convert {
    pub(super) fn run(mut self, context: &Context) -> Result<u8, Error> {
        self.take_late_options()?;
        let converted = match self.to {
            To::Stack => self.stack()?,
            To::DockerRun => self.docker_run(context)?,
        };
        for note in &converted.notes {
            context.ui.warn(note);
        }
        match &self.output {
            Some(path) => std::fs::write(path, converted.text).map_err(|source| Error::File {
                doing: "cannot write",
                path: path.clone(),
                source,
            })?,
            None => ui::print(converted.text)?,
        }
        Ok(exit::OK)
    }

    /// The words of a command belong to it; behind anything else options are
    /// ours.
    fn take_late_options(&mut self) -> Result<(), Error> {
        let first = self.words.first().map_or("", String::as_str);
        if convert::is_program(first) || first.contains('=') && !first.contains(' ') {
            return Ok(());
        }
        let late = Late::try_parse_from(&self.words).map_err(|_| {
            let message = format!("the options behind {first} cannot be understood");
            Error::usage(message, "options stand in front of the words")
        })?;
        self.words = late.words;
        self.to = late.to.unwrap_or(self.to);
        self.output = late.output.or(self.output.take());
        Ok(())
    }

    fn stack(&self) -> Result<Converted, Error> {
        let converted = match (self.words.as_slice(), &self.input) {
            ([], Some(path)) => convert::from_commands(&read(path)?),
            ([], None) => convert::from_commands(&standard_input()?),
            // One word is a text with its own quotes.
            ([text], _) => convert::from_commands(text),
            (words, _) => convert::from_words(words),
        };
        converted.map_err(|error| {
            Error::usage(
                error.to_string(),
                "for example: stack convert docker run -p 8080:80 nginx:1.27",
            )
        })
    }

    fn docker_run(&self, context: &Context) -> Result<Converted, Error> {
        if self.input.is_some() {
            let help = "the stack file is named with -f";
            return Err(Error::usage("--input is for `docker run` lines", help));
        }
        let phases = Phases {
            resolve_environment: true,
            ..Phases::default()
        };
        let project = context.project(&self.words, phases)?;
        Ok(convert::to_docker_run(&project, &self.words))
    }
}

fn read(path: &std::path::Path) -> Result<String, Error> {
    let failed = |why: String| Error::File {
        doing: "cannot read",
        path: path.to_path_buf(),
        source: std::io::Error::other(why),
    };
    let bytes = Files::default()
        .read(path)
        .map_err(|error| failed(error.to_string()))?;
    String::from_utf8(bytes).map_err(|_| failed("it is not UTF-8 text".to_owned()))
}

fn standard_input() -> Result<String, Error> {
    let input = std::io::stdin();
    if input.is_terminal() {
        return Err(Error::usage(
            "there is nothing to convert",
            "for example: stack convert docker run -p 8080:80 nginx:1.27",
        ));
    }
    let mut text = String::new();
    input
        .lock()
        .take(2 << 20)
        .read_to_string(&mut text)
        .map_err(|source| Error::File {
            doing: "cannot read",
            path: PathBuf::from("standard input"),
            source,
        })?;
    Ok(text)
}

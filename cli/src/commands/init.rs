//! `stack init`

mod questions;

use std::fs::OpenOptions;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use stack_planner::init::{self, Answers};

use super::fmt::replace::replace;
use crate::context::Context;
use crate::error::Error;
use crate::source::Files;
use crate::{exit, ui};

/// Write a stack file to start from
///
/// Without --template it fits what is in the folder: the files of Node.js,
/// Python, Rust, Go, Java, Ruby and PHP programs, their packages, and a
/// Dockerfile. On a terminal it asks; a stack file that is there is not
/// overwritten.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: a database to play with\n  \
                  stack init --template postgres && stack up -d --wait")]
pub(crate) struct Init {
    /// Folder (default: this one)
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,

    /// Ask nothing
    #[arg(short, long)]
    yes: bool,

    /// postgres, mysql, mariadb, mongo, redis, rabbitmq, web or web-postgres
    #[arg(short, long, value_name = "NAME")]
    template: Option<String>,

    /// Overwrite stack.yaml
    #[arg(long)]
    force: bool,

    /// Print it instead of writing it
    #[arg(long, conflicts_with = "force")]
    stdout: bool,
}

impl Init {
    pub(super) fn run(self, context: &Context) -> Result<u8, Error> {
        let given = self
            .folder
            .as_deref()
            .or(context.global.project_directory.as_deref());
        let folder = context.absolute(given.unwrap_or(Path::new(".")))?;
        let folder = std::fs::canonicalize(&folder).map_err(|source| Error::File {
            doing: "cannot find",
            path: folder.clone(),
            source,
        })?;
        if !self.force && !self.stdout {
            is_free(&folder)?;
        }
        let mut answers = self.answers(context, &folder)?;
        if let Some(name) = &context.global.project_name {
            answers.project = init::project_name(name);
        }
        let asks = !self.yes
            && !self.stdout
            && std::io::stdin().is_terminal()
            && std::io::stderr().is_terminal();
        if asks {
            questions::ask(&mut answers)?;
        }
        let text = init::stack_file(&answers);
        if self.stdout {
            ui::print(text)?;
            return Ok(exit::OK);
        }
        let path = folder.join("stack.yaml");
        self.write(&path, &text)?;
        said(context, &answers, given, &path);
        Ok(exit::OK)
    }

    fn answers(&self, context: &Context, folder: &Path) -> Result<Answers, Error> {
        let name = folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if let Some(template) = &self.template {
            return init::template(template, &name).ok_or_else(|| {
                let names: Vec<&str> = init::TEMPLATES.iter().map(|(name, _)| *name).collect();
                let help = format!("templates are: {}", names.join(", "));
                Error::usage(format!("there is no template {template}"), help)
            });
        }
        let found = init::detect(&Files::default(), folder);
        if found.nothing {
            context
                .ui
                .note("nothing in this folder says what it is for: a web server, to start with");
        } else if let Some(app) = &found.answers.app {
            context.ui.note(format_args!("found {}", app.reason));
        }
        Ok(found.answers)
    }

    fn write(&self, path: &Path, text: &str) -> Result<(), Error> {
        if self.force && path.exists() {
            return replace(path, text.as_bytes());
        }
        // Never over a file that came to be in the meantime.
        let file = OpenOptions::new().write(true).create_new(true).open(path);
        file.and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|source| Error::File {
                doing: "cannot write",
                path: path.to_path_buf(),
                source,
            })
    }
}

/// No stack file of any name is in the folder.
fn is_free(folder: &Path) -> Result<(), Error> {
    let there = stack_planner::FILE_NAMES
        .iter()
        .map(|name| folder.join(name))
        .find(|path| path.exists());
    match there {
        Some(path) => Err(Error::usage(
            format!("there is a stack file already: {}", path.display()),
            "--force overwrites stack.yaml, --stdout shows what would be written",
        )),
        None => Ok(()),
    }
}

fn said(context: &Context, answers: &Answers, given: Option<&Path>, path: &Path) {
    let mut services: Vec<&str> = answers.app.iter().map(|app| app.service.as_str()).collect();
    services.extend(answers.servers.iter().map(|server| server.name()));
    let shown = given.map_or(PathBuf::from("stack.yaml"), |_| path.to_path_buf());
    context.ui.note(format_args!(
        "wrote {} with {}",
        shown.display(),
        services.join(", ")
    ));
    let file = given.map_or(String::new(), |_| format!(" -f {}", path.display()));
    context
        .ui
        .note(format_args!("start it: stack{file} up -d --wait"));
}

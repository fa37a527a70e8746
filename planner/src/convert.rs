//! Between `docker run` and stack files, in both directions. Nothing is dropped
//! silently: what has no counterpart is said in a comment and in the notes.

mod arguments;
mod command_lines;
mod flags;
mod resources;
mod run_flags;
mod service;
#[cfg(test)]
mod tests;
mod to_run;
mod write;

use crate::project::Project;

/// Bytes of text at most.
const MAX_TEXT: usize = 1 << 20;

/// A converted text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// The stack file, or the command lines.
    pub text: String,
    /// What needs attention, in the order of the text; it is in comments as well.
    pub notes: Vec<String>,
}

/// Why nothing came of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConvertError(String);

/// A word that a command line to convert may begin with: `docker`, `podman`, …
/// or `sudo`.
pub fn is_program(word: &str) -> bool {
    word == "sudo" || write::is_program(word)
}

/// A stack file from lines with `docker run`, `docker create`, `podman run` and
/// the like; `docker network create` and `docker volume create` are understood
/// too. Lines may go on after a backslash.
///
/// # Errors
/// A line cannot be taken apart, or none of them runs a container.
pub fn from_commands(text: &str) -> Result<Converted, ConvertError> {
    if text.len() > MAX_TEXT {
        return Err(ConvertError(format!(
            "the text has more than {MAX_TEXT} bytes"
        )));
    }
    let commands = command_lines::split(text)?;
    write::stack_file(commands)
}

/// The same from the words of one command.
///
/// # Errors
/// As [`from_commands`].
pub fn from_words(words: &[String]) -> Result<Converted, ConvertError> {
    if words.iter().map(String::len).sum::<usize>() > MAX_TEXT {
        return Err(ConvertError(format!(
            "the text has more than {MAX_TEXT} bytes"
        )));
    }
    // The shell has put variables in already: what is left of them is meant.
    let words = words
        .iter()
        .map(|word| command_lines::literal(word))
        .collect();
    write::stack_file(vec![command_lines::Command { line: 1, words }])
}

/// The command lines that do with Docker what the stack does: networks and
/// volumes first, then the services in an order in which each finds what it
/// depends on. `services` are those wanted; empty is all.
pub fn to_docker_run(project: &Project, services: &[String]) -> Converted {
    to_run::lines(project, services)
}

//! The project's variables and its name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::budget::Budget;
use crate::diagnostic::{Files, Problem, Report, codes};
use crate::dotenv;
use crate::interpolate::interpolate_text;
use crate::read;
use crate::source::Source;
use crate::tree::{Node, Span};

pub(crate) const PROJECT_NAME: &str = "COMPOSE_PROJECT_NAME";

/// The variables of these environment files, the last one wins; references in
/// them look into `known` first. What is wrong with a file is not said here:
/// [`load`](crate::load) reads it again and does.
pub fn read_environment(
    source: &dyn Source,
    files: &[PathBuf],
    known: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut reader = EnvReader {
        source,
        files: &mut Files::default(),
        budget: &mut Budget::default(),
        report: &mut Report::default(),
    };
    reader.read_all(files, known, Span::NONE)
}

/// The variables of an environment file's text; references look into `known`
/// first, and are nothing when they are not there.
///
/// # Errors
/// The first mistake: its line, from 1, and what it is.
pub fn parse_environment(
    text: &str,
    known: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, (usize, String)> {
    let mut found = BTreeMap::new();
    let lookup = |name: &str| known.get(name).cloned();
    match dotenv::parse(text, &mut found, &lookup, &mut |_, _| {}) {
        Ok(()) => Ok(found),
        Err(errors) => {
            let first = errors.into_iter().next();
            let (at, message) = first.map_or((0, String::new()), |e| (e.at, e.message));
            let before = text.get(..at).unwrap_or(text);
            Err((before.matches('\n').count() + 1, message))
        }
    }
}

/// The `.env` of a folder, when there is one and `COMPOSE_DISABLE_ENV_FILE`
/// does not forbid to read it.
pub fn default_env_file(
    source: &dyn Source,
    folder: &Path,
    environment: &BTreeMap<String, String>,
) -> Option<PathBuf> {
    let off = matches!(
        environment
            .get("COMPOSE_DISABLE_ENV_FILE")
            .map(String::as_str),
        Some("1" | "t" | "T" | "true" | "TRUE" | "True")
    );
    let file = folder.join(".env");
    (!off && source.exists(&file) && !source.is_dir(&file)).then_some(file)
}

/// Where variables of a file are looked up and where the findings go.
pub(crate) struct EnvReader<'a> {
    pub(crate) source: &'a dyn Source,
    pub(crate) files: &'a mut Files,
    pub(crate) budget: &'a mut Budget,
    pub(crate) report: &'a mut Report,
}

impl EnvReader<'_> {
    /// All variables of these files, the last one wins. `at` is who asks for them.
    pub(crate) fn read_all(
        &mut self,
        paths: &[PathBuf],
        known: &BTreeMap<String, String>,
        at: Span,
    ) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        for path in paths {
            let earlier = found.clone();
            let lookup = |name: &str| known.get(name).or_else(|| earlier.get(name)).cloned();
            self.read_into(path, None, &mut found, &lookup, at);
        }
        found
    }

    /// One file. Findings are reported with their place in it.
    pub(crate) fn read_into(
        &mut self,
        path: &Path,
        format: Option<&str>,
        out: &mut BTreeMap<String, String>,
        lookup: &dyn Fn(&str) -> Option<String>,
        at: Span,
    ) {
        if self.budget.has_no_variables() {
            return;
        }
        if self.source.is_dir(path) {
            let message = format!("{} is a folder, not an environment file", path.display());
            self.report
                .push(Problem::error(codes::ENV_FILE, message).at(at, "named here"));
            return;
        }
        let text = match read::text(self.source, path) {
            Ok(text) => text,
            Err(reason) => {
                let message = format!(
                    "cannot read the environment file {}: {reason}",
                    path.display()
                );
                self.report
                    .push(Problem::error(codes::ENV_FILE, message).at(at, "named here"));
                return;
            }
        };
        if let Err(problem) = self.budget.take_variables(text.len(), at) {
            self.report.push(*problem);
            return;
        }
        if format == Some("raw") {
            dotenv::parse_raw(&text, out, lookup);
            return;
        }
        let file = self.files.add(path, text.clone());
        self.files.brought_in(file, at, "read because of this");
        let mut unset = Vec::new();
        let result = dotenv::parse(&text, out, lookup, &mut |name, at| {
            unset.push((name.to_owned(), at))
        });
        for (name, at) in unset {
            let problem = Problem::warning(
                codes::UNSET_VARIABLE,
                format!("the variable `{name}` is not set"),
            );
            self.report
                .push(problem.at(line_span(&text, file, at), "replaced by nothing"));
        }
        for error in result.err().unwrap_or_default() {
            let problem = Problem::error(codes::DOTENV, error.message);
            self.report
                .push(problem.at(line_span(&text, file, error.at), "here"));
        }
    }
}

/// From `at` to the end of its line.
fn line_span(text: &str, file: u32, at: usize) -> Span {
    let end = text
        .get(at..)
        .and_then(|rest| rest.find('\n'))
        .map_or(text.len(), |length| at + length);
    let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    Span {
        file,
        start: offset(at),
        end: offset(end),
    }
}

/// The project's name: given, from the environment, from the last file that has
/// one, or the folder's.
pub(crate) fn project_name(
    given: Option<&str>,
    environment: &BTreeMap<String, String>,
    documents: &[&Node],
    folder: &Path,
    interpolate: bool,
    files: &Files,
    report: &mut Report,
) -> String {
    let fixed = given
        .or_else(|| environment.get(PROJECT_NAME).map(String::as_str))
        .filter(|name| !name.is_empty());
    if let Some(name) = fixed {
        if clean_name(name) != name {
            let problem = Problem::error(
                codes::PROJECT_NAME,
                format!("`{name}` cannot be the name of a project"),
            );
            let help = "lower-case letters, digits, `-` and `_`, with a letter or digit first";
            report.push(problem.help(help));
        }
        return name.to_owned();
    }
    let mut named = documents
        .iter()
        .rev()
        .filter_map(|document| document.get("name"))
        .find(|name| !name.is_null())
        .cloned();
    if let Some(node) = &mut named {
        if interpolate {
            interpolate_text(node, environment, files, report);
        }
        let name = clean_name(&node.scalar_text().unwrap_or_default());
        if !name.is_empty() {
            return name;
        }
    }
    let name = clean_name(
        &folder
            .file_name()
            .map(|name| name.to_string_lossy())
            .unwrap_or_default(),
    );
    if name.is_empty() {
        let problem = Problem::error(
            codes::PROJECT_NAME,
            "the project has no name: its folder's name has no letter or digit",
        );
        report.push(problem.help("write `name:` at the top of the file"));
    }
    name
}

/// Lower case, without what a name cannot have.
fn clean_name(text: &str) -> String {
    let kept: String = text
        .to_lowercase()
        .chars()
        .filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-'))
        .collect();
    kept.trim_start_matches(['_', '-']).to_owned()
}

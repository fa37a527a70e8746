//! Annotations: what is wrong, in the form that a CI system shows beside the
//! lines of a change.
//!
//! GitHub reads commands among the output of a step. GitLab reads a report of
//! code quality from a file, which the job hands over as an artifact.

mod github;
mod gitlab;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use stack_planner::diagnostic::Position;
use stack_planner::{Diagnostic, Severity};

use crate::error::Error;
use crate::exits::Exited;
use crate::ui;

/// What has been written of failures.
static WRITTEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// The file that GitLab's report goes into, when no other is named.
const REPORT: &str = "gl-code-quality-report.json";

/// `--annotate`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Annotate {
    /// As the environment says: GitHub Actions; GitLab when a file for the
    /// report is named.
    #[default]
    Auto,
    /// Commands of GitHub Actions.
    Github,
    /// A report for GitLab.
    Gitlab,
    /// None.
    Off,
}

/// Where annotations go.
#[derive(Debug, Clone, PartialEq, Eq)]
enum To {
    Nobody,
    Github,
    Gitlab(PathBuf),
}

/// One remark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    /// It ends the command.
    pub(crate) is_error: bool,
    /// A stable word.
    pub(crate) code: String,
    /// What is wrong, and what to do.
    pub(crate) message: String,
    /// File, as written from the top of the repository, and line from 1.
    pub(crate) place: Option<(PathBuf, usize)>,
}

impl Annotate {
    fn to(self, set: impl Fn(&str) -> Option<String>) -> To {
        let report = || set("STACK_CODE_QUALITY").filter(|name| !name.is_empty());
        match self {
            Annotate::Off => To::Nobody,
            Annotate::Github => To::Github,
            Annotate::Gitlab => To::Gitlab(report().unwrap_or_else(|| REPORT.to_owned()).into()),
            Annotate::Auto if set("GITHUB_ACTIONS").as_deref() == Some("true") => To::Github,
            Annotate::Auto => match report() {
                Some(file) if set("GITLAB_CI").as_deref() == Some("true") => {
                    To::Gitlab(file.into())
                }
                _ => To::Nobody,
            },
        }
    }

    /// Writes notes. What cannot be written is told, and no more: there is
    /// something more important to say.
    pub(crate) fn write(self, notes: &[Note]) {
        if notes.is_empty() {
            return;
        }
        match self.to(|name| std::env::var(name).ok()) {
            To::Nobody => {}
            To::Github => notes.iter().for_each(|note| ui::say(github::command(note))),
            To::Gitlab(file) => {
                if let Err(error) = gitlab::add(&file, notes) {
                    ui::say(format_args!("{}: {error}", file.display()));
                }
            }
        }
    }

    /// Writes findings in files.
    pub(crate) fn findings(self, found: &[Diagnostic], text: impl Fn(&Path) -> Option<String>) {
        let note = |finding: &Diagnostic| {
            let place = finding.labels.first().and_then(|label| {
                let text = text(&label.file)?;
                let line = Position::of(&text, label.span.start).line;
                Some((from_top(&label.file), line))
            });
            Note {
                is_error: matches!(finding.severity, Severity::Error),
                code: finding.code.to_owned(),
                message: with_help(&finding.message, finding.help.as_deref()),
                place,
            }
        };
        let notes: Vec<Note> = found.iter().map(note).collect();
        self.write(&notes);
    }

    /// Writes why something failed, unless somebody has who knew the place; `places`
    /// are those of the services to blame.
    pub(crate) fn failure(self, error: &Error, places: Vec<(PathBuf, usize)>) {
        let message = with_help(&error.to_string(), error.help().as_deref());
        if !is_news(&message) {
            return;
        }
        let code = error.code().unwrap_or("failed");
        let note = |place: Option<(PathBuf, usize)>| Note {
            is_error: true,
            code: code.to_owned(),
            message: message.clone(),
            place: place.map(|(file, line)| (from_top(&file), line)),
        };
        let notes: Vec<Note> = match places.is_empty() {
            true => vec![note(None)],
            false => places.into_iter().map(Some).map(note).collect(),
        };
        self.write(&notes);
    }

    /// Writes that a container has ended badly, and everything with it.
    pub(crate) fn ended(self, exited: &Exited, place: Option<(PathBuf, usize)>) {
        if exited.code == 0 {
            return;
        }
        self.write(&[Note {
            is_error: true,
            code: "service_failed".to_owned(),
            message: format!("{} exited with code {}", exited.name, exited.code),
            place: place.map(|(file, line)| (from_top(&file), line)),
        }]);
    }
}

/// Nobody has written it yet.
fn is_news(message: &str) -> bool {
    let mut written = WRITTEN.lock().unwrap_or_else(PoisonError::into_inner);
    let is_news = !written.iter().any(|known| known == message);
    if is_news {
        written.push(message.to_owned());
    }
    is_news
}

fn with_help(message: &str, help: Option<&str>) -> String {
    match help {
        Some(help) => format!("{message}\n{help}"),
        None => message.to_owned(),
    }
}

/// The path from the top of the checkout, which is what CI systems know.
fn from_top(path: &Path) -> PathBuf {
    let tops = ["GITHUB_WORKSPACE", "CI_PROJECT_DIR"];
    let tops = tops.iter().filter_map(std::env::var_os).map(PathBuf::from);
    let here = std::env::current_dir().ok();
    tops.chain(here)
        .find_map(|top| path.strip_prefix(top).ok().map(Path::to_path_buf))
        .unwrap_or_else(|| path.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(annotate: Annotate, set: &[(&str, &str)]) -> To {
        annotate.to(|name| {
            let found = set.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_environment_decides() {
        let github = ("GITHUB_ACTIONS", "true");
        let gitlab = ("GITLAB_CI", "true");
        let report = ("STACK_CODE_QUALITY", "r.json");
        assert_eq!(to(Annotate::Auto, &[]), To::Nobody);
        assert_eq!(to(Annotate::Auto, &[github]), To::Github);
        assert_eq!(to(Annotate::Auto, &[gitlab]), To::Nobody);
        assert_eq!(to(Annotate::Auto, &[report]), To::Nobody);
        assert_eq!(
            to(Annotate::Auto, &[gitlab, report]),
            To::Gitlab("r.json".into())
        );
        assert_eq!(to(Annotate::Gitlab, &[]), To::Gitlab(REPORT.into()));
        assert_eq!(to(Annotate::Off, &[github]), To::Nobody);
    }
}

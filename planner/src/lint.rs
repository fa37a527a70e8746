//! What is legal but unwise. Every finding has a code that [`explain`] says
//! more about, and can be silenced: by a comment `# stack-lint: allow(L0001)` on
//! its line or above it, by `x-stack: {lint: {allow: [L0001]}}`, or by the caller.

mod catalog;
mod data;
mod dependencies;
mod environment;
mod images;
mod mounts;
mod ports;
mod privileges;
pub(crate) mod servers;
mod silence;
#[cfg(test)]
mod tests;
mod text;
mod unused;

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::PathBuf;

pub use catalog::{Explanation, all, explain, table};

use crate::diagnostic::{Diagnostic, Problem, Report, Severity};
use crate::project::{Parts, Project};
use crate::tree::{Node, Span, entries, items, text};

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lint {
    /// The finding, with a code of the catalogue.
    pub diagnostic: Diagnostic,
    /// A change of the file that can do no harm.
    pub fix: Option<Fix>,
}

/// Text to put into a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fix {
    /// The file.
    pub file: PathBuf,
    /// Bytes that are replaced.
    pub range: Range<usize>,
    /// What by.
    pub text: String,
}

/// Findings of a stack in the order of their places. The project should be
/// loaded with every profile, without reading `env_file`, and with unused
/// resources. `allow` has codes that are not looked for.
pub fn lint(project: &Project, allow: &BTreeSet<String>) -> Vec<Lint> {
    let parts = project.parts();
    let mut lints = Lints {
        parts,
        found: Vec::new(),
    };
    images::check(&mut lints);
    ports::check(&mut lints);
    dependencies::check(&mut lints);
    environment::check(&mut lints);
    privileges::check(&mut lints);
    mounts::check(&mut lints);
    data::check(&mut lints);
    unused::check(&mut lints);
    text::check(&mut lints);
    let mut silence = silence::Silence::new(parts, allow);
    let mut found = lints.found;
    found.retain(|(problem, _)| !silence.covers(problem));
    found.sort_by_key(|(problem, _)| (problem.labels.first().map(|(span, _)| *span), problem.code));
    found
        .into_iter()
        .filter_map(|(problem, fix)| finish(problem, fix, parts))
        .collect()
}

fn finish(problem: Problem, fix: Option<(Span, String)>, parts: &Parts) -> Option<Lint> {
    let mut report = Report::default();
    report.push(problem);
    let diagnostic = report.finish(&parts.sources).pop()?;
    let fix = fix.and_then(|(span, text)| {
        Some(Fix {
            file: parts.sources.path(span)?.to_path_buf(),
            range: span.start as usize..span.end as usize,
            text,
        })
    });
    Some(Lint { diagnostic, fix })
}

/// Rules look at the stack and put here what they find.
struct Lints<'a> {
    parts: &'a Parts,
    found: Vec<(Problem, Option<(Span, String)>)>,
}

impl<'a> Lints<'a> {
    fn services(&self) -> impl Iterator<Item = (&'a String, &'a Node)> + use<'a> {
        entries(self.parts.model.get("services"))
    }

    fn service(&self, name: &str) -> Option<&'a Node> {
        self.parts.model.at(&["services", name])
    }

    /// A finding of that code.
    fn push(&mut self, code: &'static str, message: String, then: impl FnOnce(Problem) -> Problem) {
        self.push_fixable(code, message, None, then);
    }

    fn push_fixable(
        &mut self,
        code: &'static str,
        message: String,
        fix: Option<(Span, String)>,
        then: impl FnOnce(Problem) -> Problem,
    ) {
        let severity = explain(code).map_or(Severity::Warning, |about| about.severity);
        let problem = match severity {
            Severity::Error => Problem::error(code, message),
            Severity::Warning => Problem::warning(code, message),
        };
        self.found.push((then(problem), fix));
    }

    /// What the user wrote at a place.
    fn written(&self, span: Span) -> &'a str {
        self.parts.sources.text_at(span).unwrap_or_default()
    }
}

fn is_true(node: Option<&Node>) -> bool {
    node.and_then(Node::as_bool) == Some(true)
}

/// How many containers the service has.
fn replicas(service: &Node) -> i64 {
    let count = service.get("scale").or(service.at(&["deploy", "replicas"]));
    count.and_then(Node::as_int).unwrap_or(1)
}

//! Collecting findings on the way.

use std::collections::{BTreeMap, BTreeSet};

use super::{Diagnostic, Files, Label, Severity};
use crate::tree::{Node, Span};

/// Findings at most; the rest is counted only.
const MOST: usize = 200;

/// Characters of a text in a finding at most.
const LONGEST: usize = 500;

/// A finding whose places are still spans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) code: &'static str,
    pub(crate) severity: Severity,
    pub(crate) message: String,
    pub(crate) labels: Vec<(Span, String)>,
    pub(crate) help: Option<String>,
}

impl Problem {
    pub(crate) fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            message: shown(&message.into()),
            labels: Vec::new(),
            help: None,
        }
    }

    pub(crate) fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(code, message)
        }
    }

    /// Points at a place; nothing happens for a place nobody wrote.
    #[must_use]
    pub(crate) fn at(mut self, span: Span, text: impl Into<String>) -> Self {
        if !span.is_none() {
            self.labels.push((span, shown(&text.into())));
        }
        self
    }

    /// Points at a node's value.
    #[must_use]
    pub(crate) fn on(self, node: &Node, text: impl Into<String>) -> Self {
        self.at(node.value_place(), text)
    }

    #[must_use]
    pub(crate) fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(shown(&text.into()));
        self
    }

    #[must_use]
    pub(crate) fn maybe_help(mut self, text: Option<String>) -> Self {
        self.help = text.map(|text| shown(&text)).or(self.help);
        self
    }
}

/// The text as it may be shown: files are not trusted, so it is short and has
/// no control characters.
fn shown(text: &str) -> String {
    let mut out: String = text
        .chars()
        .take(LONGEST)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        out.push('…');
    }
    out
}

/// All findings so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    problems: Vec<Problem>,
    errors: usize,
    left_out: usize,
    /// Places of nodes that were given up: what else is found there follows from that.
    blamed: BTreeSet<Span>,
    /// Findings are not wanted, and nodes stay as they are.
    quiet: bool,
    /// By service: where it extends another, and the other's name.
    extended: BTreeMap<String, Vec<(Span, String)>>,
}

impl Report {
    /// Remembers that `service` extends `base` at `at`.
    pub(crate) fn extends(&mut self, service: &str, at: Span, base: &str) {
        let known = self.extended.entry(service.to_owned()).or_default();
        known.push((at, base.to_owned()));
    }

    /// Where `service` extends others.
    pub(crate) fn extended(&self, service: &str) -> &[(Span, String)] {
        self.extended.get(service).map_or(&[], Vec::as_slice)
    }

    /// A report that nobody reads: what is wrong is left as it is.
    pub(crate) fn quiet() -> Self {
        Self {
            quiet: true,
            ..Self::default()
        }
    }

    /// A new report that knows which places are to blame already.
    pub(crate) fn follow_up(&self) -> Self {
        let errors = self
            .problems
            .iter()
            .filter(|found| found.severity == Severity::Error);
        let places = errors.filter_map(|found| found.labels.first().map(|(at, _)| *at));
        Self {
            blamed: self.blamed.iter().copied().chain(places).collect(),
            ..Self::default()
        }
    }

    /// Reports `problem` and gives `node` up, so that nothing follows from it.
    pub(crate) fn blame(&mut self, node: &mut Node, problem: Problem) {
        self.push(problem);
        self.give_up(node);
    }

    /// Gives a node up whose problems have been reported.
    pub(crate) fn give_up(&mut self, node: &mut Node) {
        if self.quiet {
            return;
        }
        if !node.key.is_none() {
            self.blamed.insert(node.key);
        }
        if node.key.is_none() || node.scalar_text().is_some() {
            self.blamed.insert(node.span);
        }
        node.give_up();
    }

    pub(crate) fn push(&mut self, problem: Problem) {
        if self.quiet
            || problem
                .labels
                .iter()
                .any(|(at, _)| self.blamed.contains(at))
        {
            return;
        }
        if problem.severity == Severity::Error {
            self.errors += 1;
        }
        if self.problems.len() >= MOST {
            self.left_out += 1;
        } else if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Further findings are counted only: no need to find words for them.
    pub(crate) fn is_full(&self) -> bool {
        self.quiet || self.problems.len() >= MOST
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.errors > 0
    }

    #[cfg(test)]
    pub(crate) fn all(self) -> Vec<Problem> {
        self.problems
    }

    /// The warnings among the findings.
    pub(crate) fn warnings(self) -> Vec<Problem> {
        self.problems
            .into_iter()
            .filter(|problem| problem.severity == Severity::Warning)
            .collect()
    }

    /// Findings in the order of their first places; those without one come first.
    pub(crate) fn finish(mut self, files: &Files) -> Vec<Diagnostic> {
        self.problems
            .sort_by_key(|problem| problem.labels.first().map(|(span, _)| *span));
        let mut found: Vec<_> = self
            .problems
            .into_iter()
            .map(|problem| resolve(problem, files))
            .collect();
        if self.left_out > 0 {
            let message = format!("{} more findings are not shown", self.left_out);
            found.push(resolve(
                Problem::warning(super::codes::MORE, message),
                files,
            ));
        }
        found
    }
}

fn resolve(mut problem: Problem, files: &Files) -> Diagnostic {
    if let Some((at, _)) = problem.labels.first() {
        for (place, how) in files.way_to(*at).collect::<Vec<_>>() {
            if problem.labels.iter().all(|(span, _)| *span != place) {
                problem.labels.push((place, how.to_owned()));
            }
        }
    }
    let labels = problem.labels.into_iter().filter_map(|(span, text)| {
        let file = files.path(span)?.to_path_buf();
        // The first line of what has several is enough to point at.
        let line = files.text_at(span).and_then(|text| text.find(['\n', '\r']));
        let end = line.map_or(span.end as usize, |length| span.start as usize + length);
        Some(Label {
            file,
            span: span.start as usize..end,
            text,
        })
    });
    Diagnostic {
        code: problem.code,
        severity: problem.severity,
        message: problem.message,
        labels: labels.collect(),
        help: problem.help,
    }
}

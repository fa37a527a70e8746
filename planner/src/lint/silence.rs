//! Findings that somebody does not want to hear about.

use std::collections::{BTreeMap, BTreeSet};

use super::{entries, items};
use crate::diagnostic::{Files, Problem};
use crate::extension::KEY;
use crate::project::Parts;
use crate::tree::{Node, Span};

/// The mark in a comment.
const MARK: &str = "stack-lint: allow(";

pub(super) struct Silence<'a> {
    codes: BTreeSet<String>,
    /// Where a service begins, up to where the next one does, and its codes.
    services: Vec<(Span, Span, BTreeSet<String>)>,
    files: &'a Files,
    lines: crate::diagnostic::Lines<'a>,
    /// By file: for each line the codes that are allowed there.
    marks: BTreeMap<u32, BTreeMap<usize, BTreeSet<String>>>,
}

impl<'a> Silence<'a> {
    pub(super) fn new(parts: &'a Parts, allow: &BTreeSet<String>) -> Self {
        let mut codes = allow.clone();
        codes.extend(allowed(&parts.model));
        Self {
            codes,
            services: services(&parts.model),
            files: &parts.sources,
            lines: parts.sources.lines(),
            marks: BTreeMap::new(),
        }
    }

    /// The finding is not wanted: everywhere, or at one of its places.
    pub(super) fn covers(&mut self, problem: &Problem) -> bool {
        if self.codes.contains(problem.code) {
            return true;
        }
        if let Some((first, _)) = problem.labels.first() {
            let inside = |(from, to, _): &&(Span, Span, _)| from <= first && first < to;
            if self
                .services
                .iter()
                .filter(inside)
                .any(|(_, _, codes)| codes.contains(problem.code))
            {
                return true;
            }
        }
        problem.labels.iter().any(|(span, _)| {
            let Some((_, line)) = self.lines.place(*span) else {
                return false;
            };
            let marks = self.marks.entry(span.file).or_insert_with(|| {
                let text = self.files.text_of(span.file).unwrap_or_default();
                marks(text)
            });
            marks
                .get(&line)
                .is_some_and(|codes| codes.contains(problem.code))
        })
    }
}

/// What `x-stack` of the stack or of a service allows.
fn allowed(node: &Node) -> BTreeSet<String> {
    let listed = items(node.at(&[KEY, "lint", "allow"])).iter();
    listed.filter_map(Node::as_str).map(str::to_owned).collect()
}

/// Services as parts of their files; only those that allow something.
fn services(model: &Node) -> Vec<(Span, Span, BTreeSet<String>)> {
    let mut all: Vec<(Span, BTreeSet<String>)> = entries(model.get("services"))
        .map(|(_, service)| (service.place(), allowed(service)))
        .collect();
    // The sections of the file end its services as well.
    all.extend(entries(Some(model)).map(|(_, section)| (section.place(), BTreeSet::new())));
    all.sort();
    let ends = all
        .iter()
        .skip(1)
        .map(|(span, _)| *span)
        .chain([Span::NONE]);
    let ends: Vec<Span> = ends.collect();
    let parts = all
        .into_iter()
        .zip(ends)
        .map(|((from, codes), to)| (from, to, codes));
    parts.filter(|(_, _, codes)| !codes.is_empty()).collect()
}

/// Codes by line, counted from 1: a comment counts for its own line, and one
/// that stands alone for the next line that is none.
fn marks(text: &str) -> BTreeMap<usize, BTreeSet<String>> {
    let mut found: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    let mut above: BTreeSet<String> = BTreeSet::new();
    for (i, line) in text.lines().enumerate() {
        let mut here = codes(line);
        if line.trim_start().starts_with('#') {
            above.append(&mut here);
            continue;
        }
        here.append(&mut above);
        if !here.is_empty() {
            found.insert(i + 1, here);
        }
    }
    found
}

fn codes(line: &str) -> BTreeSet<String> {
    let Some((_, comment)) = line.split_once('#') else {
        return BTreeSet::new();
    };
    let Some((_, rest)) = comment.split_once(MARK) else {
        return BTreeSet::new();
    };
    let Some((list, _)) = rest.split_once(')') else {
        return BTreeSet::new();
    };
    list.split(',').map(|code| code.trim().to_owned()).collect()
}

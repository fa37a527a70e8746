//! Variables in values. Keys are never touched.

use std::collections::{BTreeMap, BTreeSet};

use crate::suggest;

use crate::budget::{Budget, Weight};
use crate::cast::{self, CASTS};
use crate::diagnostic::{Files, Problem, Report, codes};
use crate::template::{TemplateError, Variables, substitute};
use crate::tree::{Node, Span, Value, visit_mut};

/// Replaces references in every text below `root`, then reads numbers and
/// booleans where an attribute wants them.
pub(crate) fn interpolate(
    root: &mut Node,
    environment: &BTreeMap<String, String>,
    files: &Files,
    budget: &mut Budget,
    report: &mut Report,
) {
    let mut scope = Scope::new(environment, files, budget, report);
    scope.walk(root);
    scope.finish();
    for (pattern, cast) in CASTS {
        visit_mut(root, pattern, &mut |node, _| {
            cast::apply(node, *cast, report)
        });
    }
}

/// One text; used for the project's name before anything else is known.
pub(crate) fn interpolate_text(
    node: &mut Node,
    environment: &BTreeMap<String, String>,
    files: &Files,
    report: &mut Report,
) {
    let budget = &mut Budget::default();
    let mut scope = Scope::new(environment, files, budget, report);
    scope.walk(node);
    scope.finish();
}

/// Variables without a value in one text that are told apart at most.
const MOST_MISSING: usize = 50;

/// Bytes of values at most, those of texts that came to nothing included.
const MOST_SPENT: usize = 256 << 20;

/// Places of a missing variable that are shown at most.
const MOST_PLACES: usize = 5;

struct Scope<'a> {
    environment: &'a BTreeMap<String, String>,
    /// Reported already in this document.
    unset: BTreeSet<String>,
    /// Required but without a value: the reason given, and where.
    missing: BTreeMap<String, (String, Vec<Span>)>,
    /// Those of `missing` that the current text has brought up.
    assumed: BTreeSet<String>,
    /// Bytes of values that references were replaced by.
    spent: usize,
    report: &'a mut Report,
    files: &'a Files,
    at: Span,
    budget: &'a mut Budget,
}

impl<'a> Scope<'a> {
    fn new(
        environment: &'a BTreeMap<String, String>,
        files: &'a Files,
        budget: &'a mut Budget,
        report: &'a mut Report,
    ) -> Self {
        Self {
            environment,
            unset: BTreeSet::new(),
            missing: BTreeMap::new(),
            assumed: BTreeSet::new(),
            spent: 0,
            report,
            files,
            at: Span::NONE,
            budget,
        }
    }

    fn walk(&mut self, node: &mut Node) {
        match &mut node.value {
            Value::Mapping(entries) => entries.values_mut().for_each(|child| self.walk(child)),
            Value::Sequence(items) => items.iter_mut().for_each(|child| self.walk(child)),
            Value::String(text) if text.contains('$') => {
                self.at = node.span;
                match self.text(text) {
                    Ok(result) => *text = result,
                    Err(problem) => {
                        if let Some(problem) = problem {
                            self.report.push(*problem);
                        }
                        self.report.give_up(node);
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::String(_) => {}
        }
    }

    /// The text with its variables replaced.
    ///
    /// # Errors
    /// It has no value; `None` when only required variables are missing, which
    /// [`Self::finish`] reports.
    fn text(&mut self, text: &str) -> Result<String, Option<Box<Problem>>> {
        let at = self.at;
        self.assumed.clear();
        let result = loop {
            if self.spent > MOST_SPENT {
                break Err(TemplateError::TooBig);
            }
            match substitute(text, self) {
                // Once more as if it had a value: there may be others behind it.
                Err(TemplateError::Required { name, reason })
                    if self.assumed.len() < MOST_MISSING =>
                {
                    let place = self.files.narrow(at, &name);
                    let missing = self
                        .missing
                        .entry(name.clone())
                        .or_insert((reason, Vec::new()));
                    missing.1.push(place);
                    self.assumed.insert(name);
                }
                result => break result,
            }
        };
        match result {
            Ok(_) | Err(TemplateError::Required { .. }) if !self.assumed.is_empty() => Err(None),
            Ok(result) => {
                let weight = Weight {
                    nodes: 0,
                    text: result.len(),
                };
                self.budget.take(weight, at).map_err(Some)?;
                Ok(result)
            }
            Err(TemplateError::Invalid(part)) => Err(Some(Box::new(
                Problem::error(
                    codes::BAD_TEMPLATE,
                    format!("`{part}` is not a variable reference"),
                )
                .at(self.files.narrow(at, &part), "invalid reference")
                .help(reference(&part)),
            ))),
            Err(TemplateError::TooBig | TemplateError::Required { .. }) => Err(Some(Box::new(
                Problem::error(codes::TOO_BIG, "too much text after interpolation")
                    .at(at, "this value"),
            ))),
        }
    }

    /// Reports every missing variable once, with all places that require it.
    fn finish(self) {
        for (name, (reason, places)) in self.missing {
            let colon = if reason.is_empty() { "" } else { ": " };
            let mut problem = Problem::error(
                codes::REQUIRED_VARIABLE,
                format!("the variable `{name}` must have a value{colon}{reason}"),
            );
            for (i, place) in places.into_iter().take(MOST_PLACES).enumerate() {
                problem = problem.at(place, if i == 0 { "required here" } else { "and here" });
            }
            let near = suggest::did_you_mean(&name, self.environment.keys().map(String::as_str));
            let help = match near {
                Some(near) => format!("{near} Or set `{name}` in the environment or in `.env`"),
                None => format!("set `{name}` in the environment or in `.env`"),
            };
            self.report.push(problem.help(help));
        }
    }
}

/// What may be meant by a reference that is none.
fn reference(part: &str) -> String {
    let word = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let inner = part
        .strip_prefix("${")
        .map(|rest| rest.trim_end_matches('}'));
    match inner.and_then(|inner| inner.split_once([':', '='])) {
        Some((name, default)) if word(name) && !default.is_empty() => {
            format!("a default is written `${{{name}:-{default}}}`")
        }
        _ if inner.is_some_and(|inner| word(inner.trim())) && !part.ends_with('}') => {
            "the closing brace is missing".to_owned()
        }
        _ => "write `$$` for a dollar sign, `${NAME}` or `${NAME:-default}` for a variable"
            .to_owned(),
    }
}

impl Variables for Scope<'_> {
    fn get(&mut self, name: &str) -> Option<String> {
        let value = match self.environment.get(name) {
            Some(value) if !value.is_empty() => value.clone(),
            _ if self.assumed.contains(name) => "x".to_owned(),
            other => return other.cloned(),
        };
        self.spent += value.len();
        Some(value)
    }

    fn unset(&mut self, name: &str) {
        if self.report.is_full() {
            let message = format!("the variable `{name}` is not set");
            self.report
                .push(Problem::warning(codes::UNSET_VARIABLE, message));
        } else if self.unset.insert(name.to_owned()) {
            let problem = Problem::warning(
                codes::UNSET_VARIABLE,
                format!("the variable `{name}` is not set"),
            );
            let problem = problem.at(self.files.narrow(self.at, name), "replaced by nothing");
            let near = suggest::did_you_mean(name, self.environment.keys().map(String::as_str));
            let help = near.unwrap_or_else(|| {
                format!("set it, or write `${{{name}:-}}`, or `$${name}` for the text itself")
            });
            self.report.push(problem.help(help));
        }
    }
}

//! Variables in values. Keys are never touched.

use std::collections::{BTreeMap, BTreeSet};

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
    let mut scope = Scope {
        environment,
        unset: BTreeSet::new(),
        report,
        files,
        at: Span::NONE,
        budget,
    };
    scope.walk(root);
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
    Scope {
        environment,
        unset: BTreeSet::new(),
        report,
        files,
        at: Span::NONE,
        budget,
    }
    .walk(node);
}

struct Scope<'a> {
    environment: &'a BTreeMap<String, String>,
    /// Reported already in this document.
    unset: BTreeSet<String>,
    report: &'a mut Report,
    files: &'a Files,
    at: Span,
    budget: &'a mut Budget,
}

impl Scope<'_> {
    fn walk(&mut self, node: &mut Node) {
        match &mut node.value {
            Value::Mapping(entries) => entries.values_mut().for_each(|child| self.walk(child)),
            Value::Sequence(items) => items.iter_mut().for_each(|child| self.walk(child)),
            Value::String(text) if text.contains('$') => {
                self.at = node.span;
                if let Some(result) = self.text(text) {
                    *text = result;
                }
            }
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::String(_) => {}
        }
    }

    fn text(&mut self, text: &str) -> Option<String> {
        let at = self.at;
        let problem = match substitute(text, self) {
            Ok(result) => match self.budget.take(
                Weight {
                    nodes: 0,
                    text: result.len(),
                },
                at,
            ) {
                Ok(()) => return Some(result),
                Err(problem) => *problem,
            },
            Err(TemplateError::TooBig) => {
                Problem::error(codes::TOO_BIG, "too much text after interpolation")
                    .at(at, "this value")
            }
            Err(TemplateError::Invalid(part)) => {
                let problem = Problem::error(
                    codes::BAD_TEMPLATE,
                    format!("`{part}` is not a variable reference"),
                );
                let problem = problem.at(self.files.narrow(at, &part), "invalid reference");
                problem.help(
                    "write `$$` for a dollar sign, `${NAME}` or `${NAME:-default}` for a variable",
                )
            }
            Err(TemplateError::Required { name, reason }) => {
                let colon = if reason.is_empty() { "" } else { ": " };
                let problem = Problem::error(
                    codes::REQUIRED_VARIABLE,
                    format!("the variable `{name}` must have a value{colon}{reason}"),
                );
                let problem = problem.at(self.files.narrow(at, &name), "required here");
                problem.help(format!("set `{name}` in the environment or in `.env`"))
            }
        };
        self.report.push(problem);
        None
    }
}

impl Variables for Scope<'_> {
    fn get(&self, name: &str) -> Option<String> {
        self.environment.get(name).cloned()
    }

    fn unset(&mut self, name: &str) {
        if self.unset.insert(name.to_owned()) {
            let problem = Problem::warning(
                codes::UNSET_VARIABLE,
                format!("the variable `{name}` is not set"),
            );
            let problem = problem.at(self.files.narrow(self.at, name), "replaced by nothing");
            self.report.push(problem.help(format!(
                "set it, or write `${{{name}:-}}`, or `$${name}` for the text itself"
            )));
        }
    }
}

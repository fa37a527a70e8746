//! `extends`: a service onto another one, of the same file or another.

use std::path::{Path as FilePath, PathBuf};

use super::{Loader, Scope};
use crate::budget::Weight;
use crate::diagnostic::{Problem, codes};
use crate::merge::{merge, strip};
use crate::paths::{self};
use crate::read;
use crate::source::{join, locate, parent};
use crate::suggest;
use crate::tree::{Mapping, Node, Path, Span};

/// Services in a chain at most.
const MAX_CHAIN: usize = 64;

/// A service on the way up: file, name and the place that names it.
type Step = (PathBuf, String, Span);

impl Loader<'_> {
    /// Replaces every service that extends another by the two merged.
    pub(super) fn extends(&mut self, document: &mut Node, file: &FilePath, scope: Scope<'_>) {
        let Some(services) = document.get("services").and_then(Node::as_mapping) else {
            return;
        };
        if !services
            .values()
            .any(|service| service.get("extends").is_some())
        {
            return;
        }
        let services = services.clone();
        let names: Vec<String> = services.keys().cloned().collect();
        for name in names {
            if services
                .get(&name)
                .is_none_or(|service| service.get("extends").is_none())
            {
                continue;
            }
            let place = services.get(&name).map_or(Span::NONE, Node::place);
            let mut chain = vec![(file.to_path_buf(), name.clone(), place)];
            let merged = self.extended(&services, &name, scope, &mut chain);
            let Some(slot) = document
                .get_mut("services")
                .and_then(|services| services.get_mut(&name))
            else {
                continue;
            };
            match merged {
                Some(merged) => *slot = merged,
                // What would have come from there is not known.
                None => {
                    if let Some(extends) = slot.get_mut("extends") {
                        extends.give_up();
                    }
                }
            }
        }
    }

    /// The service with all that it extends. `None` after an error.
    fn extended(
        &mut self,
        services: &Mapping,
        name: &str,
        scope: Scope<'_>,
        chain: &mut Vec<Step>,
    ) -> Option<Node> {
        let mut service = services.get(name)?.clone();
        let Some(entries) = service.as_mapping_mut() else {
            return Some(service);
        };
        let Some(extends) = entries.shift_remove("extends") else {
            return Some(service);
        };
        let target = extends.get("service").unwrap_or(&extends);
        let Some(wanted) = target.as_str() else {
            let problem = Problem::error(
                codes::EXTENDS,
                format!("`services.{name}.extends` needs the name of a service"),
            );
            self.report.push(
                problem
                    .at(extends.place(), "no service is named")
                    .help("write `extends: {service: …}`"),
            );
            return None;
        };
        let (here, _, _) = chain.last()?.clone();
        let outside = extends
            .get("file")
            .and_then(Node::as_str)
            .map(str::to_owned);
        let path = match &outside {
            Some(file) => match locate(self.source, self.base(scope), file) {
                Ok(path) => path,
                Err(reason) => {
                    let problem = Problem::error(codes::EXTENDS, reason);
                    let place = extends.get("file").map_or(Span::NONE, |node| node.span);
                    self.report.push(problem.at(place, "named here"));
                    return None;
                }
            },
            None => here,
        };
        let folder = parent(&path);
        let scope = if outside.is_some() {
            Scope {
                folder: &folder,
                ..scope
            }
        } else {
            scope
        };
        let other;
        let services = if outside.is_some() {
            let place = extends.get("file").map_or(Span::NONE, |node| node.span);
            other = self.base_services(&path, place, scope)?;
            &other
        } else {
            services
        };
        if !services.contains_key(wanted) {
            let wherein = if outside.is_some() {
                format!("in {}", path.display())
            } else {
                "in this file".to_owned()
            };
            let message =
                format!("`{name}` extends `{wanted}`, but there is no such service {wherein}");
            let names = services.keys().map(String::as_str);
            let help = suggest::did_you_mean_or_list(wanted, "services", names);
            self.report.push(
                Problem::error(codes::EXTENDS, message)
                    .on(target, "not found")
                    .maybe_help(help),
            );
            return None;
        }
        if let Some((_, first, _)) = chain.first() {
            self.report.extends(first, target.span, wanted);
        }
        let step = (path, wanted.to_owned(), target.span);
        let again = chain
            .iter()
            .any(|(file, name, _)| *file == step.0 && *name == step.1);
        chain.push(step);
        if again || chain.len() > MAX_CHAIN {
            self.report.push(circle(chain));
            return None;
        }
        let mut base = self.extended(services, wanted, scope, chain)?;
        chain.pop();
        strip(&mut base);
        if let Err(problem) = self.budget.take(Weight::of(&base), target.span) {
            self.report.push(*problem);
            return None;
        }
        if base.is_null() {
            return Some(service);
        }
        Some(merge(
            base,
            service,
            &mut Path::of(&["services", name]),
            &mut self.report,
        ))
    }

    /// Services of another file, with absolute paths, not extended yet.
    fn base_services(&mut self, path: &FilePath, at: Span, scope: Scope<'_>) -> Option<Mapping> {
        if let Some(known) = self.bases.get(path) {
            return known.clone();
        }
        let services = self.read_base(path, at, scope);
        self.bases.insert(path.to_path_buf(), services.clone());
        services
    }

    fn read_base(&mut self, path: &FilePath, at: Span, scope: Scope<'_>) -> Option<Mapping> {
        let path = join(FilePath::new("/"), path);
        let documents = read::documents(
            self.source,
            &path,
            at,
            codes::EXTENDS,
            &mut self.files,
            &mut self.budget,
            &mut self.report,
        )?;
        let mut tree = Node::mapping(Mapping::new(), Span::NONE);
        for document in documents {
            tree = self.base_document(tree, document, scope);
        }
        paths::resolve(&mut tree, self.base(scope));
        let services = tree.get("services").and_then(Node::as_mapping).cloned();
        if services.is_none() {
            let problem = Problem::error(
                codes::EXTENDS,
                format!("there are no services in {}", path.display()),
            );
            self.report.push(problem.at(at, "named here"));
        }
        services
    }
}

fn circle(chain: &[Step]) -> Problem {
    let names: Vec<_> = chain.iter().map(|(_, name, _)| name.as_str()).collect();
    let mut problem = Problem::error(
        codes::EXTENDS_CYCLE,
        format!("services extend each other: {}", names.join(" → ")),
    );
    for pair in chain.windows(2) {
        problem = problem.at(
            pair[1].2,
            format!("`{}` extends `{}`", pair[0].1, pair[1].1),
        );
    }
    problem
}

//! `include`: other stacks, each with its own folder and variables.

use std::path::{Path as FilePath, PathBuf};

use super::{Loader, Scope};
use crate::diagnostic::{Problem, codes};
use crate::environment::EnvReader;
use crate::extension;
use crate::merge::merge;
use crate::read;
use crate::source::{locate, parent};
use crate::tree::{Mapping, Node, Path, Span};
use crate::validate::validate_include;

impl Loader<'_> {
    /// Adds the resources of every included stack; what is defined here too is
    /// merged over it.
    pub(super) fn include(
        &mut self,
        document: &mut Node,
        scope: Scope<'_>,
        chain: &mut Vec<PathBuf>,
    ) {
        let Some(mut includes) = document
            .as_mapping_mut()
            .and_then(|entries| entries.shift_remove("include"))
        else {
            return;
        };
        if includes.is_null() {
            return;
        }
        if includes.as_sequence().is_some() {
            let before = includes.as_sequence().map_or(0, <[Node]>::len);
            validate_include(&mut includes, &mut self.report);
            self.partial |= includes.as_sequence().map_or(0, <[Node]>::len) < before;
        }
        let Some(items) = includes.as_sequence() else {
            let problem = Problem::error(
                codes::WRONG_TYPE,
                format!("`include` must be a list, not {}", includes.kind()),
            );
            let help = "write `include: [other.yaml]`";
            self.report.push(
                problem
                    .at(includes.place(), "a list is expected")
                    .help(help),
            );
            self.partial = true;
            return;
        };
        for item in items {
            match self.included(item, scope, chain) {
                Some(imported) => self.import(imported, document),
                None => self.partial = true,
            }
        }
    }

    fn included(
        &mut self,
        item: &Node,
        scope: Scope<'_>,
        chain: &mut Vec<PathBuf>,
    ) -> Option<Node> {
        let base = self.base(scope);
        let texts = |node: Option<&Node>| -> Vec<(String, Span)> {
            let list = node.map(|node| {
                node.as_sequence()
                    .map_or(vec![node], |items| items.iter().collect())
            });
            let texts = list.unwrap_or_default().into_iter();
            texts
                .filter_map(|node| Some((node.as_str()?.to_owned(), node.span)))
                .collect()
        };
        let named = if item.as_str().is_some() {
            texts(Some(item))
        } else {
            texts(item.get("path"))
        };
        let mut paths: Vec<(PathBuf, Span)> = Vec::new();
        for (text, span) in named {
            match locate(self.source, base, &text) {
                Ok(path) => paths.push((path, span)),
                Err(reason) => {
                    let problem = Problem::error(codes::INCLUDE, reason);
                    self.report.push(problem.at(span, "named here"));
                    return None;
                }
            }
        }
        let env_files: Vec<(PathBuf, Span)> = texts(item.get("env_file"))
            .into_iter()
            .filter(|(text, _)| text != "/dev/null")
            .map(|(text, span)| (PathBuf::from(base.absolute(&text)), span))
            .collect();
        let Some((main, place)) = paths.first().cloned() else {
            let problem = Problem::error(codes::INCLUDE, "an include needs a path");
            self.report.push(
                problem
                    .on(item, "no path is given")
                    .help("write `- path: other.yaml`"),
            );
            return None;
        };
        let folder = match item.get("project_directory").and_then(Node::as_str) {
            Some(text) if !text.is_empty() => PathBuf::from(base.absolute(text)),
            _ => parent(&main),
        };
        if chain.contains(&main) {
            let names: Vec<_> = chain
                .iter()
                .chain([&main])
                .map(|path| path.display().to_string())
                .collect();
            let message = format!("files include each other: {}", names.join(" → "));
            self.report.push(
                Problem::error(codes::INCLUDE_CYCLE, message).at(place, "included again here"),
            );
            return None;
        }
        let asked_default = item.get("env_file").is_none_or(Node::is_null);
        let environment = self.included_environment(env_files, asked_default, &folder, scope);
        let mut files = Vec::new();
        for (path, span) in paths {
            let documents = read::documents(
                self.source,
                &path,
                span,
                codes::INCLUDE,
                &mut self.files,
                &mut self.budget,
                &mut self.report,
            )?;
            files.push((path, documents));
        }
        let scope = Scope {
            folder: &folder,
            environment: &environment,
        };
        Some(self.model(files, scope, chain))
    }

    /// The including stack's variables over those of the included one's files.
    fn included_environment(
        &mut self,
        files: Vec<(PathBuf, Span)>,
        asked_default: bool,
        folder: &FilePath,
        scope: Scope<'_>,
    ) -> std::collections::BTreeMap<String, String> {
        let mut files = files;
        let default = folder.join(".env");
        if asked_default && self.source.exists(&default) && !self.source.is_dir(&default) {
            files.push((default, Span::NONE));
        }
        let mut reader = EnvReader {
            source: self.source,
            files: &mut self.files,
            budget: &mut self.budget,
            report: &mut self.report,
        };
        let mut all = std::collections::BTreeMap::new();
        for (path, span) in files {
            let mut known = all.clone();
            known.extend(scope.environment.clone());
            all.extend(reader.read_all(&[path], &known, span));
        }
        all.extend(scope.environment.clone());
        all
    }

    fn import(&mut self, mut imported: Node, document: &mut Node) {
        extension::hand_down(&mut imported, &mut self.report);
        let Some(entries) = document.as_mapping_mut() else {
            return;
        };
        for kind in [
            "services", "volumes", "networks", "secrets", "configs", "models",
        ] {
            let Some(resources) = imported.get(kind).and_then(Node::as_mapping) else {
                continue;
            };
            let target = entries
                .entry(kind.to_owned())
                .or_insert_with(|| Node::mapping(Mapping::new(), imported.span));
            let Some(target) = target.as_mapping_mut() else {
                continue;
            };
            for (name, resource) in resources {
                let merged = match target.shift_remove(name) {
                    Some(local) => merge(
                        resource.clone(),
                        local,
                        &mut Path::of(&[kind, name]),
                        &mut self.report,
                    ),
                    None => resource.clone(),
                };
                target.insert(name.clone(), merged);
            }
        }
    }
}

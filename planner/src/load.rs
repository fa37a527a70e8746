//! All phases in their order: read, parse, interpolate, include, extends, merge,
//! canonical form, validation, model, profiles, consistency.

mod document;
mod extends;
mod include;
mod resolve;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path as FilePath, PathBuf};

use crate::bind::{bind, sorted};
use crate::budget::Budget;
use crate::consistency;
use crate::diagnostic::{Diagnostic, Files, Problem, Report, codes};
use crate::environment::{EnvReader, PROJECT_NAME, default_env_file, project_name};
use crate::extension;
use crate::normalize::normalize;
use crate::options::LoadOptions;
use crate::profiles;
use crate::project::{Parts, Project};
use crate::read;
use crate::source::{Source, parent};
use crate::spec::build;
use crate::tree::{Mapping, Node, Span, Value};

/// What came of the files.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The stack, unless there is an error.
    pub project: Option<Project>,
    /// All findings in the order of their places.
    pub diagnostics: Vec<Diagnostic>,
    unsupported: Vec<Diagnostic>,
    files: Files,
}

impl Loaded {
    /// All findings that stand in the way of running the stack: those of loading
    /// and what the daemon could not honour, in the order of their places.
    pub fn all_diagnostics(&self) -> Vec<Diagnostic> {
        let mut all = self.diagnostics.clone();
        match &self.project {
            Some(project) => all.extend(project.spec().err().unwrap_or_default()),
            None => all.extend(self.unsupported.iter().cloned()),
        }
        self.files.sort(&mut all);
        all
    }

    /// The text of a file that a label names.
    pub fn source_text(&self, path: &FilePath) -> Option<&str> {
        self.files.text(path)
    }

    /// There is an error, so there is no project.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }
}

/// Reads a stack. Every problem that can be told apart from the consequences of
/// another one is reported.
pub fn load(source: &dyn Source, options: &LoadOptions) -> Loaded {
    let mut loader = Loader {
        source,
        options,
        files: Files::default(),
        report: Report::default(),
        bases: BTreeMap::new(),
        values: BTreeMap::new(),
        budget: Budget::default(),
        partial: false,
    };
    let project = loader.run();
    let Loader { files, report, .. } = loader;
    let failed = report.has_errors();
    // What only the runtime cannot do is an error of those commands alone that need it.
    let unsupported = match &project {
        Some(project) if failed => project.unsupported(&report),
        _ => Vec::new(),
    };
    Loaded {
        project: project.filter(|_| !failed),
        diagnostics: report.finish(&files),
        unsupported,
        files,
    }
}

struct Loader<'a> {
    source: &'a dyn Source,
    options: &'a LoadOptions,
    files: Files,
    report: Report,
    /// Services of the files that others extend, by path.
    bases: BTreeMap<PathBuf, Option<Mapping>>,
    /// Contents of configs and secrets that come from the environment, by section and name.
    values: BTreeMap<(&'static str, String), String>,
    budget: Budget,
    /// Something could not be read, so that names may be missing that are defined there.
    partial: bool,
}

/// Where a file's relative paths start and what its variables are.
#[derive(Clone, Copy)]
struct Scope<'a> {
    folder: &'a FilePath,
    environment: &'a BTreeMap<String, String>,
}

impl Loader<'_> {
    fn run(&mut self) -> Option<Project> {
        let options = self.options;
        let Some(first) = options.files.first() else {
            self.report
                .push(Problem::error(codes::UNREADABLE, "no stack file was given"));
            return None;
        };
        let folder = match &options.project_directory {
            Some(folder) => folder.clone(),
            None if first.as_os_str() == "-" => options.working_dir.clone(),
            None => parent(first),
        };
        let mut environment = self.project_environment(&folder);
        let mut files = Vec::new();
        for path in &options.files {
            let documents = read::documents(
                self.source,
                path,
                Span::NONE,
                codes::UNREADABLE,
                &mut self.files,
                &mut self.budget,
                &mut self.report,
            );
            match documents {
                Some(documents) => files.push((path.clone(), documents)),
                None => self.partial = true,
            }
        }
        let all: Vec<&Node> = files.iter().flat_map(|(_, documents)| documents).collect();
        let given = options.project_name.as_deref();
        let name = project_name(
            given,
            &environment,
            &all,
            &folder,
            options.interpolate,
            &self.files,
            &mut self.report,
        );
        environment.insert(PROJECT_NAME.to_owned(), name.clone());

        let scope = Scope {
            folder: &folder,
            environment: &environment,
        };
        let mut tree = self.model(files, scope, &mut Vec::new());
        if tree.as_mapping().is_none_or(Mapping::is_empty) {
            if self.report.has_errors() {
                return None;
            }
            self.report.push(Problem::error(
                codes::NOT_A_STACK,
                "there is nothing in the stack file",
            ));
            return None;
        }
        if options.normalize {
            let none = BTreeMap::new();
            normalize(
                &mut tree,
                &name,
                if options.interpolate {
                    &environment
                } else {
                    &none
                },
            );
        }
        self.finish(tree, name, folder, environment)
    }

    /// From the merged tree to the project.
    fn finish(
        &mut self,
        tree: Node,
        name: String,
        folder: PathBuf,
        environment: BTreeMap<String, String>,
    ) -> Option<Project> {
        let options = self.options;
        if !options.interpolate {
            return Some(self.uninterpreted(tree, name, folder, environment));
        }
        let mut model = bind(tree, &mut self.report);
        self.put_name(&mut model, &name);
        fill_resources(&mut model);
        extension::check(&model, &mut self.report);
        let all_profiles = profiles::all(&model);
        let mut wanted = options.profiles.clone();
        if wanted.is_empty()
            && let Some(text) = environment.get("COMPOSE_PROFILES")
        {
            wanted = text
                .split(',')
                .map(str::trim)
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect();
        }
        let disabled = profiles::apply(&mut model, &wanted, &options.services, &mut self.report);
        if options.check_consistency {
            consistency::check(&model, &disabled, self.partial, &mut self.report);
        }
        let asked = profiles::with_dependencies(&model, &options.services);
        let lacking = options.resolve_environment
            && self.service_files(&mut model, &environment, &folder, asked.as_ref());
        // Nothing else of what these are for may be in the model.
        let of_builds = build::secrets_of(&model, &disabled);
        if options.prune {
            profiles::prune(&mut model);
        }
        let contents = self.contents(&model, of_builds, &folder);
        let mut project = Project::new(Parts {
            name,
            folder,
            files: options.files.clone(),
            model,
            disabled,
            profiles: all_profiles,
            contents,
            raw: false,
            sources: self.files.clone(),
            environment,
            unresolved: BTreeSet::new(),
        });
        if let Some(asked) = asked
            && (lacking || !project.unsupported(&self.report).is_empty())
        {
            project.set_aside_others(&asked, options.prune);
        }
        // What only the runtime cannot do is no error yet, but what it leaves out is worth a warning.
        project
            .warnings(&self.report)
            .into_iter()
            .for_each(|warning| self.report.push(warning));
        Some(project)
    }

    /// A stack whose variables are not replaced: values keep their form, every
    /// service takes part, nothing is left out.
    fn uninterpreted(
        &self,
        tree: Node,
        name: String,
        folder: PathBuf,
        environment: BTreeMap<String, String>,
    ) -> Project {
        let mut tree = tree;
        if let Some(entries) = tree.as_mapping_mut() {
            entries.shift_remove("include");
            if self.options.normalize {
                let place = entries.get("name").map_or(Span::NONE, |node| node.span);
                entries.insert("name".to_owned(), Node::string(&name, place));
            }
        }
        let model = sorted(tree);
        Project::new(Parts {
            name,
            folder,
            files: self.options.files.clone(),
            profiles: profiles::all(&model),
            model,
            disabled: Mapping::new(),
            contents: BTreeMap::new(),
            raw: true,
            sources: self.files.clone(),
            environment,
            unresolved: BTreeSet::new(),
        })
    }

    fn put_name(&self, model: &mut Node, name: &str) {
        if let Some(entries) = model.as_mapping_mut() {
            let place = entries.get("name").map_or(Span::NONE, |node| node.span);
            entries.shift_remove("name");
            entries.shift_remove("include");
            entries.shift_insert(0, "name".to_owned(), Node::string(name, place));
            if !entries.contains_key("services") {
                entries.shift_insert(
                    1,
                    "services".to_owned(),
                    Node::mapping(Mapping::new(), Span::NONE),
                );
            }
        }
    }

    /// The process's environment over `.env` and its like.
    fn project_environment(&mut self, folder: &FilePath) -> BTreeMap<String, String> {
        let options = self.options;
        let mut all = options.environment.clone();
        let mut reader = EnvReader {
            source: self.source,
            files: &mut self.files,
            budget: &mut self.budget,
            report: &mut self.report,
        };
        let rounds: Vec<Vec<PathBuf>> = if options.env_files.is_empty() {
            let outer = options.outer_folder.as_deref();
            let folders = outer.into_iter().filter(|outer| *outer != folder);
            let folders = folders.chain([folder]);
            folders
                .filter_map(|folder| default_env_file(self.source, folder, &options.environment))
                .map(|file| vec![file])
                .collect()
        } else {
            vec![options.env_files.clone()]
        };
        for files in rounds {
            let found = reader.read_all(&files, &all, Span::NONE);
            for (name, value) in found {
                all.entry(name).or_insert(value);
            }
        }
        all
    }
}

/// A network or volume of which nothing is said is one with nothing in it.
/// With `normalize` it has a name by now.
fn fill_resources(model: &mut Node) {
    for kind in ["networks", "volumes"] {
        let resources = model.get_mut(kind).and_then(Node::as_mapping_mut);
        for resource in resources.into_iter().flat_map(Mapping::values_mut) {
            if resource.is_null() {
                resource.value = Value::Mapping(Mapping::new());
            }
        }
    }
}

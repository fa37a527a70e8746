//! A loaded stack.

mod json;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use stack_api::build::BuildSpec;
use stack_api::spec::{StackSpec, VolumeSpec};
use stack_api::volume::Form;

use crate::diagnostic::{Diagnostic, Files, Position, Problem, Report};
use crate::graph::{Graph, States};
use crate::tree::{Mapping, Node, Value};
use crate::variables::{Variable, variables};
use crate::yaml::emit;
use crate::{hash, profiles, spec};

/// The bytes of a config or secret, or why there are none.
pub(crate) type Content = Result<Vec<u8>, NoContent>;

/// Why there is no content.
#[derive(Debug, Clone)]
pub(crate) struct NoContent {
    pub(crate) why: String,
    /// It is there, but too much: it can be mounted.
    pub(crate) too_much: bool,
}

impl<T: Into<String>> From<T> for NoContent {
    fn from(why: T) -> NoContent {
        NoContent {
            why: why.into(),
            too_much: false,
        }
    }
}

/// By section and name.
pub(crate) type Contents = BTreeMap<(&'static str, String), Content>;

/// A stack: checked, complete and in canonical form.
#[derive(Debug, Clone)]
pub struct Project {
    pub(crate) parts: Parts,
    /// Made while loading, as long as the parts are still the same.
    ready: Option<Arc<(StackSpec, Report)>>,
}

#[derive(Debug, Clone)]
pub(crate) struct Parts {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    pub(crate) files: Vec<PathBuf>,
    pub(crate) model: Node,
    pub(crate) disabled: Mapping,
    pub(crate) profiles: Vec<String>,
    pub(crate) contents: Contents,
    /// Variables were not replaced; the model is as it was written, only completed.
    pub(crate) raw: bool,
    pub(crate) sources: Files,
    /// What references were looked up in.
    pub(crate) environment: BTreeMap<String, String>,
    /// Enabled services that were set aside: they are among the disabled ones.
    pub(crate) unresolved: BTreeSet<String>,
}

impl Project {
    pub(crate) fn new(parts: Parts) -> Self {
        Self { parts, ready: None }
    }

    /// For changing the parts.
    pub(crate) fn parts_mut(&mut self) -> &mut Parts {
        self.ready = None;
        &mut self.parts
    }

    pub(crate) fn parts(&self) -> &Parts {
        &self.parts
    }

    /// The project's name: lower-case letters, digits, `-` and `_`.
    pub fn name(&self) -> &str {
        &self.parts.name
    }

    /// Absolute project folder.
    pub fn working_dir(&self) -> &Path {
        &self.parts.folder
    }

    /// The stack files as given to the loader.
    pub fn files(&self) -> &[PathBuf] {
        &self.parts.files
    }

    /// Every file that was read: stack files, included and extended ones, environment files.
    pub fn all_files(&self) -> impl Iterator<Item = &Path> {
        self.parts.sources.paths()
    }

    /// The canonical model as a tree: `name`, `services`, `networks`, …
    pub fn model(&self) -> &Node {
        &self.parts.model
    }

    /// The model as YAML, in the form of `docker compose config`.
    pub fn to_yaml(&self) -> String {
        emit::to_yaml(&self.parts.model, !self.parts.raw)
    }

    /// The model as indented JSON, in the form of `docker compose config --format json`.
    pub fn to_json(&self) -> String {
        let model = &self.parts.model;
        let value = if self.parts.raw {
            emit::to_json(model, false)
        } else {
            emit::to_json(&json::for_json(model), true)
        };
        serde_json::to_string_pretty(&value).unwrap_or_default()
    }

    /// What references in values were looked up in: the process's variables
    /// and those of environment files.
    pub fn environment(&self) -> &BTreeMap<String, String> {
        &self.parts.environment
    }

    /// The variables that values refer to, by name. Of a project whose
    /// variables were replaced there are none left.
    pub fn variables(&self) -> BTreeMap<String, Variable> {
        variables(&self.parts.model)
    }

    pub(crate) fn services(&self) -> impl Iterator<Item = (&String, &Node)> {
        self.section("services")
    }

    pub(crate) fn services_mut(&mut self) -> impl Iterator<Item = &mut Node> {
        let services = self.parts_mut().model.get_mut("services");
        services
            .and_then(Node::as_mapping_mut)
            .into_iter()
            .flat_map(Mapping::values_mut)
    }

    fn section(&self, key: &str) -> impl Iterator<Item = (&String, &Node)> {
        self.parts
            .model
            .get(key)
            .and_then(Node::as_mapping)
            .into_iter()
            .flatten()
    }

    fn sorted(names: impl Iterator<Item = impl Into<String>>) -> Vec<String> {
        let names: BTreeSet<String> = names.map(Into::into).collect();
        names.into_iter().collect()
    }

    /// Enabled services, sorted.
    pub fn service_names(&self) -> Vec<String> {
        Self::sorted(self.services().map(|(name, _)| name))
    }

    /// Services that no active profile enables, sorted.
    pub fn disabled_service_names(&self) -> Vec<String> {
        Self::sorted(self.parts.disabled.keys())
    }

    /// Named volumes by their keys, sorted.
    pub fn volumes(&self) -> Vec<String> {
        Self::sorted(self.section("volumes").map(|(name, _)| name))
    }

    /// Full names of the named volumes that enabled services use and that are not
    /// `external`, sorted.
    pub fn own_volumes(&self) -> Vec<String> {
        let mut model = self.parts.model.clone();
        profiles::prune(&mut model);
        let used = model.get("volumes").and_then(Node::as_mapping);
        let external = |node: &Node| node.get("external").and_then(Node::as_bool);
        let own = used
            .into_iter()
            .flatten()
            .filter(|(_, node)| external(node) != Some(true));
        let name = |node: &'_ Node| node.get("name").and_then(Node::as_str).map(str::to_owned);
        Self::sorted(own.map(|(key, node)| name(node).unwrap_or_else(|| key.clone())))
    }

    /// The full name of each named volume, `external` or not, by its key.
    pub fn volume_names(&self) -> BTreeMap<String, String> {
        let volumes = self.section("volumes");
        let named = volumes.map(|(key, node)| {
            let name = node.get("name").and_then(Node::as_str);
            (key.clone(), name.unwrap_or(key).to_owned())
        });
        named.collect()
    }

    /// The volume with this key, and what it is when it is new. `None`: there is no such key,
    /// or it is no volume in truth, but a directory of the host, NFS or a tmpfs.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn volume(&self, key: &str) -> Result<Option<(VolumeSpec, Form)>, Vec<Diagnostic>> {
        let Some((_, node)) = self.section("volumes").find(|(name, _)| *name == key) else {
            return Ok(None);
        };
        let mut report = Report::default();
        let volume = spec::volume(key, node, &mut report);
        if report.has_errors() {
            return Err(report.finish(&self.parts.sources));
        }
        let form = || Form::suits(&self.make_spec().0, key);
        Ok(volume.map(|volume| (volume, form())))
    }

    /// Networks by their keys, sorted.
    pub fn networks(&self) -> Vec<String> {
        Self::sorted(self.section("networks").map(|(name, _)| name))
    }

    /// What models are called where they come from (`model:`), sorted.
    pub fn models(&self) -> Vec<String> {
        let models = self.section("models");
        Self::sorted(models.filter_map(|(_, model)| model.get("model")?.as_str()))
    }

    /// Profiles that any service names, sorted.
    pub fn profiles(&self) -> Vec<String> {
        self.parts.profiles.clone()
    }

    /// The image of every enabled service in the order of services; one that is
    /// built without a name gets `<project>-<service>`.
    pub fn images(&self) -> Vec<String> {
        let named =
            |(name, service): (&String, &Node)| match service.get("image").and_then(Node::as_str) {
                Some(image) => image.to_owned(),
                None => format!("{}-{name}", self.parts.name),
            };
        let mut images: Vec<String> = self.services().map(named).collect();
        images.sort();
        images
    }

    /// SHA-256 in hex of everything in the service that needs a new container
    /// when it changes; `None` when there is no such service.
    pub fn config_hash(&self, service: &str) -> Option<String> {
        let node = self.parts.model.at(&["services", service])?;
        let machine = spec::machine::machine(&self.parts, node, &mut Report::default());
        let hash = hash::config_hash(node, &self.parts.contents);
        Some(spec::machine::with_machine(hash, &machine))
    }

    /// These services and all they depend on.
    pub fn with_dependencies<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str>,
    ) -> BTreeSet<String> {
        let empty = Mapping::new();
        let services = self
            .parts
            .model
            .get("services")
            .and_then(Node::as_mapping)
            .unwrap_or(&empty);
        Graph::new(services).with_dependencies(names)
    }

    /// All parts of the stack and what needs what.
    pub fn graph(&self) -> Graph {
        Graph::of(&self.parts.model, &self.parts.name)
    }

    /// A graph of this stack as JSON, with the places in the stack files.
    pub fn graph_json(&self, graph: &Graph, states: &States) -> serde_json::Value {
        graph.json(&self.parts.name, states, &self.parts.sources)
    }

    /// The same stack with these services only, and the resources they use.
    #[must_use]
    pub fn select(&self, names: &BTreeSet<String>) -> Self {
        let mut parts = self.parts.clone();
        if let Some(services) = parts
            .model
            .get_mut("services")
            .and_then(Node::as_mapping_mut)
        {
            services.retain(|name, _| names.contains(name));
        }
        profiles::prune(&mut parts.model);
        Self::new(parts)
    }

    /// Leaves out the services that nobody asked for: one of them lacks a file, or asks
    /// for what the daemon could not honour, which is nothing to those that were asked for.
    pub(crate) fn set_aside_others(&mut self, asked: &BTreeSet<String>, prune: bool) {
        let parts = self.parts_mut();
        let Some(services) = parts.model.get_mut("services") else {
            return;
        };
        let services = services.as_mapping_mut().map(std::mem::take);
        let (kept, others): (Mapping, Mapping) = services
            .into_iter()
            .flatten()
            .partition(|(name, _)| asked.contains(name));
        parts.unresolved.extend(others.keys().cloned());
        parts.disabled.extend(others);
        if let Some(services) = parts.model.get_mut("services") {
            services.value = Value::Mapping(kept);
        }
        if prune {
            profiles::prune(&mut parts.model);
        }
    }

    /// The services with their images, platforms and dependencies, whatever else of
    /// them could not be honoured: for who has to do with images alone.
    ///
    /// # Errors
    /// What images could not be built or named by, with places.
    pub fn outline(&self) -> Result<StackSpec, Vec<Diagnostic>> {
        let mut report = Report::default();
        let outline = spec::outline(&self.parts, &mut report);
        let found = report.finish(&self.parts.sources).into_iter();
        let errors: Vec<_> = found.filter(Diagnostic::is_error).collect();
        match errors.is_empty() {
            true => Ok(outline),
            false => Err(errors),
        }
    }

    /// The stack as the daemon takes it.
    ///
    /// # Errors
    /// What the daemon could not honour, all of it, with places.
    pub fn spec(&self) -> Result<StackSpec, Vec<Diagnostic>> {
        let made;
        let (spec, report) = match &self.ready {
            Some(ready) => &**ready,
            None => {
                made = self.make_spec();
                &made
            }
        };
        if report.has_errors() {
            let found = report.clone().finish(&self.parts.sources).into_iter();
            return Err(found.filter(Diagnostic::is_error).collect());
        }
        Ok(spec.clone())
    }

    /// How the enabled services that have a `build` are built. Contents of
    /// secrets are in it.
    pub fn builds(&self) -> BTreeMap<String, BuildSpec> {
        let builds = spec::build::builds(&self.parts, &mut Report::default());
        let one = |(name, (build, hindrances)): (String, (BuildSpec, Report))| {
            let hindrance = hindrances.finish(&self.parts.sources).into_iter().next();
            let hindrance = hindrance.map(|found| self.with_place(&found));
            (name, BuildSpec { hindrance, ..build })
        };
        builds.into_iter().map(one).collect()
    }

    /// Why these services, or those that they are built from, cannot be built.
    pub fn hindrances(&self, services: &BTreeSet<String>) -> Vec<Diagnostic> {
        let mut builds = spec::build::builds(&self.parts, &mut Report::default());
        let mut new: Vec<String> = services.iter().cloned().collect();
        let mut found = Vec::new();
        while let Some(name) = new.pop() {
            let Some((build, hindrances)) = builds.remove(&name) else {
                continue;
            };
            found.extend(hindrances.finish(&self.parts.sources));
            new.extend(build.base_services().map(str::to_owned));
        }
        self.parts.sources.sort(&mut found);
        found
    }

    /// The text of a file that was read.
    pub fn source_text(&self, path: &Path) -> Option<&str> {
        self.parts.sources.text(path)
    }

    /// A finding in one line, with the file and the line that it is about.
    fn with_place(&self, found: &Diagnostic) -> String {
        let place = found.labels.first().map(|label| {
            let text = self.source_text(&label.file).unwrap_or_default();
            let line = Position::of(text, label.span.start).line;
            let file = label.file.strip_prefix(&self.parts.folder);
            format!("{}:{line}: ", file.unwrap_or(&label.file).display())
        });
        format!("{}{}", place.unwrap_or_default(), found.message)
    }

    fn make_spec(&self) -> (StackSpec, Report) {
        let mut report = Report::default();
        let spec = spec::stack(&self.parts, &mut report);
        (spec, report)
    }

    /// What has no effect here although it has one in Docker.
    pub(crate) fn warnings(&mut self, known: &Report) -> Vec<Problem> {
        let mut report = known.follow_up();
        let spec = spec::stack(&self.parts, &mut report);
        let warnings = report.clone().warnings();
        // With other mistakes it is not all there is to say.
        if !known.has_errors() {
            self.ready = Some(Arc::new((spec, report)));
        }
        warnings
    }

    /// What the daemon could not honour in the healthy part of a stack with other mistakes.
    pub(crate) fn unsupported(&self, known: &Report) -> Vec<Diagnostic> {
        let mut report = known.follow_up();
        spec::stack(&self.parts, &mut report);
        let found = report.finish(&self.parts.sources).into_iter();
        found.filter(Diagnostic::is_error).collect()
    }
}

//! Values that come from elsewhere: variables of services, labels, contents of
//! configs and secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path as FilePath;

use super::Loader;
use crate::diagnostic::{Problem, codes};
use crate::environment::EnvReader;
use crate::project::{Content, Contents, NoContent};
use crate::source::join;
use crate::spec::security::{SECCOMP, Wish, wish};
use crate::tree::{Mapping, Node, Span, Value, visit};
use crate::yaml::emit::natural_order;

/// Bytes of one config or secret at most.
const MAX_CONTENT: usize = 1 << 20;

impl Loader<'_> {
    /// Remembers the contents that configs and secrets take from variables.
    pub(super) fn values_from_environment(
        &mut self,
        tree: &Node,
        environment: &BTreeMap<String, String>,
    ) {
        for kind in ["configs", "secrets"] {
            visit(tree, &[kind, "*", "environment"], &mut |node, path| {
                let [_, name, _] = path.keys()[..] else {
                    return;
                };
                if let Some(value) = node.as_str().and_then(|variable| environment.get(variable)) {
                    self.values.insert((kind, name.to_owned()), value.clone());
                }
            });
        }
    }

    /// Reads the environment and label files of the services that were asked for (all
    /// without `asked`), then those of the others. Is one of these not to be had?
    /// Nobody is told.
    pub(super) fn service_files(
        &mut self,
        model: &mut Node,
        environment: &BTreeMap<String, String>,
        folder: &FilePath,
        asked: Option<&BTreeSet<String>>,
    ) -> bool {
        let is_asked = |name: &String| asked.is_none_or(|asked| asked.contains(name));
        for (_, service) in services(model).filter(|(name, _)| is_asked(name)) {
            self.service_environment(service, environment, folder);
            self.service_labels(service, folder);
        }
        for (_, service) in services(model).filter(|(name, _)| !is_asked(name)) {
            let aside = self.report.follow_up();
            let report = std::mem::replace(&mut self.report, aside);
            self.service_environment(service, environment, folder);
            self.service_labels(service, folder);
            let found = std::mem::replace(&mut self.report, report);
            if found.has_errors() {
                return true;
            }
            let warnings = found.warnings().into_iter();
            warnings.for_each(|warning| self.report.push(warning));
        }
        false
    }

    /// `environment` over the files of `env_file`, which may not have been
    /// made absolute.
    fn service_environment(
        &mut self,
        service: &mut Node,
        environment: &BTreeMap<String, String>,
        folder: &FilePath,
    ) {
        inherit(service, environment);
        let own = texts(service.get("environment"));
        let mut values: BTreeMap<String, String> = BTreeMap::new();
        values.extend(
            own.iter()
                .filter_map(|(key, value)| Some((key.clone(), value.clone()?))),
        );
        let lookup = |name: &str| {
            environment
                .get(name)
                .cloned()
                .or_else(|| own.get(name).cloned().flatten())
        };
        let place = service.get("env_file").map(Node::place);
        for file in take_list(service, "env_file") {
            let Some(path) = file.get("path").and_then(Node::as_str) else {
                continue;
            };
            let path = join(folder, FilePath::new(path));
            let required = file.get("required").and_then(Node::as_bool).unwrap_or(true);
            let at = file.get("path").map_or(file.span, |node| node.span);
            if !self.source.exists(&path) {
                if required {
                    let message = format!("the environment file {} is not there", path.display());
                    let problem = Problem::error(codes::ENV_FILE, message).at(at, "required here");
                    self.report
                        .push(problem.help("make it, or write `required: false`"));
                }
                continue;
            }
            let format = file.get("format").and_then(Node::as_str);
            if let Some(format) = format.filter(|format| !matches!(*format, "" | "raw" | ".env")) {
                let message = format!("`{format}` is not a format of environment files");
                let problem = Problem::error(codes::ENV_FILE, message).at(at, "for this file");
                self.report
                    .push(problem.help("leave `format` out, or write `raw`"));
                continue;
            }
            let mut reader = EnvReader {
                source: self.source,
                files: &mut self.files,
                budget: &mut self.budget,
                report: &mut self.report,
            };
            reader.read_into(&path, format, &mut values, &lookup, at);
        }
        if let Some(place) = place {
            put_below(service, "environment", values, place);
        }
    }

    /// `labels` over the files of `label_file`.
    fn service_labels(&mut self, service: &mut Node, folder: &FilePath) {
        let mut values: BTreeMap<String, String> = BTreeMap::new();
        let Some(place) = service.get("label_file").map(Node::place) else {
            return;
        };
        for file in take_list(service, "label_file") {
            let Some(path) = file.as_str().map(|name| join(folder, FilePath::new(name))) else {
                continue;
            };
            let earlier = values.clone();
            let lookup = |name: &str| earlier.get(name).cloned();
            let mut reader = EnvReader {
                source: self.source,
                files: &mut self.files,
                budget: &mut self.budget,
                report: &mut self.report,
            };
            reader.read_into(&path, None, &mut values, &lookup, file.span);
        }
        put_below(service, "labels", values, place);
    }

    /// What is in every config, secret and seccomp profile that the model
    /// still has, and in these secrets.
    pub(super) fn contents(
        &self,
        model: &Node,
        secrets: BTreeMap<String, Node>,
        folder: &FilePath,
    ) -> Contents {
        let mut contents = Contents::new();
        visit(
            model,
            &["services", "*", "security_opt", "*"],
            &mut |node, _| {
                if let Some(Wish::Profile(name)) = node.as_str().map(wish) {
                    let path = join(folder, FilePath::new(name));
                    let content = self.read(&path.display().to_string());
                    contents.insert((SECCOMP, name.to_owned()), content);
                }
            },
        );
        let of = |kind| model.get(kind).and_then(Node::as_mapping).into_iter();
        let all = ["configs", "secrets"].into_iter().flat_map(|kind| {
            let named = of(kind).flatten();
            named.map(move |(name, node)| (kind, name, node))
        });
        let secrets = secrets.iter().map(|(name, node)| ("secrets", name, node));
        for (kind, name, node) in all.chain(secrets) {
            let broken = |node: &Node| {
                node.as_mapping()
                    .is_none_or(|m| m.values().any(Node::is_broken))
            };
            let key = (kind, name.clone());
            if !broken(node) && !contents.contains_key(&key) {
                let content = self.content(kind, name, node);
                contents.insert(key, content);
            }
        }
        contents
    }

    fn read(&self, file: &str) -> Content {
        let path = FilePath::new(file);
        let read = self.source.read(path).map_err(|error| NoContent {
            why: format!("cannot read {file}: {error}"),
            too_much: self.source.is_dir(path),
        });
        let bytes = read?;
        if bytes.len() > MAX_CONTENT {
            return Err(NoContent {
                why: format!("{file} has more than {MAX_CONTENT} bytes"),
                too_much: true,
            });
        }
        Ok(bytes)
    }

    fn content(&self, kind: &'static str, name: &str, node: &Node) -> Content {
        let text = |key: &str| node.get(key).and_then(Node::as_str);
        if let Some(content) = text("content") {
            return Ok(content.as_bytes().to_vec());
        }
        if let Some(variable) = text("environment") {
            let value = self
                .values
                .get(&(kind, name.to_owned()))
                .map(|value| value.as_bytes().to_vec());
            return value.ok_or_else(|| format!("the variable `{variable}` is not set").into());
        }
        if let Some(file) = text("file") {
            return self.read(file);
        }
        match node.get("external").and_then(Node::as_bool) {
            Some(true) => Err("there is no store of external configs and secrets".into()),
            _ => Err("neither `file` nor `environment` is given".into()),
        }
    }
}

fn services(model: &mut Node) -> impl Iterator<Item = (&String, &mut Node)> {
    model
        .get_mut("services")
        .and_then(Node::as_mapping_mut)
        .into_iter()
        .flatten()
}

/// Gives variables without a value that of the project's environment.
fn inherit(service: &mut Node, environment: &BTreeMap<String, String>) {
    let own = service.get_mut("environment");
    for (name, node) in own.and_then(Node::as_mapping_mut).into_iter().flatten() {
        if let Some(value) = environment.get(name).filter(|_| node.is_null()) {
            node.value = Value::String(value.clone());
        }
    }
}

fn texts(node: Option<&Node>) -> BTreeMap<String, Option<String>> {
    let entries = node.and_then(Node::as_mapping).into_iter().flatten();
    entries
        .map(|(key, value)| (key.clone(), value.scalar_text()))
        .collect()
}

fn take_list(service: &mut Node, key: &str) -> Vec<Node> {
    match service
        .as_mapping_mut()
        .and_then(|entries| entries.shift_remove(key))
        .map(|node| node.value)
    {
        Some(Value::Sequence(items)) => items,
        _ => Vec::new(),
    }
}

/// Puts what files have, which stand at `at`, below what an attribute says itself, in
/// the order in which it is printed.
fn put_below(service: &mut Node, key: &str, values: BTreeMap<String, String>, at: Span) {
    let node = |value| Node {
        key: at,
        ..Node::string(value, at)
    };
    let values = values.into_iter().map(|(key, value)| (key, node(value)));
    let mut all: BTreeMap<String, Node> = values.collect();
    let own = service.get(key).and_then(Node::as_mapping);
    all.extend(own.cloned().unwrap_or_default());
    let place = service.get(key).map_or(service.place(), Node::place);
    let mut all: Mapping = all.into_iter().collect();
    all.sort_by(|a, _, b, _| natural_order(a, b));
    let Some(entries) = service.as_mapping_mut().filter(|_| !all.is_empty()) else {
        return;
    };
    let node = Node {
        key: place,
        ..Node::mapping(all, place)
    };
    entries.insert(key.to_owned(), node);
    crate::schema::sort_service(entries);
}

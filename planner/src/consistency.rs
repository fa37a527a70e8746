//! References between services and resources, and attributes that must agree.

mod service;

use crate::diagnostic::{Problem, Report, codes};
use crate::graph::Graph;
use crate::suggest;
use crate::tree::{Mapping, Node, Span};

/// Extended services that are named beside a problem at most.
const MOST_BASES: usize = 3;

/// Checks the model of the enabled services.
///
/// `partial`: something could not be read, so nothing is said about names that are not there.
pub(crate) fn check(model: &Node, disabled: &Mapping, partial: bool, report: &mut Report) {
    let empty = Mapping::new();
    let services = model
        .get("services")
        .and_then(Node::as_mapping)
        .unwrap_or(&empty);
    for (name, service) in services {
        if service.is_broken() {
            continue;
        }
        let mut check = Check {
            model,
            services,
            disabled,
            partial,
            report,
            name,
            service,
        };
        check.references();
        check.image_or_build();
        check.networks();
        check.scale();
        check.limits();
        check.mounts();
        check.rest();
    }
    for (name, secret) in model
        .get("secrets")
        .and_then(Node::as_mapping)
        .into_iter()
        .flatten()
    {
        let has = |key: &str| secret.get(key).is_some();
        // Without a driver it has been reported with the rules.
        if has("driver") && !has("external") && !has("file") && !has("environment") {
            let problem = Problem::error(
                codes::MISSING_KEY,
                format!("the secret `{name}` needs `file` or `environment`"),
            );
            report.push(problem.at(secret.place(), "has no content"));
        }
    }
    for steps in Graph::new(services).cycles() {
        let mut names: Vec<_> = steps.iter().map(|(from, _, _)| from.as_str()).collect();
        names.extend(names.first().copied());
        let message = format!("services depend on each other: {}", names.join(" → "));
        let mut problem = Problem::error(codes::DEPENDENCY_CYCLE, message);
        for (from, span, to) in &steps {
            problem = problem.at(*span, format!("`{from}` depends on `{to}`"));
        }
        report.push(problem.help("remove one of these dependencies"));
    }
}

/// One service and all around it.
struct Check<'a> {
    model: &'a Node,
    services: &'a Mapping,
    disabled: &'a Mapping,
    partial: bool,
    report: &'a mut Report,
    name: &'a str,
    service: &'a Node,
}

impl Check<'_> {
    fn references(&mut self) {
        for (dependency, node) in entries(self.service.get("depends_on")) {
            if self.services.contains_key(dependency) || node.is_broken() {
                continue;
            }
            let required = node.get("required").and_then(Node::as_bool).unwrap_or(true);
            if self.disabled.contains_key(dependency) {
                if required {
                    let message = format!(
                        "`{}` depends on `{dependency}`, which no active profile enables",
                        self.name
                    );
                    let problem = Problem::error(codes::UNDEFINED_SERVICE, message)
                        .at(node.place(), "not enabled");
                    let profiles = items(
                        self.disabled
                            .get(dependency)
                            .and_then(|service| service.get("profiles")),
                    );
                    let profile = profiles.first().and_then(Node::as_str).unwrap_or("*");
                    self.push(problem.help(format!(
                        "add `--profile {profile}`, or write `required: false`"
                    )));
                }
                continue;
            }
            if self.partial {
                continue;
            }
            let message = format!(
                "`{}` depends on `{dependency}`, which is not defined",
                self.name
            );
            let names = self
                .services
                .keys()
                .chain(self.disabled.keys())
                .map(String::as_str);
            let names = names.filter(|name| *name != self.name && !self.report.is_full());
            let help = suggest::did_you_mean_or_list(dependency, "services", names);
            let problem = Problem::error(codes::UNDEFINED_SERVICE, message);
            self.push(
                problem
                    .at(node.place(), "there is no such service")
                    .maybe_help(help),
            );
        }
        if let Some(mode) = self.service.get("network_mode")
            && let Some(other) = mode.as_str().and_then(|mode| mode.strip_prefix("service:"))
            && !self.services.contains_key(other)
            && !entries(self.service.get("depends_on")).any(|(name, _)| name == other)
            && !self.partial
        {
            let message = format!(
                "`{}` uses the network of `{other}`, which is not defined",
                self.name
            );
            self.push(
                Problem::error(codes::UNDEFINED_SERVICE, message)
                    .on(mode, "there is no such service"),
            );
        }
        for (kind, what) in [("networks", "network"), ("models", "model")] {
            // Both is a conflict of its own.
            let conflict = kind == "networks" && self.service.get("network_mode").is_some();
            for (key, node) in entries(self.service.get(kind)).filter(|_| !conflict) {
                self.defined(kind, what, key, node);
            }
        }
        for volume in items(self.service.get("volumes")) {
            let kind = volume.get("type").and_then(Node::as_str);
            if let (Some("volume"), Some(source)) = (kind, volume.get("source")) {
                self.defined(
                    "volumes",
                    "volume",
                    source.as_str().unwrap_or_default(),
                    source,
                );
            }
        }
        let lists = [
            ("secrets", "secret", self.service.get("secrets")),
            (
                "secrets",
                "build secret",
                self.service.at(&["build", "secrets"]),
            ),
            ("configs", "config", self.service.get("configs")),
        ];
        for (kind, what, list) in lists {
            for reference in items(list) {
                if let Some(source) = reference.get("source") {
                    self.defined(kind, what, source.as_str().unwrap_or_default(), source);
                }
            }
        }
    }

    /// Reports, with the places where the service extends another when what is
    /// wrong was written there.
    fn push(&mut self, mut problem: Problem) {
        if self.report.is_full() {
            return self.report.push(problem);
        }
        let foreign =
            |(at, _): &(Span, String)| at.file == self.service.place().file && !self.owns(*at);
        if problem.labels.iter().any(foreign) {
            for (at, base) in self.report.extended(self.name).iter().take(MOST_BASES) {
                problem = problem.at(*at, format!("`{}` extends `{base}`", self.name));
            }
        }
        self.report.push(problem);
    }

    /// Is `at`, in the same file, between this service and the next one?
    fn owns(&self, at: Span) -> bool {
        let own = self.service.place();
        let others = self
            .services
            .values()
            .chain(self.disabled.values())
            .map(Node::place);
        at >= own && !others.into_iter().any(|other| other > own && other <= at)
    }

    fn defined(&mut self, kind: &str, what: &str, key: &str, node: &Node) {
        if self.partial || node.is_broken() || self.model.get(kind).is_some_and(Node::is_broken) {
            return;
        }
        let known = self.model.get(kind).and_then(Node::as_mapping);
        if known.is_some_and(|known| known.contains_key(key)) {
            return;
        }
        let message = format!(
            "`{}` uses the {what} `{key}`, which is not defined",
            self.name
        );
        let names = known.filter(|_| !self.report.is_full());
        let names = names.into_iter().flatten().map(|(name, _)| name.as_str());
        let help = suggest::did_you_mean(key, names)
            .unwrap_or_else(|| format!("define it at the top level: `{kind}: {{{key}: …}}`"));
        let place = if node.as_mapping().is_some() {
            node.place()
        } else {
            node.value_place()
        };
        let problem = Problem::error(codes::UNDEFINED_RESOURCE, message).at(place, "not defined");
        self.push(problem.help(help));
    }
}

fn items(node: Option<&Node>) -> &[Node] {
    node.and_then(Node::as_sequence).unwrap_or_default()
}

fn entries(node: Option<&Node>) -> impl Iterator<Item = (&String, &Node)> {
    node.and_then(Node::as_mapping).into_iter().flatten()
}

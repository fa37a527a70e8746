//! Attributes of one service that must agree with each other.

use std::collections::BTreeMap;

use super::{Check, entries, items};
use crate::diagnostic::{Problem, codes};
use crate::suggest;
use crate::tree::{Node, Span};

impl Check<'_> {
    pub(super) fn image_or_build(&mut self) {
        let service = self.service;
        // The last two stand for something that could not be read.
        if ["image", "build", "provider", "extends", "<<"]
            .iter()
            .all(|key| service.get(key).is_none())
        {
            let others = self.services.keys().map(String::as_str);
            let others = others.filter(|other| *other != self.name && !self.report.is_full());
            let near = suggest::nearest(self.name, others);
            let problem = Problem::error(
                codes::NO_IMAGE,
                format!("`{}` has neither `image` nor `build`", self.name),
            );
            self.push(
                problem
                    .at(service.place(), "what should run here?")
                    .help(match near {
                        Some(near) => {
                            format!("write `image: …`, or did you mean the service `{near}`?")
                        }
                        None => "write `image: …`".to_owned(),
                    }),
            );
        }
        let Some(build) = service.get("build") else {
            return;
        };
        if let (Some(file), Some(inline)) =
            (build.get("dockerfile"), build.get("dockerfile_inline"))
        {
            self.conflict("dockerfile", file, "dockerfile_inline", inline);
        }
        for (name, context) in entries(build.get("additional_contexts")) {
            let Some(other) = context
                .as_str()
                .and_then(|text| text.strip_prefix("service:"))
            else {
                continue;
            };
            let found = self.services.get(other).or(self.disabled.get(other));
            let reason = match found {
                Some(found) if found.get("build").is_some() => continue,
                Some(_) => "is not built",
                None => "is not defined",
            };
            let message = format!(
                "the context `{name}` of `{}` is the service `{other}`, which {reason}",
                self.name
            );
            self.push(
                Problem::error(codes::UNDEFINED_SERVICE, message).on(context, "this service"),
            );
        }
        let platforms = items(build.get("platforms"));
        if let Some(platform) = service.get("platform")
            && !platforms.is_empty()
            && !platforms.contains(platform)
        {
            let message = format!(
                "`{}` runs on a platform that it is not built for",
                self.name
            );
            let problem = Problem::error(codes::INCONSISTENT, message)
                .on(platform, "not among the built ones");
            self.push(problem.at(
                build.get("platforms").map_or(Span::NONE, Node::place),
                "these are built",
            ));
        }
    }

    pub(super) fn networks(&mut self) {
        if let (Some(mode), Some(networks)) = (
            self.service.get("network_mode"),
            self.service.get("networks"),
        ) {
            self.conflict("network_mode", mode, "networks", networks);
        }
    }

    fn conflict(&mut self, first: &str, a: &Node, second: &str, b: &Node) {
        let message = format!("`{}` has both `{first}` and `{second}`", self.name);
        let problem = Problem::error(codes::CONFLICT, message);
        self.push(
            problem
                .at(a.place(), "this one")
                .at(b.place(), "and this one exclude each other")
                .help("remove one of them"),
        );
    }

    pub(super) fn scale(&mut self) {
        let (scale, replicas) = (
            self.service.get("scale"),
            self.service.at(&["deploy", "replicas"]),
        );
        if let (Some(scale), Some(replicas)) = (scale, replicas)
            && scale != replicas
            && !self.service.get("deploy").is_some_and(Node::is_broken)
        {
            self.differ("scale", scale, "deploy.replicas", replicas);
        }
        for node in [scale, replicas].into_iter().flatten() {
            if node.as_int().is_some_and(|count| count < 0) {
                let problem = Problem::error(
                    codes::NOT_ALLOWED,
                    format!("`{}` cannot have less than 0 replicas", self.name),
                );
                self.push(problem.on(node, "0 or more"));
            }
        }
        let many = scale
            .or(replicas)
            .filter(|node| node.as_int().is_some_and(|count| count > 1));
        if let (Some(many), Some(name)) = (many, self.service.get("container_name")) {
            let message = format!(
                "`{}` has one `container_name` but several replicas",
                self.name
            );
            let problem = Problem::error(codes::CONFLICT, message);
            self.push(
                problem
                    .at(name.place(), "a name is for one")
                    .at(many.place(), "more than one"),
            );
        }
    }

    pub(super) fn limits(&mut self) {
        let pairs = [
            ("cpus", "limits", "cpus"),
            ("mem_limit", "limits", "memory"),
            ("mem_reservation", "reservations", "memory"),
            ("pids_limit", "limits", "pids"),
        ];
        for (own, section, name) in pairs {
            let Some(value) = self.service.get(own) else {
                continue;
            };
            let Some(section_node) = self.service.at(&["deploy", "resources", section]) else {
                continue;
            };
            let other = section_node.get(name);
            if other != Some(value) {
                let long = format!("deploy.resources.{section}.{name}");
                self.differ(own, value, &long, other.unwrap_or(section_node));
            }
        }
    }

    fn differ(&mut self, first: &str, a: &Node, second: &str, b: &Node) {
        if a.is_broken() || b.is_broken() {
            return;
        }
        let message = format!(
            "`{}` has different values for `{first}` and `{second}`",
            self.name
        );
        let problem = Problem::error(codes::INCONSISTENT, message);
        self.push(
            problem
                .at(a.value_place(), "this")
                .at(b.value_place(), "and this must be the same"),
        );
    }

    pub(super) fn mounts(&mut self) {
        let mut taken: BTreeMap<&str, Span> = BTreeMap::new();
        let tmpfs = items(self.service.get("tmpfs"))
            .iter()
            .filter_map(|node| Some((node.as_str()?.split(':').next()?, node.span)));
        let volumes = items(self.service.get("volumes")).iter();
        let volumes = volumes
            .filter_map(|node| Some((node.get("target")?.as_str()?, node.get("target")?.span)));
        for (target, span) in tmpfs.chain(volumes) {
            if let Some(first) = taken.insert(target, span) {
                let message = format!("`{}` mounts two things at {target}", self.name);
                let problem = Problem::error(codes::DUPLICATE_MOUNT, message);
                self.push(problem.at(span, "mounted again").at(first, "mounted here"));
            }
        }
    }

    pub(super) fn rest(&mut self) {
        let test = items(self.service.at(&["healthcheck", "test"]));
        if let Some(first) = test.first()
            && !matches!(first.as_str(), Some("CMD" | "CMD-SHELL" | "NONE"))
        {
            let message = format!(
                "the health check of `{}` does not say how to run",
                self.name
            );
            let problem = Problem::error(codes::NOT_ALLOWED, message)
                .on(first, "not `CMD`, `CMD-SHELL` or `NONE`");
            self.push(problem.help("write `test: [\"CMD\", …]`, or one string for a shell"));
        }
        for watch in items(self.service.at(&["develop", "watch"])) {
            let action = watch
                .get("action")
                .and_then(Node::as_str)
                .unwrap_or_default();
            if watch.get("action").is_some_and(Node::is_broken) {
                continue;
            }
            if watch.get("target").is_none() && !matches!(action, "rebuild" | "restart") {
                let message = format!(
                    "a watch rule of `{}` with the action `{action}` needs a `target`",
                    self.name
                );
                let place = watch.get("action").map_or(watch.place(), Node::value_place);
                self.push(
                    Problem::error(codes::MISSING_KEY, message).at(place, "`target` is missing"),
                );
            }
            if watch.get("exec").is_none() && action == "sync+exec" {
                let message = format!(
                    "a watch rule of `{}` with the action `{action}` needs an `exec`",
                    self.name
                );
                let place = watch.get("action").map_or(watch.place(), Node::value_place);
                self.push(
                    Problem::error(codes::MISSING_KEY, message)
                        .at(place, "`exec` is missing")
                        .help("say which `command` runs after the copying, or write `sync`"),
                );
            }
        }
    }
}

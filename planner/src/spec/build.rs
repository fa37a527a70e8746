//! `build` (Compose Build Specification).

use std::collections::BTreeMap;

use stack_api::build::BuildSpec;

use super::{entries, flag, items, limits, text, texts, texts_by_key};
use crate::diagnostic::{Problem, Report, codes};
use crate::project::Parts;
use crate::tree::{Mapping, Node};

/// How the services of a stack are built, by service, each with what stands in its
/// way: that is an error only when the image has to be built. Those of other
/// profiles are among them as far as others are built from them.
pub(crate) fn builds(parts: &Parts, report: &mut Report) -> BTreeMap<String, (BuildSpec, Report)> {
    with_others(&parts.model, &parts.disabled)
        .map(|(name, service, node)| {
            let mut hindrances = Report::default();
            let reports = (&mut *report, &mut hindrances);
            let build = build(parts, (name, service), node, reports);
            (name.clone(), (build, hindrances))
        })
        .collect()
}

/// The services that have a `build`, and those that no profile enables as far as
/// others are built from them: name, service and `build`.
fn with_others<'a>(
    model: &'a Node,
    disabled: &'a Mapping,
) -> impl Iterator<Item = (&'a String, &'a Node, &'a Node)> {
    let mut all = BTreeMap::new();
    let mut new: Vec<(&String, &Node)> = entries(model.get("services")).collect();
    while let Some((name, service)) = new.pop() {
        let Some(node) = service.get("build").filter(|_| !all.contains_key(name)) else {
            continue;
        };
        let contexts = entries(node.get("additional_contexts"));
        let others = contexts.filter_map(|(_, place)| place.as_str()?.strip_prefix("service:"));
        new.extend(others.filter_map(|other| disabled.get_key_value(other)));
        all.insert(name, (service, node));
    }
    all.into_iter()
        .map(|(name, (service, node))| (name, service, node))
}

/// The secrets that builds need, also of services that no profile enables, with
/// their definitions.
pub(crate) fn secrets_of(model: &Node, disabled: &Mapping) -> BTreeMap<String, Node> {
    let builds = with_others(model, disabled);
    let named = builds.flat_map(|(_, _, node)| items(node.get("secrets")));
    named
        .filter_map(|reference| {
            let name = text(reference, "source")?;
            let definition = model.at(&["secrets", &name])?.clone();
            Some((name, definition))
        })
        .collect()
}

/// The image of a service: its own name, or the one that a built image gets.
pub(super) fn image(project: &str, name: &str, service: &Node) -> String {
    match (text(service, "image"), service.get("build")) {
        (None, Some(_)) => BuildSpec::image_of(project, name),
        (image, _) => image.unwrap_or_default(),
    }
}

fn build(
    parts: &Parts,
    (name, service): (&str, &Node),
    node: &Node,
    (report, hindrances): (&mut Report, &mut Report),
) -> BuildSpec {
    let default = parts.environment.get("DOCKER_DEFAULT_PLATFORM");
    let default = default.map(String::as_str);
    let foreign_platforms = platforms(service, node, default, hindrances);
    if let Some(network) = node.get("network")
        && !matches!(network.as_str(), Some("none" | "host" | "default"))
    {
        let message = "`build.network` can be `none` or `default`";
        let problem = Problem::warning(codes::IGNORED, message);
        report.push(problem.at(network.place(), "has no effect"));
    }
    let entitled = texts(node, "entitlements");
    BuildSpec {
        image: image(&parts.name, name, service),
        tags: texts(node, "tags"),
        context: text(node, "context").unwrap_or_default(),
        dockerfile: text(node, "dockerfile").unwrap_or_default(),
        dockerfile_inline: text(node, "dockerfile_inline"),
        args: texts_by_key(node, "args"),
        target: text(node, "target"),
        labels: texts_by_key(node, "labels"),
        cache_from: texts(node, "cache_from"),
        cache_to: texts(node, "cache_to"),
        secrets: secrets(parts, node, hindrances),
        ssh: texts(node, "ssh").into_iter().map(key).collect(),
        network: text(node, "network"),
        additional_contexts: texts_by_key(node, "additional_contexts"),
        extra_hosts: items(node.get("extra_hosts"))
            .iter()
            .filter_map(|item| item.as_str()?.split_once('='))
            .map(|(host, address)| (host.to_owned(), address.to_owned()))
            .collect(),
        no_cache: flag(node, "no_cache"),
        pull: flag(node, "pull"),
        shm_size: limits::size(node.get("shm_size"), report),
        ulimits: limits::ulimits(node, report),
        privileged: flag(node, "privileged")
            || entitled.iter().any(|entry| entry == "security.insecure"),
        proxies: BTreeMap::new(),
        foreign_platforms,
        hindrance: None,
        always: text(service, "pull_policy").as_deref() == Some("build"),
    }
}

/// An entry of `ssh`: its id, and the path of the key or agent, if it has one.
fn key(entry: String) -> (String, String) {
    match entry.split_once('=') {
        Some((id, path)) => (id.to_owned(), path.to_owned()),
        None => (entry, String::new()),
    }
}

/// By id: the target, or the secret's name.
fn secrets(parts: &Parts, node: &Node, report: &mut Report) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for reference in items(node.get("secrets")) {
        let Some(source) = text(reference, "source") else {
            continue;
        };
        let id = text(reference, "target").unwrap_or_else(|| source.clone());
        let why = match parts.contents.get(&("secrets", source.clone())) {
            Some(Ok(content)) => {
                all.insert(id, content.clone());
                continue;
            }
            Some(Err(none)) => none.why.as_str(),
            None => "it is not defined",
        };
        let message = format!("the secret `{source}` has no content: {why}");
        let problem = Problem::error(codes::UNUSABLE_VALUE, message);
        report.push(problem.at(reference.span, "used here"));
    }
    all
}

/// Of this machine.
fn own_platform() -> &'static str {
    match cfg!(target_arch = "aarch64") {
        true => "linux/arm64",
        false => "linux/amd64",
    }
}

/// `name` is this platform, whatever its variant, or none.
fn is_for(own: &str, name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let (os, architecture) = name.split_once('/').unwrap_or(("linux", &name));
    let (architecture, variant) = architecture.split_once('/').unwrap_or((architecture, ""));
    // One word for each (containerd, platforms/database.go).
    let architecture = match architecture {
        "x86_64" | "x86-64" => "amd64",
        "aarch64" => "arm64",
        "armhf" | "armel" => "arm",
        "i386" | "x86" => "386",
        other => other,
    };
    let usual = format!("{os}/{architecture}/{variant}");
    let rest = usual.strip_prefix(own);
    name.is_empty() || rest.is_some_and(|v| v.is_empty() || v.starts_with('/'))
}

/// Programs for another processor do not run: that is said before their image is
/// pulled. Builds say it themselves.
pub(super) fn check_platform(service: &Node, report: &mut Report) {
    let own = own_platform();
    let wanted = service.get("platform");
    let Some(wanted) = wanted.filter(|_| service.get("build").is_none()) else {
        return;
    };
    let name = wanted.as_str().unwrap_or_default();
    // An older one of the same family is understood.
    let older = match own {
        "linux/arm64" => "linux/arm",
        _ => "linux/386",
    };
    if is_for(own, name) || is_for(older, name) {
        return;
    }
    let message = format!("programs for `{name}` do not run on this machine's processor");
    let problem = Problem::warning(codes::FOREIGN_PLATFORM, message);
    report.push(
        problem
            .at(wanted.place(), "of another processor")
            .help("leave `platform` out: most images exist for both"),
    );
}

/// Images are built for the processor that is here: the service's platform, or
/// else one of `build.platforms`. Gives the others of these, and that of the
/// environment, which only whoever publishes the image would miss.
fn platforms(
    service: &Node,
    node: &Node,
    default: Option<&str>,
    hindrances: &mut Report,
) -> Vec<String> {
    let own = own_platform();
    let fits = |node: &&Node| is_for(own, node.as_str().unwrap_or_default());
    let listed = items(node.get("platforms"));
    let one = service.get("platform");
    let foreign: Vec<&Node> = listed.iter().filter(|node| !fits(node)).collect();
    let wrong = match one {
        Some(one) => Some(one).filter(|one| !fits(one)),
        None => foreign
            .first()
            .copied()
            .filter(|_| foreign.len() == listed.len()),
    };
    if let Some(platform) = wrong {
        let name = platform.as_str().unwrap_or_default();
        let message = format!("images are built for {own} only, not for `{name}`");
        let problem = Problem::error(codes::UNSUPPORTED, message);
        hindrances.push(
            problem
                .at(platform.place(), "not supported")
                .help("build it on such a machine, and name the image in `image`"),
        );
    }
    let names = foreign.into_iter().filter_map(Node::as_str);
    let mut names: Vec<String> = names.map(str::to_owned).collect();
    let default = default.filter(|name| one.is_none() && !is_for(own, name));
    if let Some(name) = default.filter(|name| !names.iter().any(|known| known == name)) {
        names.push(name.to_owned());
    }
    names
}

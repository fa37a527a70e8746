//! Which rules can be followed, and what of their paths is looked at.

use std::path::Path;

use stack_api::build::BuildWhen;
use stack_api::request::Up;
use stack_api::spec::{MountSource, StackSpec};
use stack_planner::{Project, Rule, WatchAction, plan};
use stack_sync::{Filter, Patterns, below};

use crate::error::Error;
use crate::ui::Ui;

/// The rules of all services that a request starts; what cannot be done is told.
///
/// # Errors
/// There are none, or one asks for a build that cannot be.
pub(super) fn of(ui: Ui, project: &Project, started: &Up) -> Result<Vec<Rule>, Error> {
    let spec = &started.spec;
    let services = plan::select(&spec.services, &started.services, !started.no_deps)
        .map_err(|error| Error::usage(error.to_string(), "`stack config --services` lists them"))?;
    let mut rules = project.watch_rules();
    rules.retain(|rule| services.contains(&rule.service));
    if rules.is_empty() {
        return Err(Error::usage(
            "no service has a `develop.watch` section",
            "say which files to watch and what to do: \
             https://github.com/compose-spec/compose-spec/blob/main/develop.md",
        ));
    }
    for rule in rules.iter().filter(|r| r.action == WatchAction::Rebuild) {
        let (service, path) = (&rule.service, rule.path.display());
        if project.build_context(service).is_none() {
            return Err(Error::usage(
                format!("{service}: {path} asks for a rebuild, but the service has no `build`"),
                "say how it is built, or choose another `action`",
            ));
        }
        if started.build == Some(BuildWhen::Never) {
            return Err(Error::usage(
                format!("{service}: {path} asks for a rebuild, which --no-build forbids"),
                "leave out --no-build or --watch",
            ));
        }
    }
    rules.retain_mut(|rule| is_possible(ui, rule, spec));
    if rules.is_empty() {
        return Err(Error::usage(
            "there is nothing to watch: every path is mounted into its service",
            "a mount shows changes without `develop.watch`",
        ));
    }
    Ok(rules)
}

/// Does a rule copy files? One whose files are mounted does not.
pub(super) fn copies(rule: &Rule) -> bool {
    rule.action.copies() && rule.target.is_some()
}

/// Says why a rule is passed over. Of one that only runs a command where the files
/// are mounted, the copying goes: it would be into the same files, for ever.
fn is_possible(ui: Ui, rule: &mut Rule, spec: &StackSpec) -> bool {
    let service = spec.services.get(&rule.service);
    let is_there = |source: &MountSource| match source {
        MountSource::Bind { path, .. } => rule.path.starts_with(path),
        _ => false,
    };
    let mounted = service.is_some_and(|s| s.mounts.iter().any(|m| is_there(&m.source)));
    match rule.action {
        WatchAction::SyncExec if mounted => rule.target = None,
        WatchAction::Sync | WatchAction::SyncRestart if mounted => {
            ui.warn(format_args!(
                "{}: {} is not watched: it is mounted into the service, which sees changes anyway",
                rule.service,
                rule.path.display()
            ));
            return false;
        }
        _ => {}
    }
    true
}

/// What a rule leaves out.
///
/// # Errors
/// A pattern is none.
pub(super) fn filter(project: &Project, rule: &Rule, spec: &StackSpec) -> Result<Filter, Error> {
    let read = |what: &str, lines: &[String]| {
        Patterns::new(lines.iter().map(String::as_str)).map_err(|why| {
            Error::usage(
                format!("{}: {what} of {}: {why}", rule.service, rule.path.display()),
                "patterns are written as in `.dockerignore`",
            )
        })
    };
    let mut ignore = vec![
        (rule.path.clone(), Patterns::of_editors()),
        (rule.path.clone(), read("ignore", &rule.ignore)?),
        (
            rule.path.clone(),
            read("mounts", &mounted_below(rule, spec))?,
        ),
    ];
    if let Some((context, dockerfile)) = project.build_context(&rule.service) {
        let own = context.join(format!("{dockerfile}.dockerignore"));
        let bytes = std::fs::read(own).or_else(|_| std::fs::read(context.join(".dockerignore")));
        if let Ok(bytes) = bytes {
            // A name that is no text cannot be meant; the others hold, as in builds.
            let text = String::from_utf8_lossy(&bytes);
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            ignore.push((context, read(".dockerignore", &lines)?));
        }
    }
    Ok(Filter {
        ignore,
        include: read("include", &rule.include)?,
    })
}

/// What is mounted from below a rule's path at the same place below its target:
/// the service sees it anyway, and what it writes there must not be copied onto
/// itself.
fn mounted_below(rule: &Rule, spec: &StackSpec) -> Vec<String> {
    let (Some(service), Some(target)) = (spec.services.get(&rule.service), &rule.target) else {
        return Vec::new();
    };
    let same = |source: &Path, at: &str| {
        let relative = below(&rule.path, source).filter(|relative| !relative.is_empty())?;
        let there = Path::new(target).join(&relative);
        (there == Path::new(at)).then(|| escaped(&relative))
    };
    let mounts = service.mounts.iter();
    mounts
        .filter_map(|mount| match &mount.source {
            MountSource::Bind { path, .. } => same(path, &mount.target),
            _ => None,
        })
        .collect()
}

/// A path as a pattern that means nothing else.
fn escaped(path: &str) -> String {
    let mut out = String::new();
    for c in path.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\' | '!' | '#') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests;

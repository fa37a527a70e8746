//! `develop.watch` (Compose Develop Specification): what follows when files
//! of the host change.

use std::path::PathBuf;

use crate::Project;
use crate::spec::variables;
use crate::tree::{Node, items, text};

/// One entry of a service's `develop.watch`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Service.
    pub service: String,
    /// Absolute path of the watched file or directory.
    pub path: PathBuf,
    /// What follows.
    pub action: WatchAction,
    /// Where the path is in the container; of all actions but rebuild and
    /// restart.
    pub target: Option<String>,
    /// Patterns (`.dockerignore` syntax, relative to `path`) of what is left
    /// alone.
    pub ignore: Vec<String>,
    /// Patterns of what is looked at; none is everything.
    pub include: Vec<String>,
    /// Files are made to be the same when watching begins.
    pub initial_sync: bool,
    /// The command of [`WatchAction::SyncExec`].
    pub exec: Option<WatchExec>,
}

/// What a [`Rule`] does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WatchAction {
    /// Builds the image and replaces the container.
    Rebuild,
    /// Copies into the container.
    Sync,
    /// Copies, then restarts.
    SyncRestart,
    /// Copies, then runs a command.
    SyncExec,
    /// Restarts.
    Restart,
}

impl WatchAction {
    /// Files are copied.
    pub fn copies(self) -> bool {
        matches!(self, Self::Sync | Self::SyncRestart | Self::SyncExec)
    }
}

impl std::fmt::Display for WatchAction {
    /// As it is written in a stack file.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Rebuild => "rebuild",
            Self::Sync => "sync",
            Self::SyncRestart => "sync+restart",
            Self::SyncExec => "sync+exec",
            Self::Restart => "restart",
        })
    }
}

/// A command that runs in the container after files were copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchExec {
    /// Program and arguments.
    pub command: Vec<String>,
    /// User; default the service's.
    pub user: Option<String>,
    /// All capabilities.
    pub privileged: bool,
    /// Directory; default the service's.
    pub working_dir: Option<String>,
    /// `NAME=value`, or the `NAME` of one that is taken away.
    pub environment: Vec<String>,
}

impl Project {
    /// The rules of all enabled services.
    pub fn watch_rules(&self) -> Vec<Rule> {
        let mut rules = Vec::new();
        for (name, service) in self.services() {
            let all = items(service.at(&["develop", "watch"]));
            rules.extend(all.iter().filter_map(|node| rule(name, node)));
        }
        rules
    }

    /// Where a service is built: its context and the name of its Dockerfile.
    pub fn build_context(&self, service: &str) -> Option<(PathBuf, String)> {
        let build = self.model().at(&["services", service, "build"])?;
        let context = build.get("context").and_then(Node::as_str)?;
        let dockerfile = build.get("dockerfile").and_then(Node::as_str);
        Some((
            PathBuf::from(context),
            dockerfile.unwrap_or("Dockerfile").to_owned(),
        ))
    }
}

fn rule(service: &str, node: &Node) -> Option<Rule> {
    let action = match text(node, "action") {
        "rebuild" => WatchAction::Rebuild,
        "sync" => WatchAction::Sync,
        "sync+restart" => WatchAction::SyncRestart,
        "sync+exec" => WatchAction::SyncExec,
        "restart" => WatchAction::Restart,
        _ => return None,
    };
    Some(Rule {
        service: service.to_owned(),
        path: PathBuf::from(text(node, "path")),
        action,
        target: node.get("target").and_then(Node::as_str).map(str::to_owned),
        ignore: texts(node.get("ignore")),
        include: texts(node.get("include")),
        initial_sync: node
            .get("initial_sync")
            .and_then(Node::as_bool)
            .unwrap_or(false),
        exec: node.get("exec").map(exec),
    })
}

fn exec(node: &Node) -> WatchExec {
    let optional = |key| node.get(key).and_then(Node::as_str).map(str::to_owned);
    WatchExec {
        command: texts(node.get("command")),
        user: optional("user"),
        privileged: node
            .get("privileged")
            .and_then(Node::as_bool)
            .unwrap_or(false),
        working_dir: optional("working_dir"),
        environment: variables(node),
    }
}

/// One text or a list of texts.
fn texts(node: Option<&Node>) -> Vec<String> {
    match node.and_then(Node::as_str) {
        Some(text) => vec![text.to_owned()],
        None => items(node).iter().filter_map(Node::scalar_text).collect(),
    }
}

#[cfg(test)]
mod tests;

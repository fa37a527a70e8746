//! Where the new values of a plan's changes are written.

use std::path::PathBuf;

use super::change::{Change, Place};
use super::step::{Action, Plan, Reason};
use crate::project::Project;
use crate::tree::Node;

/// Other places where the file may say the same.
const ALSO: [(&str, &str); 6] = [
    ("security_opt.seccomp", "security_opt"),
    ("mem_limit", "deploy.resources.limits.memory"),
    ("cpus", "deploy.resources.limits.cpus"),
    ("pids_limit", "deploy.resources.limits.pids"),
    ("restart", "deploy.restart_policy"),
    ("restart", "deploy.restart_policy.condition"),
];

impl Plan {
    /// Adds the lines of the new values, as far as the project knows them.
    pub fn locate(&mut self, project: &Project) {
        let mut lines = project.parts().sources.lines();
        for step in &mut self.steps {
            let Reason::Changed { changes } = &mut step.reason else {
                continue;
            };
            let service = match &step.action {
                Action::UpdateNetwork { .. } => None,
                action => action.container().map(|(service, _)| service.to_owned()),
            };
            for change in changes.iter_mut().filter(|change| change.to.is_some()) {
                change.place = node(project, service.as_deref(), change)
                    .and_then(|node| lines.place(node.value_place()))
                    .map(|(file, line)| Place {
                        file: file.to_path_buf(),
                        line,
                    });
            }
        }
    }
}

impl Project {
    /// File and line (from 1) at which a service is defined.
    pub fn service_line(&self, service: &str) -> Option<(PathBuf, usize)> {
        let node = self.model().at(&["services", service])?;
        let mut lines = self.parts().sources.lines();
        let (file, line) = lines.place(node.place())?;
        Some((file.to_path_buf(), line))
    }

    /// File and line (from 1) at which the addresses of a network are written, else the network.
    pub fn network_line(&self, key: &str) -> Option<(PathBuf, usize)> {
        let network = self.model().at(&["networks", key])?;
        let pool = network.at(&["ipam", "config"]).and_then(Node::as_sequence);
        let subnet = pool.and_then(|pools| pools.first()?.get("subnet"));
        let mut lines = self.parts().sources.lines();
        let (file, line) = lines.place(subnet.unwrap_or(network).place())?;
        Some((file.to_path_buf(), line))
    }
}

/// What the project's files say of a changed attribute.
fn node<'a>(project: &'a Project, service: Option<&str>, change: &Change) -> Option<&'a Node> {
    let attribute = change.attribute.as_str();
    let model = project.model();
    let top = || find(model, attribute);
    match service {
        None => top(),
        Some(_) if attribute.starts_with("configs.") || attribute.starts_with("secrets.") => top(),
        Some(service) => {
            let service = model.at(&["services", service])?;
            let also = ALSO.iter().filter(|(name, _)| *name == attribute);
            find(service, attribute)
                .or_else(|| also.rev().find_map(|(_, other)| find(service, other)))
                .or_else(|| tmpfs(service, attribute))
        }
    }
}

/// The tmpfs mounts come behind the volumes.
fn tmpfs<'a>(service: &'a Node, attribute: &str) -> Option<&'a Node> {
    let index = attribute.strip_prefix("volumes[")?.strip_suffix(']')?;
    let volumes = service.get("volumes").and_then(Node::as_sequence);
    let index = index
        .parse::<usize>()
        .ok()?
        .checked_sub(volumes.map_or(0, <[Node]>::len))?;
    service.get("tmpfs")?.as_sequence()?.get(index)
}

/// The node at `a.b[0].c`; keys may have dots themselves.
fn find<'a>(node: &'a Node, path: &str) -> Option<&'a Node> {
    let path = path.strip_prefix('.').unwrap_or(path);
    if path.is_empty() {
        return Some(node);
    }
    if let Some(rest) = path.strip_prefix('[') {
        let (index, rest) = rest.split_once(']')?;
        return find(node.as_sequence()?.get(index.parse::<usize>().ok()?)?, rest);
    }
    let mut keys: Vec<(&String, &Node, &str)> = node
        .as_mapping()?
        .iter()
        .filter_map(|(key, child)| {
            let rest = path.strip_prefix(key.as_str())?;
            (rest.is_empty() || rest.starts_with(['.', '['])).then_some((key, child, rest))
        })
        .collect();
    keys.sort_by_key(|(key, ..)| std::cmp::Reverse(key.len()));
    keys.into_iter()
        .find_map(|(_, child, rest)| find(child, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Report;

    #[test]
    fn keys_with_dots_and_lists() {
        let text = "labels: {com.x: a, com: {x: b}}\nports: [1, 2]\n";
        let mut report = Report::default();
        let mut budget = crate::budget::Budget::default();
        let node = crate::yaml::parse(text, 0, &mut budget, &mut report)
            .unwrap()
            .remove(0);
        let found = |path: &str| find(&node, path).and_then(Node::scalar_text);
        assert_eq!(found("labels.com.x"), Some("a".to_owned()));
        assert_eq!(found("ports[1]"), Some("2".to_owned()));
        assert_eq!(found("ports[2]"), None);
        assert_eq!(found("port"), None);
    }
}

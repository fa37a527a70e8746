//! A stack to command lines of Docker.

mod mounts;
mod resources;

use std::collections::BTreeSet;

use super::Converted;
use crate::project::Project;
use crate::tree::{Node, entries, items, text};

/// Attributes that become a flag with their text.
const TEXTS: &[(&str, &str)] = &[
    ("hostname", "hostname"),
    ("domainname", "domainname"),
    ("user", "user"),
    ("working_dir", "workdir"),
    ("restart", "restart"),
    ("cpus", "cpus"),
    ("cpu_shares", "cpu-shares"),
    ("cpu_period", "cpu-period"),
    ("cpu_quota", "cpu-quota"),
    ("cpu_rt_period", "cpu-rt-period"),
    ("cpu_rt_runtime", "cpu-rt-runtime"),
    ("cpu_count", "cpu-count"),
    ("cpu_percent", "cpu-percent"),
    ("cpuset", "cpuset-cpus"),
    ("mem_limit", "memory"),
    ("mem_reservation", "memory-reservation"),
    ("memswap_limit", "memory-swap"),
    ("mem_swappiness", "memory-swappiness"),
    ("pids_limit", "pids-limit"),
    ("shm_size", "shm-size"),
    ("oom_score_adj", "oom-score-adj"),
    ("stop_signal", "stop-signal"),
    ("platform", "platform"),
    ("runtime", "runtime"),
    ("isolation", "isolation"),
    ("uts", "uts"),
    ("userns_mode", "userns"),
    ("cgroup", "cgroupns"),
    ("cgroup_parent", "cgroup-parent"),
    ("mac_address", "mac-address"),
];
/// Attributes that become a flag when they are true.
const SWITCHES: &[(&str, &str)] = &[
    ("init", "init"),
    ("read_only", "read-only"),
    ("privileged", "privileged"),
    ("tty", "tty"),
    ("stdin_open", "interactive"),
    ("oom_kill_disable", "oom-kill-disable"),
    ("use_api_socket", "use-api-socket"),
];
/// Lists that become a flag for each item.
const LISTS: &[(&str, &str)] = &[
    ("cap_add", "cap-add"),
    ("cap_drop", "cap-drop"),
    ("dns", "dns"),
    ("dns_opt", "dns-option"),
    ("dns_search", "dns-search"),
    ("expose", "expose"),
    ("extra_hosts", "add-host"),
    ("group_add", "group-add"),
    ("security_opt", "security-opt"),
    ("device_cgroup_rules", "device-cgroup-rule"),
    ("tmpfs", "tmpfs"),
];
/// Mappings that become a flag for each entry.
const PAIRS: &[(&str, &str)] = &[
    ("environment", "env"),
    ("labels", "label"),
    ("annotations", "annotation"),
    ("sysctls", "sysctl"),
    ("storage_opt", "storage-opt"),
];
/// Attributes that are dealt with elsewhere, or mean nothing to one container.
const OTHERS: &[&str] = &[
    "image",
    "command",
    "entrypoint",
    "container_name",
    "depends_on",
    "networks",
    "network_mode",
    "volumes",
    "ports",
    "configs",
    "secrets",
    "healthcheck",
    "logging",
    "ulimits",
    "devices",
    "build",
    "deploy",
    "stop_grace_period",
    "pull_policy",
    "profiles",
    "attach",
    "scale",
    "develop",
    "extends",
    "gpus",
    "links",
    "ipc",
    "pid",
    "volumes_from",
];

/// The lines for these services; empty is all.
pub(super) fn lines(project: &Project, services: &[String]) -> Converted {
    let mut writer = Writer {
        project,
        text: String::new(),
        notes: Vec::new(),
        made: BTreeSet::new(),
    };
    for name in order(project, services) {
        if let Some(service) = project.model().at(&["services", &name]) {
            writer.service(&name, service);
        }
    }
    Converted {
        text: writer.text,
        notes: writer.notes,
    }
}

/// Dependencies first.
fn order(project: &Project, services: &[String]) -> Vec<String> {
    let wanted = if services.is_empty() {
        project.service_names()
    } else {
        services.to_vec()
    };
    let mut done: BTreeSet<String> = BTreeSet::new();
    let mut order = Vec::new();
    for root in &wanted {
        // Twice on the stack: first its dependencies, then itself.
        let mut stack = vec![(root.clone(), false)];
        while let Some((name, ready)) = stack.pop() {
            if ready {
                order.push(name);
            } else if done.insert(name.clone()) {
                stack.push((name.clone(), true));
                let needs = entries(project.model().at(&["services", &name, "depends_on"]));
                stack.extend(needs.map(|(other, _)| (other.clone(), false)));
            }
        }
    }
    order.retain(|name| services.is_empty() || services.contains(name));
    order
}

struct Writer<'a> {
    project: &'a Project,
    text: String,
    notes: Vec<String>,
    /// Networks and volumes that have been made.
    made: BTreeSet<(&'static str, String)>,
}

/// The flags of one command.
#[derive(Default)]
struct Flags {
    words: Vec<String>,
}

impl Flags {
    fn add(&mut self, flag: &str, value: impl AsRef<str>) {
        self.words
            .push(format!("--{flag} {}", quote(value.as_ref())));
    }
}

impl Writer<'_> {
    fn note(&mut self, text: String) {
        let line: String = text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        self.text.push_str(&format!("# {line}\n"));
        self.notes.push(line);
    }

    fn service(&mut self, name: &str, service: &Node) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.resources(service);
        let project = self.project.name();
        let image = match service.get("image").and_then(Node::as_str) {
            Some(image) => image.to_owned(),
            None => format!("{project}-{name}"),
        };
        if let Some(build) = service.get("build") {
            self.build(&image, build);
        }
        self.waits(name, service);
        for key in entries(service.as_mapping().map(|_| service)).map(|(key, _)| key) {
            let tables = [TEXTS, SWITCHES, LISTS, PAIRS];
            let known = tables
                .iter()
                .any(|table| table.iter().any(|(name, _)| name == key));
            if !known && !OTHERS.contains(&key.as_str()) && !key.starts_with("x-") {
                self.note(format!("{name}: `{key}` has no counterpart"));
            }
        }
        let mut flags = Flags::default();
        flags.add("name", self.container(name));
        self.simple(service, &mut flags);
        self.others(service, &mut flags);
        self.networks(name, service, &mut flags);
        self.ports(service, &mut flags);
        self.mounts(name, service, &mut flags);
        self.health(service, &mut flags);
        self.deploy(name, service, &mut flags);
        let command = command(service, &image, &mut flags);
        self.text.push_str("docker run -d");
        for word in &flags.words {
            self.text.push_str(&format!(" \\\n  {word}"));
        }
        self.text.push_str(&format!(" \\\n  {command}\n"));
    }

    /// The name of a service's container.
    fn container(&self, service: &str) -> String {
        let own = self
            .project
            .model()
            .at(&["services", service, "container_name"]);
        match own.and_then(Node::as_str) {
            Some(container) => container.to_owned(),
            None => format!("{}-{service}-1", self.project.name()),
        }
    }

    fn waits(&mut self, name: &str, service: &Node) {
        for (other, dependency) in entries(service.get("depends_on")) {
            let state = match text(dependency, "condition") {
                "service_healthy" => "is healthy",
                "service_completed_successfully" => "has ended with 0",
                _ => continue,
            };
            self.note(format!("{name}: wait until {other} {state}"));
        }
    }

    fn simple(&mut self, service: &Node, flags: &mut Flags) {
        for (key, flag) in TEXTS {
            if let Some(value) = service.get(key).and_then(Node::scalar_text) {
                flags.add(flag, value);
            }
        }
        for (key, flag) in SWITCHES {
            if is_true(service, key) {
                flags.words.push(format!("--{flag}"));
            }
        }
        for (key, flag) in LISTS {
            for value in items(service.get(key)).iter().filter_map(Node::scalar_text) {
                // Host names are kept as `host=address`.
                flags.add(
                    flag,
                    if *key == "extra_hosts" {
                        value.replacen('=', ":", 1)
                    } else {
                        value
                    },
                );
            }
        }
        for (key, flag) in PAIRS {
            for (name, value) in entries(service.get(key)) {
                flags.add(flag, pair(name, value));
            }
        }
        if let Some(policy) = service.get("pull_policy").and_then(Node::as_str) {
            flags.add("pull", policy);
        }
    }

    fn health(&mut self, service: &Node, flags: &mut Flags) {
        let Some(check) = service.get("healthcheck") else {
            return;
        };
        let words: Vec<String> = items(check.get("test"))
            .iter()
            .filter_map(Node::scalar_text)
            .collect();
        match words.split_first() {
            Some((kind, rest)) if kind == "CMD-SHELL" => flags.add("health-cmd", rest.join(" ")),
            Some((kind, rest)) if kind == "CMD" => flags.add("health-cmd", join(rest)),
            Some(_) => flags.words.push("--no-healthcheck".to_owned()),
            None => {}
        }
        if is_true(check, "disable") {
            flags.words.push("--no-healthcheck".to_owned());
        }
        for (key, flag) in [
            ("interval", "health-interval"),
            ("timeout", "health-timeout"),
            ("retries", "health-retries"),
            ("start_period", "health-start-period"),
            ("start_interval", "health-start-interval"),
        ] {
            if let Some(value) = check.get(key).and_then(Node::scalar_text) {
                flags.add(flag, value);
            }
        }
    }

    /// Limits that `deploy` gives, and what cannot be said with flags.
    fn deploy(&mut self, name: &str, service: &Node, flags: &mut Flags) {
        for (section, key, own, flag) in [
            ("limits", "cpus", "cpus", "cpus"),
            ("limits", "memory", "mem_limit", "memory"),
            ("limits", "pids", "pids_limit", "pids-limit"),
            (
                "reservations",
                "memory",
                "mem_reservation",
                "memory-reservation",
            ),
        ] {
            let value = service.at(&["deploy", "resources", section, key]);
            if let Some(value) = value
                .and_then(Node::scalar_text)
                .filter(|_| service.get(own).is_none())
            {
                flags.add(flag, value);
            }
        }
        let policy = service.at(&["deploy", "restart_policy", "condition"]);
        if let Some(policy) = policy
            .and_then(Node::as_str)
            .filter(|_| service.get("restart").is_none())
        {
            flags.add(
                "restart",
                match policy {
                    "none" => "no",
                    "any" => "always",
                    policy => policy,
                },
            );
        }
        let count = service.get("scale").or(service.at(&["deploy", "replicas"]));
        if let Some(count) = count.and_then(Node::as_int).filter(|count| *count != 1) {
            self.note(format!("{name}: this is one of {count} containers"));
        }
        let gpus = service.get("gpus").is_some()
            || service
                .at(&["deploy", "resources", "reservations", "devices"])
                .is_some();
        if gpus {
            flags.add("gpus", "all");
            self.note(format!("{name}: all GPUs are passed on"));
        }
    }
}

/// Image and command; the entrypoint's first word is a flag, the others come first.
fn command(service: &Node, image: &str, flags: &mut Flags) -> String {
    let texts = |key: &str| -> Vec<String> {
        items(service.get(key))
            .iter()
            .filter_map(Node::scalar_text)
            .collect()
    };
    let mut words = vec![image.to_owned()];
    if service
        .get("entrypoint")
        .is_some_and(|node| !node.is_null())
    {
        let entrypoint = texts("entrypoint");
        flags.add("entrypoint", entrypoint.first().map_or("", String::as_str));
        words.extend(entrypoint.into_iter().skip(1));
    }
    words.extend(texts("command"));
    join(&words)
}

/// A word as a shell reads it back.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,@+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    shell_words::quote(word).into_owned()
}

fn join(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quote(word)).collect();
    words.join(" ")
}

/// `key=value`, or the key alone when it has no value.
fn pair(name: &str, value: &Node) -> String {
    match value.scalar_text() {
        Some(value) => format!("{name}={value}"),
        None => name.to_owned(),
    }
}

fn is_true(node: &Node, key: &str) -> bool {
    node.get(key).and_then(Node::as_bool) == Some(true)
}

//! Flags that need more than a table: mounts, networks, ports, limits.

use super::command_lines::DOLLAR;
use super::service::{Service, key, number, plain, string};
use crate::tree::{Mapping, Node, Span};

impl Service {
    pub(super) fn special(&mut self, name: &str, value: &str) {
        match name {
            "name" => self.name = key(value),
            "entrypoint" => {
                let words = if value.is_empty() {
                    Vec::new()
                } else {
                    vec![string(value)]
                };
                self.set("entrypoint", Node::sequence(words, Span::NONE));
            }
            "publish" => self.push("ports", string(value)),
            "volume" => self.volume(value),
            "mount" => self.mount(value),
            "network" | "net" => self.network(value),
            "network-alias" | "net-alias" => self.attach("aliases", string(value), true),
            "ip" => self.attach("ipv4_address", string(value), false),
            "ip6" => self.attach("ipv6_address", string(value), false),
            "link-local-ip" => self.attach("link_local_ips", string(value), true),
            "link" => {
                let other = value.split(':').next().unwrap_or(value);
                let alias = value.split_once(':').map_or(other, |(_, alias)| alias);
                self.push("links", string(&format!("{}:{alias}", key(other))));
                self.depend(&key(other));
            }
            "requires" => {
                for other in value.split(',') {
                    self.depend(&key(other));
                }
            }
            "ipc" | "pid" => match value.strip_prefix("container:") {
                Some(other) => self.set(name, string(&format!("service:{}", key(other)))),
                None => self.set(name, string(value)),
            },
            "log-driver" => self.within("logging", "driver", string(value)),
            "log-opt" => {
                let (name, value) = value.split_once('=').unwrap_or((value, ""));
                let options = self.entry("logging").entry("options".to_owned());
                let options = options.or_insert_with(|| Node::mapping(Mapping::new(), Span::NONE));
                if let Some(options) = options.as_mapping_mut() {
                    options.insert(plain(name), string(value));
                }
            }
            "ulimit" => self.ulimit(value),
            "stop-timeout" => {
                self.set("stop_grace_period", string(&format!("{value}s")));
            }
            "pull" => self.set("pull_policy", string(value)),
            "no-healthcheck" => self.within("healthcheck", "disable", Node::bool(true, Span::NONE)),
            "blkio-weight" => self.within("blkio_config", "weight", number(value)),
            "gpus" => self.gpus(value),
            _ => self.note(format!("--{name} {value} was left out")),
        }
    }

    fn depend(&mut self, other: &str) {
        let known = self.entries.get("depends_on").and_then(Node::as_sequence);
        if !known.is_some_and(|known| known.iter().any(|node| node.as_str() == Some(other))) {
            self.push("depends_on", string(other));
        }
    }

    fn ulimit(&mut self, value: &str) {
        let (name, limits) = value.split_once('=').unwrap_or((value, ""));
        let node = match limits.split_once(':') {
            Some((soft, hard)) => Node::mapping(
                Mapping::from([
                    ("soft".to_owned(), number(soft)),
                    ("hard".to_owned(), number(hard)),
                ]),
                Span::NONE,
            ),
            None => number(limits),
        };
        self.entry("ulimits").insert(plain(name), node);
    }

    fn gpus(&mut self, value: &str) {
        if value == "all" {
            return self.set("gpus", string("all"));
        }
        let mut request = Mapping::new();
        for option in value.trim_matches('"').split(',') {
            match option.split_once('=') {
                Some(("device", id)) => {
                    request.insert(
                        "device_ids".to_owned(),
                        Node::sequence(vec![string(id)], Span::NONE),
                    );
                }
                Some((name @ ("driver" | "count"), text)) => {
                    request.insert(name.to_owned(), number(text));
                }
                Some(_) => self.note(format!("the option {option} of --gpus was left out")),
                None => {
                    request.insert("count".to_owned(), number(option));
                }
            }
        }
        let list = vec![Node::mapping(request, Span::NONE)];
        self.set("gpus", Node::sequence(list, Span::NONE));
    }

    /// `[source:]target[:options]`
    fn volume(&mut self, text: &str) {
        let text = relative(text);
        if let Some((source, _)) = text.split_once(':')
            && is_volume_name(source)
        {
            self.volumes.push(source.to_owned());
        }
        self.push("volumes", string(&text));
    }

    /// `type=…,source=…,target=…`
    fn mount(&mut self, text: &str) {
        let mut entries = Mapping::new();
        entries.insert("type".to_owned(), string("volume"));
        for option in text.split(',') {
            let (name, value) = option.split_once('=').unwrap_or((option, "true"));
            let on = || Node::bool(!matches!(value, "false" | "0"), Span::NONE);
            let (outer, name, node) = match name {
                "type" => (None, "type", string(value)),
                "source" | "src" => (None, "source", string(&relative(value))),
                "target" | "dst" | "destination" => (None, "target", string(value)),
                "readonly" | "ro" => (None, "read_only", on()),
                "bind-propagation" => (Some("bind"), "propagation", string(value)),
                "bind-recursive" => (Some("bind"), "recursive", string(value)),
                "volume-nocopy" => (Some("volume"), "nocopy", on()),
                "volume-subpath" => (Some("volume"), "subpath", string(value)),
                "image-subpath" => (Some("image"), "subpath", string(value)),
                "tmpfs-size" => (Some("tmpfs"), "size", string(value)),
                "tmpfs-mode" => (Some("tmpfs"), "mode", string(value)),
                "consistency" => (None, "consistency", string(value)),
                _ => {
                    self.note(format!("the option {option} of --mount was left out"));
                    continue;
                }
            };
            let into = match outer {
                None => &mut entries,
                Some(outer) => {
                    let node = entries.entry(outer.to_owned());
                    let node = node.or_insert_with(|| Node::mapping(Mapping::new(), Span::NONE));
                    match node.as_mapping_mut() {
                        Some(entries) => entries,
                        None => continue,
                    }
                }
            };
            into.insert(name.to_owned(), node);
        }
        let kind = entries.get("type").and_then(Node::as_str);
        if let (Some("volume"), Some(source)) = (kind, entries.get("source").and_then(Node::as_str))
        {
            self.volumes.push(source.to_owned());
        }
        self.push("volumes", Node::mapping(entries, Span::NONE));
    }

    /// A mode, a name, or `name=…,alias=…,ip=…`.
    fn network(&mut self, text: &str) {
        if let Some(other) = text.strip_prefix("container:") {
            return self.set("network_mode", string(&format!("service:{}", key(other))));
        }
        if matches!(text, "host" | "none" | "private")
            || text.starts_with("slirp4netns")
            || text.starts_with("pasta")
        {
            return match text {
                "host" | "none" => self.set("network_mode", string(text)),
                _ => self.note(format!(
                    "--network {text} has no counterpart: every service has its own network cards"
                )),
            };
        }
        if matches!(text, "bridge" | "default") {
            return;
        }
        let options: Vec<(&str, &str)> = text
            .split(',')
            .map(|option| option.split_once('=').unwrap_or(("name", option)))
            .collect();
        let name = options.iter().find(|(name, _)| *name == "name");
        let name = plain(name.map_or(text, |(_, name)| name));
        self.networks.push(name.clone());
        self.entry("networks").insert(name, Node::null(Span::NONE));
        for (option, value) in options {
            match option {
                "name" => {}
                "alias" => self.attach("aliases", string(value), true),
                "ip" => self.attach("ipv4_address", string(value), false),
                "ip6" => self.attach("ipv6_address", string(value), false),
                "mac-address" => self.attach("mac_address", string(value), false),
                "link-local-ip" => self.attach("link_local_ips", string(value), true),
                "gw-priority" => self.attach("gw_priority", number(value), false),
                _ => self.note(format!(
                    "the option {option}={value} of --network was left out"
                )),
            }
        }
    }

    /// An attribute of the service on its network: the one named last, or the
    /// default one.
    fn attach(&mut self, name: &str, node: Node, many: bool) {
        let networks = self.entry("networks");
        if networks.is_empty() {
            networks.insert("default".to_owned(), Node::null(Span::NONE));
        }
        let Some((_, attachment)) = networks.last_mut() else {
            return;
        };
        if attachment.as_mapping().is_none() {
            *attachment = Node::mapping(Mapping::new(), Span::NONE);
        }
        let Some(attachment) = attachment.as_mapping_mut() else {
            return;
        };
        if !many {
            attachment.insert(name.to_owned(), node);
            return;
        }
        let list = attachment.entry(name.to_owned());
        let list = list.or_insert_with(|| Node::sequence(Vec::new(), Span::NONE));
        if let Some(items) = list.as_sequence_mut() {
            items.push(node);
        }
    }

    /// Puts what was said about the default network onto the one that was
    /// named behind it; networks about which nothing is said become a list.
    pub(super) fn settle_networks(&mut self) {
        if self.entries.contains_key("network_mode") {
            self.entries.shift_remove("networks");
        }
        let Some(networks) = self.entries.get_mut("networks") else {
            return;
        };
        let Some(entries) = networks.as_mapping_mut() else {
            return;
        };
        if let Some(first) = self.networks.first().filter(|first| *first != "default")
            && let Some(early) = entries
                .shift_remove("default")
                .filter(|node| !node.is_null())
            && let Some(slot) = entries.get_mut(first)
        {
            match slot.as_mapping_mut() {
                Some(known) => {
                    let early = early.as_mapping().cloned().unwrap_or_default();
                    early.into_iter().for_each(|(name, node)| {
                        known.entry(name).or_insert(node);
                    });
                }
                None => *slot = early,
            }
        }
        if entries.values().all(Node::is_null) {
            let names = entries.keys().map(|name| Node::string(name, Span::NONE));
            *networks = Node::sequence(names.collect(), Span::NONE);
        }
    }
}

/// The working directory of the shell is the folder of the file.
fn relative(text: &str) -> String {
    for prefix in ["$(pwd)", "${PWD}", "$PWD", "`pwd`"] {
        if let Some(rest) = text.strip_prefix(prefix) {
            return format!(".{rest}");
        }
    }
    match text
        .strip_prefix("$HOME/")
        .or(text.strip_prefix("${HOME}/"))
    {
        Some(rest) => format!("~/{rest}"),
        None => text.to_owned(),
    }
}

/// Not a path, and more than the letter of a drive.
fn is_volume_name(text: &str) -> bool {
    text.len() > 1 && !text.starts_with(['.', '/', '~', '$', DOLLAR]) && !text.contains(['/', '\\'])
}

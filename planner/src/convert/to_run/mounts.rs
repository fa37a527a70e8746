//! Networks, ports, mounts, devices and limits as flags.

use super::{Flags, Writer, entries, is_true, items, pair, text};
use crate::tree::Node;

impl Writer<'_> {
    /// What names other services: their containers.
    pub(super) fn others(&self, service: &Node, flags: &mut Flags) {
        for link in items(service.get("links")).iter().filter_map(Node::as_str) {
            let (other, alias) = link.split_once(':').unwrap_or((link, link));
            flags.add("link", format!("{}:{alias}", self.container(other)));
        }
        for key in ["ipc", "pid"] {
            if let Some(mode) = service.get(key).and_then(Node::as_str) {
                flags.add(key, self.namespace(mode));
            }
        }
        for from in items(service.get("volumes_from"))
            .iter()
            .filter_map(Node::as_str)
        {
            let (other, mode) = from.split_once(':').unwrap_or((from, ""));
            let flag = match (other, mode) {
                ("container", container) => container.to_owned(),
                (other, "") => self.container(other),
                (other, mode) => format!("{}:{mode}", self.container(other)),
            };
            flags.add("volumes-from", flag);
        }
    }

    fn namespace(&self, mode: &str) -> String {
        match mode.strip_prefix("service:") {
            Some(other) => format!("container:{}", self.container(other)),
            None => mode.to_owned(),
        }
    }

    pub(super) fn networks(&mut self, name: &str, service: &Node, flags: &mut Flags) {
        if let Some(mode) = service.get("network_mode").and_then(Node::as_str) {
            return flags.add("network", self.namespace(mode));
        }
        for (key, attachment) in entries(service.get("networks")) {
            let full = self.project.model().at(&["networks", key, "name"]);
            let full = full.and_then(Node::as_str).unwrap_or(key);
            let mut options = vec![format!("name={full}"), format!("alias={name}")];
            for alias in items(attachment.get("aliases"))
                .iter()
                .filter_map(Node::as_str)
            {
                options.push(format!("alias={alias}"));
            }
            for (key, option) in [
                ("ipv4_address", "ip"),
                ("ipv6_address", "ip6"),
                ("mac_address", "mac-address"),
                ("gw_priority", "gw-priority"),
            ] {
                if let Some(value) = attachment.get(key).and_then(Node::scalar_text) {
                    options.push(format!("{option}={value}"));
                }
            }
            for address in items(attachment.get("link_local_ips"))
                .iter()
                .filter_map(Node::as_str)
            {
                options.push(format!("link-local-ip={address}"));
            }
            flags.add("network", options.join(","));
        }
    }

    pub(super) fn ports(&mut self, service: &Node, flags: &mut Flags) {
        for port in items(service.get("ports")) {
            let target = port
                .get("target")
                .and_then(Node::scalar_text)
                .unwrap_or_default();
            let published = text(port, "published");
            let host = match text(port, "host_ip") {
                "" => String::new(),
                address if address.contains(':') => format!("[{address}]:"),
                address => format!("{address}:"),
            };
            let protocol = match text(port, "protocol") {
                "" | "tcp" => String::new(),
                other => format!("/{other}"),
            };
            let from = if published.is_empty() && host.is_empty() {
                String::new()
            } else {
                format!("{host}{published}:")
            };
            flags.add("publish", format!("{from}{target}{protocol}"));
        }
    }

    pub(super) fn mounts(&mut self, name: &str, service: &Node, flags: &mut Flags) {
        for mount in items(service.get("volumes")) {
            self.mount(mount, flags);
        }
        for (list, kind, folder) in [
            ("secrets", "secret", "/run/secrets/"),
            ("configs", "config", "/"),
        ] {
            for reference in items(service.get(list)) {
                self.file(name, (list, kind, folder), reference, flags);
            }
        }
        for device in items(service.get("devices")) {
            let parts = [
                text(device, "source"),
                text(device, "target"),
                text(device, "permissions"),
            ];
            let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            flags.add("device", parts.join(":"));
        }
        for (limit, value) in entries(service.get("ulimits")) {
            let part = |key: &str| {
                value
                    .get(key)
                    .and_then(Node::scalar_text)
                    .unwrap_or_default()
            };
            let value = value
                .scalar_text()
                .unwrap_or_else(|| format!("{}:{}", part("soft"), part("hard")));
            flags.add("ulimit", format!("{limit}={value}"));
        }
        if let Some(driver) = service.at(&["logging", "driver"]).and_then(Node::as_str) {
            flags.add("log-driver", driver);
        }
        for (option, value) in entries(service.at(&["logging", "options"])) {
            flags.add("log-opt", pair(option, value));
        }
        if let Some(time) = service.get("stop_grace_period").and_then(Node::as_str) {
            let seconds = crate::bind::quantity::parse_duration(time).unwrap_or(0) / 1_000_000_000;
            flags.add("stop-timeout", seconds.to_string());
        }
    }

    fn mount(&mut self, mount: &Node, flags: &mut Flags) {
        let kind = text(mount, "type");
        let mut options = vec![format!("type={kind}")];
        let source = text(mount, "source");
        if kind == "volume" && !source.is_empty() {
            let full = self.project.model().at(&["volumes", source, "name"]);
            options.push(format!(
                "source={}",
                full.and_then(Node::as_str).unwrap_or(source)
            ));
        } else if !source.is_empty() {
            options.push(format!("source={source}"));
        }
        options.push(format!("target={}", text(mount, "target")));
        if is_true(mount, "read_only") {
            options.push("readonly".to_owned());
        }
        for (section, key, option) in [
            ("bind", "propagation", "bind-propagation"),
            ("bind", "recursive", "bind-recursive"),
            ("volume", "nocopy", "volume-nocopy"),
            ("volume", "subpath", "volume-subpath"),
            ("image", "subpath", "image-subpath"),
            ("tmpfs", "size", "tmpfs-size"),
        ] {
            if let Some(value) = mount.at(&[section, key]).and_then(Node::scalar_text) {
                options.push(format!("{option}={value}"));
            }
        }
        if let Some(mode) = mount.at(&["tmpfs", "mode"]).and_then(Node::as_int) {
            options.push(format!("tmpfs-mode={mode:o}"));
        }
        if options.iter().any(|option| option.contains(',')) {
            self.note(format!(
                "a path with a comma cannot be written: {}",
                options.join(" ")
            ));
        }
        flags.add("mount", options.join(","));
    }

    /// A secret or config, mounted when it is a file.
    fn file(
        &mut self,
        name: &str,
        (list, kind, folder): (&str, &str, &str),
        reference: &Node,
        flags: &mut Flags,
    ) {
        let source = text(reference, "source");
        let definition = self.project.model().at(&[list, source]);
        let Some(file) = definition
            .and_then(|node| node.get("file"))
            .and_then(Node::as_str)
        else {
            return self.note(format!(
                "{name}: the {kind} `{source}` is not a file; write it into one and mount that"
            ));
        };
        let target = match text(reference, "target") {
            "" => format!("{folder}{source}"),
            target if target.starts_with('/') => target.to_owned(),
            target => format!("{folder}{target}"),
        };
        flags.add(
            "mount",
            format!("type=bind,source={file},target={target},readonly"),
        );
    }
}

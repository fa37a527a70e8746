//! What has to be there before a container: networks, volumes, images.

use super::{Writer, entries, is_true, items, pair, quote, text};
use crate::tree::Node;

impl Writer<'_> {
    /// Networks and volumes that are not there yet.
    pub(super) fn resources(&mut self, service: &Node) {
        for (key, _) in entries(service.get("networks")) {
            self.network(key);
        }
        for mount in items(service.get("volumes")) {
            if let ("volume", source) = (text(mount, "type"), text(mount, "source"))
                && !source.is_empty()
            {
                self.volume(source);
            }
        }
    }

    fn network(&mut self, key: &str) {
        let Some(node) = self.project.model().at(&["networks", key]) else {
            return;
        };
        if is_true(node, "external") || !self.made.insert(("networks", key.to_owned())) {
            return;
        }
        let mut words = vec!["docker network create".to_owned()];
        let mut flag = |flag: &str, value: &str| words.push(format!("--{flag} {}", quote(value)));
        if let Some(driver) = node.get("driver").and_then(Node::as_str) {
            flag("driver", driver);
        }
        for pool in items(node.at(&["ipam", "config"])) {
            for (name, option) in [
                ("subnet", "subnet"),
                ("gateway", "gateway"),
                ("ip_range", "ip-range"),
            ] {
                if let Some(value) = pool.get(name).and_then(Node::as_str) {
                    flag(option, value);
                }
            }
        }
        for (list, option) in [("driver_opts", "opt"), ("labels", "label")] {
            for (name, value) in entries(node.get(list)) {
                flag(option, &pair(name, value));
            }
        }
        for (name, option) in [
            ("internal", "--internal"),
            ("attachable", "--attachable"),
            ("enable_ipv6", "--ipv6"),
        ] {
            if is_true(node, name) {
                words.push(option.to_owned());
            }
        }
        words.push(quote(text(node, "name")));
        self.text.push_str(&format!("{}\n", words.join(" ")));
    }

    fn volume(&mut self, key: &str) {
        let Some(node) = self.project.model().at(&["volumes", key]) else {
            return;
        };
        if is_true(node, "external") || !self.made.insert(("volumes", key.to_owned())) {
            return;
        }
        let mut words = vec!["docker volume create".to_owned()];
        if let Some(driver) = node.get("driver").and_then(Node::as_str) {
            words.push(format!("--driver {}", quote(driver)));
        }
        for (list, option) in [("driver_opts", "opt"), ("labels", "label")] {
            for (name, value) in entries(node.get(list)) {
                words.push(format!("--{option} {}", quote(&pair(name, value))));
            }
        }
        words.push(quote(text(node, "name")));
        self.text.push_str(&format!("{}\n", words.join(" ")));
    }

    pub(super) fn build(&mut self, image: &str, build: &Node) {
        let mut words = vec![format!("docker build -t {}", quote(image))];
        for (key, flag) in [("target", "target"), ("dockerfile", "file")] {
            let value = text(build, key);
            if !value.is_empty() && value != "Dockerfile" {
                words.push(format!("--{flag} {}", quote(value)));
            }
        }
        for (name, value) in entries(build.get("args")) {
            words.push(format!("--build-arg {}", quote(&pair(name, value))));
        }
        words.push(quote(text(build, "context")));
        self.text.push_str(&format!("{}\n", words.join(" ")));
    }
}

//! Which attributes of a service changed, from what to what.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use stack_api::spec::{FileSpec, MountSource, ServiceSpec};

use super::change::{Change, HIDDEN};
use super::class::{self, Class};
use super::observed::Room;
use super::{secret, show};
use crate::hash;

/// Lists whose items stand for themselves: what was inserted at the front
/// has changed, what moved back has not.
const ITEMS: [&str; 11] = [
    "environment_unset",
    "ports",
    "sockets",
    "mounts",
    "cap_add",
    "cap_drop",
    "group_add",
    "extra_hosts",
    "dns",
    "dns_search",
    "dns_opt",
];

/// Fields with fields of their own that change as a whole.
const WHOLE: [&str; 2] = ["restart", "seccomp"];

/// What is different, in the order of the spec's fields; nothing that only
/// `up` itself reads. What fits the VM's `room` is live.
pub(super) fn changes(old: &ServiceSpec, new: &ServiceSpec, room: &Room) -> Vec<Change> {
    if old == new {
        return Vec::new();
    }
    let mut found = Changes {
        list: Vec::new(),
        fits: ["memory", "cpus", "networks"].map(|field| (field, room.fits(field, new))),
    };
    let (before, after) = (fields(old), fields(new));
    for (field, value) in &after {
        let path = [field.as_str()];
        if field == "config_hash" || field == "files" || class::of(&path) == Class::Plan {
            continue;
        }
        found.compare(&path, before.get(field).unwrap_or(&Value::Null), value);
    }
    found.files(&old.files, &new.files);
    found.list
}

/// As JSON, without the contents of files: they may be large.
fn fields(spec: &ServiceSpec) -> Map<String, Value> {
    let mut spec = ServiceSpec {
        files: Vec::new(),
        ..spec.clone()
    };
    for mount in &mut spec.mounts {
        if let MountSource::Bind { copy, .. } = &mut mount.source {
            // It matters to an empty directory alone.
            *copy = false;
        }
    }
    match serde_json::to_value(&spec) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

struct Changes {
    list: Vec<Change>,
    /// What the VM can take, by field.
    fits: [(&'static str, bool); 3],
}

impl Changes {
    fn add(&mut self, path: &[&str], attribute: String, from: Option<String>, to: Option<String>) {
        let fits = path
            .first()
            .is_some_and(|field| self.fits.contains(&(field, true)));
        let class = match class::of(path) {
            Class::WhileItFits if fits => Class::Live,
            Class::WhileItFits => Class::Recreate,
            class => class,
        };
        self.list.push(Change {
            attribute,
            from,
            to,
            class,
            place: None,
        });
    }

    fn compare(&mut self, path: &[&str], old: &Value, new: &Value) {
        if old == new {
            return;
        }
        let field = path.last().copied().unwrap_or_default();
        let empty = Map::new();
        match (old, new) {
            // An attachment without attributes is one all the same.
            (Value::Null, Value::Object(_)) | (Value::Object(_), Value::Null)
                if matches!(path, ["networks", _]) =>
            {
                let said = |value: &Value| (!value.is_null()).then(|| "attached".to_owned());
                self.add(path, written(path), said(old), said(new));
            }
            (Value::Object(old), Value::Object(new)) if !WHOLE.contains(&field) => {
                self.entries(path, old, new);
            }
            (Value::Null, Value::Object(new)) if !WHOLE.contains(&field) => {
                self.entries(path, &empty, new);
            }
            (Value::Object(old), Value::Null) if !WHOLE.contains(&field) => {
                self.entries(path, old, &empty);
            }
            (Value::Array(old), Value::Array(new))
                if ITEMS.contains(&field) || field == "aliases" =>
            {
                self.items(path, field, old, new);
            }
            _ => {
                let name = match path {
                    ["ulimits", ..] => "ulimits",
                    _ => field,
                };
                let hide = matches!(path, ["environment" | "labels" | "annotations", _]);
                let text = |value: &Value| match hide {
                    true => Some(secret::shown(field, &show::value(name, value)?)),
                    false => show::value(name, &secret::without(value)),
                };
                let (from, to) = (text(old), text(new));
                // A default that is said and one that is not are the same.
                let nothing = |text: &Option<String>| {
                    text.as_ref()
                        .is_none_or(|text| text == "false" || text == "[]")
                };
                let silent = matches!(path, ["healthcheck", ..]);
                if !(silent && nothing(&from) && nothing(&to)) {
                    self.add(path, written(path), from, to);
                }
            }
        }
    }

    fn entries(&mut self, path: &[&str], old: &Map<String, Value>, new: &Map<String, Value>) {
        let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for key in keys {
            let mut below = path.to_vec();
            below.push(key);
            let get = |from: &Map<String, Value>| from.get(key).cloned().unwrap_or(Value::Null);
            self.compare(&below, &get(old), &get(new));
        }
    }

    fn items(&mut self, path: &[&str], field: &str, old: &[Value], new: &[Value]) {
        let text = |value: &Value| match value {
            Value::Array(pair) if field == "extra_hosts" => {
                let words: Vec<&str> = pair.iter().filter_map(Value::as_str).collect();
                Some(words.join("="))
            }
            value => show::value(field, &secret::without(value)),
        };
        let before = self.list.len();
        for n in 0..old.len().max(new.len()) {
            let gone = old.get(n).filter(|item| !new.contains(item));
            let come = new.get(n).filter(|item| !old.contains(item));
            if gone.is_some() || come.is_some() {
                let name = format!("{}[{n}]", written(path));
                self.add(path, name, gone.and_then(text), come.and_then(text));
            }
        }
        if self.list.len() == before {
            // The same items in another order, or one of them twice.
            let all = |items: &[Value]| {
                let items: Vec<String> = items.iter().filter_map(text).collect();
                Some(format!("[{}]", items.join(", ")))
            };
            self.add(path, written(path), all(old), all(new));
        }
    }

    fn files(&mut self, old: &[FileSpec], new: &[FileSpec]) {
        let same = |a: &FileSpec, b: &FileSpec| {
            FileSpec {
                source: String::new(),
                ..a.clone()
            } == FileSpec {
                source: String::new(),
                ..b.clone()
            }
        };
        for file in new {
            let before = old.iter().find(|other| other.target == file.target);
            if before.is_none_or(|before| !same(before, file)) {
                let from = before.map(file_text);
                self.add(&["files"], file_name(file), from, Some(file_text(file)));
            }
        }
        for file in old {
            if !new.iter().any(|other| other.target == file.target) {
                self.add(&["files"], file_name(file), Some(file_text(file)), None);
            }
        }
    }
}

/// The attribute's name in the stack file.
fn written(path: &[&str]) -> String {
    let mut words: Vec<String> = path
        .iter()
        .map(|word| word.strip_suffix("_ms").unwrap_or(word).to_owned())
        .collect();
    match path {
        ["environment_unset"] => "environment".clone_into(&mut words[0]),
        ["mounts", ..] => "volumes".clone_into(&mut words[0]),
        ["sockets", ..] => "x-stack.sockets".clone_into(&mut words[0]),
        ["machine", ..] => "x-stack.machine".clone_into(&mut words[0]),
        ["memory"] => "mem_limit".clone_into(&mut words[0]),
        ["root_size"] => "storage_opt.size".clone_into(&mut words[0]),
        ["no_new_privileges"] => "security_opt".clone_into(&mut words[0]),
        ["networks", _, "ipv4"] => "ipv4_address".clone_into(&mut words[2]),
        ["networks", _, "ipv6"] => "ipv6_address".clone_into(&mut words[2]),
        ["networks", _, "mac"] => "mac_address".clone_into(&mut words[2]),
        ["networks", _, "interface"] => "interface_name".clone_into(&mut words[2]),
        _ => {}
    }
    words.join(".")
}

fn file_name(file: &FileSpec) -> String {
    if file.source.is_empty() {
        format!("configs.{}", file.target)
    } else {
        file.source.clone()
    }
}

/// A secret's content is hidden; a config's is known by its hash.
fn file_text(file: &FileSpec) -> String {
    let content = if file.source.starts_with("configs.") {
        let hash = Sha256::digest(&file.content);
        let hash = hash::hex(&hash[..4]);
        format!("{} bytes, sha256 {hash}…", file.content.len())
    } else {
        HIDDEN.to_owned()
    };
    let mut out = format!("{}: {content}", file.target);
    if file.mode != 0o444 || file.uid != 0 || file.gid != 0 {
        out.push_str(&format!(" ({:o}, {}:{})", file.mode, file.uid, file.gid));
    }
    out
}

#[cfg(test)]
mod tests;

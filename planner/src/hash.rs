//! What makes a container out of date.

use sha2::{Digest, Sha256};

use crate::project::Contents;
use crate::spec::security::{SECCOMP, Wish, wish};
use crate::tree::{Node, Value, float_text};

/// Attributes that can change while the container stays.
const FREE: &[&str] = &[
    "depends_on",
    "profiles",
    "pull_policy",
    "pull_refresh_after",
    "scale",
    "build",
    "develop",
];

/// SHA-256 in hex over the canonical service and the contents of its configs
/// and secrets.
pub(crate) fn config_hash(service: &Node, contents: &Contents) -> String {
    let mut hasher = Sha256::new();
    for (key, node) in service.as_mapping().into_iter().flatten() {
        if FREE.contains(&key.as_str()) || key.starts_with("x-") {
            continue;
        }
        if key == "deploy" {
            // Only the resources change the container itself.
            if let Some(resources) = node.get("resources") {
                text(&mut hasher, "deploy.resources");
                add(&mut hasher, resources);
            }
            continue;
        }
        text(&mut hasher, key);
        add(&mut hasher, node);
    }
    for kind in ["configs", "secrets"] {
        for reference in service
            .get(kind)
            .and_then(Node::as_sequence)
            .unwrap_or_default()
        {
            let name = reference
                .get("source")
                .and_then(Node::as_str)
                .unwrap_or_default();
            if let Some(Ok(bytes)) = contents.get(&(kind, name.to_owned())) {
                text(&mut hasher, name);
                hasher.update((bytes.len() as u64).to_le_bytes());
                hasher.update(bytes);
            }
        }
    }
    for option in service
        .get("security_opt")
        .and_then(Node::as_sequence)
        .unwrap_or_default()
    {
        if let Some(Wish::Profile(file)) = option.as_str().map(wish)
            && let Some(Ok(bytes)) = contents.get(&(SECCOMP, file.to_owned()))
        {
            hasher.update((bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        }
    }
    hex(&hasher.finalize())
}

/// Two hexadecimal digits per byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every value with its type and length, so that no two trees look the same.
fn add(hasher: &mut Sha256, node: &Node) {
    match &node.value {
        Value::Null => hasher.update(b"z"),
        Value::Bool(value) => hasher.update([b'b', u8::from(*value)]),
        Value::Int(value) => {
            hasher.update(b"i");
            hasher.update(value.to_le_bytes());
        }
        Value::Float(value) => {
            hasher.update(b"f");
            text(hasher, &float_text(*value));
        }
        Value::String(value) => {
            hasher.update(b"s");
            text(hasher, value);
        }
        Value::Sequence(items) => {
            hasher.update(b"l");
            hasher.update((items.len() as u64).to_le_bytes());
            items.iter().for_each(|item| add(hasher, item));
        }
        Value::Mapping(entries) => {
            hasher.update(b"m");
            hasher.update((entries.len() as u64).to_le_bytes());
            let mut sorted: Vec<_> = entries.iter().collect();
            sorted.sort_by_key(|(key, _)| *key);
            for (key, value) in sorted {
                text(hasher, key);
                add(hasher, value);
            }
        }
    }
}

fn text(hasher: &mut Sha256, text: &str) {
    hasher.update((text.len() as u64).to_le_bytes());
    hasher.update(text.as_bytes());
}

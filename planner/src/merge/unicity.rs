//! Lists in which an item has an identity: a later one replaces the earlier.

use std::borrow::Cow;

use indexmap::IndexMap;

use crate::canonical::volume_target;
use crate::tree::{Node, Value, visit_mut};

/// Items up to which comparing each with each is faster than hashing.
const FEW: usize = 16;

/// What makes an item the same.
#[derive(Debug, Clone, Copy)]
enum Identity {
    /// The text before `=`.
    Key,
    /// The place in the container.
    Mount,
    Device,
    /// The `target`, or the source below this folder.
    FileIn(&'static str),
    Port,
    Path,
    Whole,
}

const LISTS: &[(&[&str], Identity)] = &[
    (&["networks", "*", "labels"], Identity::Key),
    (&["volumes", "*", "labels"], Identity::Key),
    (&["services", "*", "annotations"], Identity::Key),
    (&["services", "*", "build", "args"], Identity::Key),
    (
        &["services", "*", "build", "additional_contexts"],
        Identity::Key,
    ),
    (&["services", "*", "build", "tags"], Identity::Key),
    (&["services", "*", "build", "labels"], Identity::Key),
    (&["services", "*", "cap_add"], Identity::Key),
    (&["services", "*", "cap_drop"], Identity::Key),
    (&["services", "*", "deploy", "labels"], Identity::Key),
    (&["services", "*", "dns"], Identity::Key),
    (&["services", "*", "dns_opt"], Identity::Key),
    (&["services", "*", "dns_search"], Identity::Key),
    (&["services", "*", "environment"], Identity::Key),
    (&["services", "*", "labels"], Identity::Key),
    (&["services", "*", "links"], Identity::Key),
    (
        &["services", "*", "networks", "*", "aliases"],
        Identity::Key,
    ),
    (
        &["services", "*", "networks", "*", "link_local_ips"],
        Identity::Key,
    ),
    (&["services", "*", "profiles"], Identity::Key),
    (&["services", "*", "sysctls"], Identity::Key),
    (&["services", "*", "tmpfs"], Identity::Key),
    (&["services", "*", "configs"], Identity::FileIn("")),
    (
        &["services", "*", "secrets"],
        Identity::FileIn("/run/secrets"),
    ),
    (&["services", "*", "volumes"], Identity::Mount),
    (&["services", "*", "devices"], Identity::Device),
    (&["services", "*", "env_file"], Identity::Path),
    (&["services", "*", "expose"], Identity::Whole),
    (&["services", "*", "ports"], Identity::Port),
];

/// The lists in which repetition is no mistake: where they are, `*` is any key.
pub(crate) fn lists() -> impl Iterator<Item = &'static [&'static str]> {
    LISTS.iter().map(|(pattern, _)| *pattern)
}

/// Keeps of each item the last, at the place of the first.
pub(crate) fn enforce(root: &mut Node) {
    for (pattern, identity) in LISTS {
        visit_mut(root, pattern, &mut |node, _| {
            if let Value::Sequence(items) = &mut node.value {
                keep_last(items, *identity);
            }
        });
    }
}

fn keep_last(items: &mut Vec<Node>, identity: Identity) {
    // Nearly every list is short and has nothing twice.
    if items.len() < 2 || (items.len() <= FEW && all_differ(items, identity)) {
        return;
    }
    let mut kept: IndexMap<(Option<String>, usize), Node> = IndexMap::with_capacity(items.len());
    for (i, item) in items.drain(..).enumerate() {
        // What has no identity is never the same as anything.
        let key = match identity_of(&item, identity) {
            Some(key) => (Some(key.into_owned()), 0),
            None => (None, i),
        };
        kept.insert(key, item);
    }
    *items = kept.into_values().collect();
}

fn all_differ(items: &[Node], identity: Identity) -> bool {
    let mut seen: [Option<Cow<'_, str>>; FEW] = Default::default();
    for (i, item) in items.iter().enumerate() {
        let key = identity_of(item, identity);
        if key.is_some() && seen[..i].contains(&key) {
            return false;
        }
        seen[i] = key;
    }
    true
}

fn identity_of(item: &Node, identity: Identity) -> Option<Cow<'_, str>> {
    let text = item.as_str();
    let at = |key: &str| Some(Cow::Borrowed(item.get(key)?.as_str()?));
    match identity {
        Identity::Key => Some(text?.split('=').next()?.into()),
        Identity::Mount => match text {
            Some(text) => volume_target(text).map(Cow::Owned),
            None => at("target"),
        },
        Identity::Device => match text {
            Some(text) => text
                .split(':')
                .nth(1)
                .or(text.split(':').next())
                .map(Cow::Borrowed),
            None => at("target"),
        },
        Identity::FileIn(folder) => match text {
            Some(text) => Some(format!("{folder}/{text}").into()),
            None => match item.get("target") {
                Some(target) => Some(target.as_str()?.into()),
                None => Some(format!("{folder}/{}", item.get("source")?.as_str()?).into()),
            },
        },
        Identity::Port => {
            if item.as_mapping().is_none() {
                return scalar(item);
            }
            let part = |key: &str, absent: &'static str| {
                item.get(key).and_then(scalar).unwrap_or(absent.into())
            };
            let (ip, published) = (part("host_ip", "0.0.0.0"), part("published", ""));
            let target = scalar(item.get("target")?)?;
            let protocol = part("protocol", "tcp");
            Some(format!("{ip}:{published}:{target}/{protocol}").into())
        }
        Identity::Path => match text {
            Some(text) => Some(text.into()),
            None => at("path"),
        },
        Identity::Whole => scalar(item),
    }
}

fn scalar(node: &Node) -> Option<Cow<'_, str>> {
    match node.as_str() {
        Some(text) => Some(text.into()),
        None => node.scalar_text().map(Cow::Owned),
    }
}

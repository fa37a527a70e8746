//! `pre_start`, `post_start` and `pre_stop`.

use stack_api::hook::{Hook, Hooks, PreStart};

use super::{flag, text, texts, variables};
use crate::tree::{Node, items};

pub(super) fn hooks(service: &Node) -> Hooks {
    let image = text(service, "image");
    let before = items(service.get("pre_start")).iter().map(|node| PreStart {
        hook: hook(node),
        image: text(node, "image").filter(|own| image.as_ref() != Some(own)),
        per_replica: flag(node, "per_replica"),
    });
    Hooks {
        pre_start: before.collect(),
        post_start: list(service, "post_start"),
        pre_stop: list(service, "pre_stop"),
    }
}

fn list(service: &Node, key: &str) -> Vec<Hook> {
    items(service.get(key)).iter().map(hook).collect()
}

fn hook(node: &Node) -> Hook {
    Hook {
        command: texts(node, "command"),
        user: text(node, "user"),
        privileged: flag(node, "privileged"),
        working_dir: text(node, "working_dir"),
        environment: variables(node),
    }
}

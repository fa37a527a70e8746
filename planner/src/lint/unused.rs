//! Resources that nobody uses.

use std::collections::BTreeSet;

use super::{Lints, entries, items, text};

/// L0010: defined at the top level and not used.
pub(super) fn check(lints: &mut Lints<'_>) {
    let mut used: BTreeSet<(&str, &str)> = BTreeSet::new();
    let disabled = lints.parts.disabled.values();
    for service in lints.services().map(|(_, service)| service).chain(disabled) {
        used.extend(entries(service.get("networks")).map(|(key, _)| ("networks", key.as_str())));
        used.extend(entries(service.get("models")).map(|(key, _)| ("models", key.as_str())));
        let lists = [
            ("volumes", service.get("volumes")),
            ("secrets", service.get("secrets")),
            ("secrets", service.at(&["build", "secrets"])),
            ("configs", service.get("configs")),
        ];
        for (kind, list) in lists {
            used.extend(items(list).iter().map(|item| (kind, text(item, "source"))));
        }
    }
    for (kind, word) in [
        ("networks", "network"),
        ("volumes", "volume"),
        ("secrets", "secret"),
        ("configs", "config"),
        ("models", "model"),
    ] {
        for (key, node) in entries(lints.parts.model.get(kind)) {
            // What `normalize` adds is used; `default` changes the network of all others.
            if used.contains(&(kind, key.as_str())) || key == "default" {
                continue;
            }
            let message = format!("no service uses the {word} `{key}`");
            lints.push("L0010", message, |problem| {
                problem.at(node.place(), "not used").help(format!(
                    "leave it out, or name it in the `{kind}` of a service"
                ))
            });
        }
    }
}

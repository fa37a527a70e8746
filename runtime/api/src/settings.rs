//! The environment variables that the daemon takes from the command that starts it, and
//! keeps: whoever sets them later has to be told.

use std::collections::BTreeMap;

/// What the daemon and those that it starts look at.
const VARIABLES: &[&str] = &[
    "DOCKER_CONFIG",
    "STACK_ACCEL",
    "STACK_ASSETS",
    "STACK_BUILDER_CPUS",
    "STACK_BUILDER_IDLE",
    "STACK_BUILDER_IMAGE",
    "STACK_BUILDER_MEMORY",
    "STACK_INSECURE_REGISTRIES",
    "STACK_LOG",
    "STACK_NET",
    "STACK_QEMU",
    "STACK_REGISTRY_MIRROR",
    "STACK_TEMPLATES",
];

/// Those that this process has, by name; what is empty counts as not set.
pub fn own() -> BTreeMap<String, String> {
    let set = |name: &&str| {
        let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
        Some(((*name).to_owned(), value))
    };
    VARIABLES.iter().filter_map(set).collect()
}

/// The names of what is `wanted` and not so with the daemon, which has `theirs`.
pub fn without_effect<'a>(
    wanted: &'a BTreeMap<String, String>,
    theirs: &BTreeMap<String, String>,
) -> Vec<&'a str> {
    let is_other = |(name, value): &(&String, &String)| theirs.get(*name) != Some(*value);
    let others = wanted.iter().filter(is_other);
    others.map(|(name, _)| name.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn what_the_daemon_has_otherwise() {
        let theirs = set(&[("STACK_NET", "dgram"), ("STACK_QEMU", "/q")]);
        assert!(without_effect(&set(&[]), &theirs).is_empty());
        assert!(without_effect(&set(&[("STACK_NET", "dgram")]), &theirs).is_empty());
        let wanted = set(&[("STACK_NET", "vhost-user"), ("STACK_BUILDER_IMAGE", "b")]);
        let told = without_effect(&wanted, &theirs);
        assert_eq!(told, ["STACK_BUILDER_IMAGE", "STACK_NET"]);
    }
}

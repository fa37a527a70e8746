//! Every attribute of a service and what it does here, as it is in the
//! documents.

use super::{IGNORED, IGNORED_VALUES, REFUSED};

/// Attributes with an effect. One line is for those below it, too, unless they
/// have their own.
const EFFECTS: &[(&str, &str)] = &[
    ("annotations", "kept, and shown by `ps --format json`"),
    ("attach", "`up` shows its output, or not"),
    (
        "blkio_config.device_read_bps",
        "how fast the disks of its machine are read, all together; the smallest rate counts, whatever the `path`; bind mounts and shared volumes are not limited",
    ),
    ("blkio_config.device_read_iops", "the same in requests"),
    ("blkio_config.device_write_bps", "how fast they are written"),
    ("blkio_config.device_write_iops", "the same in requests"),
    ("build", "how its image is made"),
    ("cap_add", "capabilities in its machine"),
    ("cap_drop", "capabilities in its machine"),
    ("command", "what is run"),
    ("configs", "files in its machine's memory"),
    ("container_name", "name of the container"),
    ("cpu_count", "as `cpus`"),
    ("cpu_period", "with `cpu_quota`"),
    ("cpu_quota", "share of a processor, as `cpus`"),
    ("cpus", "processor time, and virtual processors: rounded up"),
    ("cpuset", "processors of the host that its machine runs on"),
    (
        "depends_on",
        "order of starts and stops, and what is waited for",
    ),
    ("deploy.replicas", "as `scale`"),
    (
        "deploy.labels",
        "labels of the service, not of its containers: kept in the definition",
    ),
    ("deploy.mode", "`replicated`; `global` is one on one host"),
    ("deploy.resources.limits.cpus", "as `cpus`"),
    ("deploy.resources.limits.memory", "as `mem_limit`"),
    ("deploy.resources.limits.pids", "as `pids_limit`"),
    (
        "deploy.restart_policy",
        "when it is started again, how often, and after which pause; counts more than `restart`",
    ),
    ("deploy.rollback_config", "how an update is taken back"),
    ("deploy.update_config", "how its containers are replaced"),
    ("develop", "what `watch` does"),
    (
        "devices",
        "`/dev/fuse`, `/dev/net/tun` and others that every machine has",
    ),
    ("dns", "whom its network's name server asks"),
    ("dns_opt", "`/etc/resolv.conf`"),
    ("dns_search", "`/etc/resolv.conf`"),
    ("domainname", "domain name of its machine"),
    ("entrypoint", "what is run"),
    ("env_file", "variables from files"),
    ("environment", "variables"),
    (
        "expose",
        "all ports are reachable in a network; says which are meant",
    ),
    ("extends", "read from another service"),
    ("extra_hosts", "`/etc/hosts`"),
    ("group_add", "more groups of its user"),
    ("healthcheck", "when it is healthy"),
    ("hostname", "name of its machine"),
    ("image", "what it is made from"),
    ("init", "a first process that reaps others"),
    ("ipc", "`private` and `shareable` are what is so"),
    ("isolation", "`default` is what is so"),
    ("label_file", "labels from files"),
    ("labels", "labels of the container"),
    ("links", "names of other services for this one"),
    (
        "logging",
        "`max-size` and `max-file` limit what is kept of its output",
    ),
    ("mac_address", "hardware address of its first network card"),
    ("mem_limit", "memory, and the size of its machine"),
    (
        "memswap_limit",
        "the same as `mem_limit` says that there is no swap, as is so",
    ),
    ("network_mode", "`none` and `bridge`"),
    ("networks.aliases", "names in the network"),
    (
        "networks.gw_priority",
        "which network the default route is in",
    ),
    ("networks.interface_name", "name of the network card"),
    ("networks.ipv4_address", "address"),
    ("networks.ipv6_address", "address"),
    ("networks.mac_address", "hardware address"),
    ("networks.priority", "order of the network cards"),
    (
        "oom_score_adj",
        "who goes first when its machine is out of memory",
    ),
    ("pid", "`private` is what is so"),
    ("pids_limit", "processes"),
    ("platform", "which image of several"),
    ("ports", "ports of the host"),
    ("post_start", "commands in its machine, once it runs"),
    (
        "pre_start",
        "commands in machines of their own, before it is started",
    ),
    ("pre_stop", "commands in its machine, before it is stopped"),
    (
        "privileged",
        "all capabilities in its own kernel, which harms nobody else",
    ),
    ("profiles", "with which profiles it is there"),
    ("pull_policy", "when its image is pulled"),
    ("pull_refresh_after", "how old it may be, with `refresh`"),
    ("read_only", "its root file system"),
    ("restart", "whether it is started again when it ends"),
    ("scale", "how many containers"),
    (
        "secrets",
        "files in its machine's memory; the daemon stores them, too, until `down` (see [storage](storage.md))",
    ),
    (
        "security_opt",
        "`no-new-privileges`, `seccomp=FILE`; `unconfined` is what is so",
    ),
    ("shm_size", "size of `/dev/shm`"),
    ("stdin_open", "its input stays open"),
    (
        "stop_grace_period",
        "how long it has from the signal to its end",
    ),
    ("stop_signal", "how it is told to end"),
    (
        "storage_opt",
        "`size`: what it may write to its root file system, from 64m to 16t; without it 64 GiB. \
         Other options are warned about",
    ),
    ("sysctls", "settings of its own kernel, all there are"),
    ("tmpfs", "file systems in its machine's memory"),
    ("tty", "it has a terminal"),
    ("ulimits", "limits of its processes"),
    ("user", "who it runs as"),
    ("uts", "its machine has its own host name"),
    ("volumes.bind.create_host_path", "the directory is made"),
    ("volumes.image", "`subpath`"),
    ("volumes.read_only", "it cannot be written"),
    ("volumes.source", "volume, path on the host, or image"),
    ("volumes.target", "path in the service"),
    ("volumes.tmpfs", "size and mode"),
    ("volumes.type", "`bind`, `volume`, `tmpfs` and `image`"),
    ("volumes.volume", "`nocopy` and `subpath`"),
    ("working_dir", "where it is run"),
];

/// What an attribute comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Effect,
    Warning,
    Error,
}

/// All lines: attribute, what it comes to, and how or why not.
fn lines() -> Vec<(String, Verdict, String)> {
    let name = |pattern: &[&str]| match pattern {
        ["services", "*", rest @ ..] => {
            let keys: Vec<&str> = rest.iter().copied().filter(|key| *key != "*").collect();
            Some(keys.join("."))
        }
        _ => None,
    };
    let mut lines: Vec<_> = EFFECTS
        .iter()
        .map(|(name, what)| ((*name).to_owned(), Verdict::Effect, (*what).to_owned()))
        .collect();
    let warned = IGNORED
        .iter()
        .map(|(pattern, why)| (*pattern, (*why).to_owned()));
    let partly = IGNORED_VALUES
        .iter()
        .map(|(pattern, _, why)| (*pattern, format!("other values: {why}")));
    for (pattern, why) in warned.chain(partly) {
        lines.extend(name(pattern).map(|name| (name, Verdict::Warning, why)));
    }
    for (pattern, _, why, instead) in REFUSED {
        let text = format!("{why}: {instead}");
        lines.extend(name(pattern).map(|name| (name, Verdict::Error, text)));
    }
    lines.sort_by_key(|(name, verdict, _)| (name.clone(), *verdict as u8));
    lines
}

/// The table as Markdown.
pub fn table() -> String {
    let mut out = String::from("| attribute | | |\n|---|---|---|\n");
    for (name, verdict, text) in lines() {
        let word = match verdict {
            Verdict::Effect => "effect",
            Verdict::Warning => "warning",
            Verdict::Error => "error",
        };
        out.push_str(&format!("| `{name}` | {word} | {text} |\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::service_attributes;

    /// The attribute itself, or one above it.
    fn covers(line: &str, attribute: &str) -> bool {
        attribute
            .strip_prefix(line)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }

    #[test]
    fn no_attribute_of_a_service_is_passed_over() {
        let lines = lines();
        let missing: Vec<String> = service_attributes()
            .into_iter()
            .filter(|attribute| !lines.iter().any(|(line, ..)| covers(line, attribute)))
            .collect();
        assert!(missing.is_empty(), "{missing:#?}");
    }

    #[test]
    fn every_line_is_about_an_attribute() {
        let attributes = service_attributes();
        for (line, ..) in lines() {
            let known = attributes.iter().any(|attribute| covers(&line, attribute));
            assert!(known, "{line}");
        }
    }

    #[test]
    fn the_document_has_the_table() {
        let text = include_str!("../../../docs/attributes.md");
        assert!(
            text.contains(&table()),
            "docs/attributes.md must hold this table:\n\n{}",
            table()
        );
    }
}

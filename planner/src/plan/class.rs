//! What a change of an attribute takes: nothing, an update of the running
//! VM, or a new container. One table for planner, documents and tests.

use serde::{Deserialize, Serialize};

/// What it takes to bring a change about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Only `up` itself reads it: nothing happens to the container.
    Plan,
    /// The running VM takes it.
    Live,
    /// The running VM takes it as long as it is large enough; beyond that a
    /// new container is made.
    WhileItFits,
    /// A new container is made.
    Recreate,
}

impl Class {
    /// As the documents say it.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::Plan => "read by `up`",
            Class::Live => "live",
            Class::WhileItFits => "live while it fits",
            Class::Recreate => "new container",
        }
    }
}

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub struct Attribute {
    /// Field of [`ServiceSpec`](stack_api::spec::ServiceSpec), with the
    /// fields below it after dots where they differ; `*` is any key.
    pub field: &'static str,
    /// As the stack file calls it.
    pub written: &'static str,
    /// What a change takes.
    pub class: Class,
    /// What happens, for the documents.
    pub note: &'static str,
}

const fn line(
    field: &'static str,
    written: &'static str,
    class: Class,
    note: &'static str,
) -> Attribute {
    Attribute {
        field,
        written,
        class,
        note,
    }
}

const fn same(field: &'static str, class: Class, note: &'static str) -> Attribute {
    line(field, field, class, note)
}

const PROCESS: &str = "part of the process that was started";
const ROOT: &str = "part of the root file system's set-up";

/// The table.
pub const ATTRIBUTES: &[Attribute] = &[
    same("name", Class::Plan, "another name is another service"),
    same("container_name", Class::Recreate, "names are given once"),
    line(
        "replicas",
        "scale, deploy.replicas",
        Class::Plan,
        "containers are added or removed; the others are left alone",
    ),
    same(
        "image",
        Class::Recreate,
        "also when the same reference leads to another image",
    ),
    line(
        "machine",
        "x-stack.machine",
        Class::Recreate,
        "kernel and size are chosen at the start",
    ),
    same("pull_policy", Class::Plan, "counts at the next `up`"),
    same("platform", Class::Recreate, "another image"),
    same("entrypoint", Class::Recreate, PROCESS),
    same("command", Class::Recreate, PROCESS),
    same("environment", Class::Recreate, PROCESS),
    line(
        "environment_unset",
        "environment without a value",
        Class::Recreate,
        PROCESS,
    ),
    same("working_dir", Class::Recreate, PROCESS),
    same("user", Class::Recreate, PROCESS),
    same("group_add", Class::Recreate, PROCESS),
    same("hostname", Class::Recreate, ROOT),
    same("domainname", Class::Recreate, ROOT),
    same("tty", Class::Recreate, PROCESS),
    same("stdin_open", Class::Recreate, PROCESS),
    same("init", Class::Recreate, PROCESS),
    same("read_only", Class::Recreate, ROOT),
    same("privileged", Class::Recreate, PROCESS),
    same("cap_add", Class::Recreate, PROCESS),
    same("cap_drop", Class::Recreate, PROCESS),
    line(
        "no_new_privileges",
        "security_opt",
        Class::Recreate,
        PROCESS,
    ),
    line("seccomp", "security_opt.seccomp", Class::Recreate, PROCESS),
    same("sysctls", Class::Recreate, "set before the process starts"),
    same("ulimits", Class::Recreate, PROCESS),
    same("shm_size", Class::Recreate, ROOT),
    line(
        "root_size",
        "storage_opt.size",
        Class::Recreate,
        "the disk is made with the container",
    ),
    line(
        "memory",
        "mem_limit, deploy.resources.limits.memory",
        Class::WhileItFits,
        "the limit of the control group, up to the memory of the VM",
    ),
    line(
        "cpus",
        "cpus, deploy.resources.limits.cpus",
        Class::WhileItFits,
        "the quota of the control group, up to the processors of the VM",
    ),
    same(
        "cpuset",
        Class::Recreate,
        "the processors of the machine's process",
    ),
    line(
        "disk_rates",
        "blkio_config",
        Class::Recreate,
        "disks are plugged in at the start",
    ),
    line(
        "pids_limit",
        "pids_limit, deploy.resources.limits.pids",
        Class::Live,
        "the limit of the control group",
    ),
    same("oom_score_adj", Class::Recreate, PROCESS),
    line(
        "restart",
        "restart, deploy.restart_policy.condition",
        Class::Live,
        "counts at the next exit",
    ),
    line(
        "retry",
        "deploy.restart_policy",
        Class::Live,
        "counts at the next exit",
    ),
    line(
        "retry.delay_ms",
        "deploy.restart_policy.delay",
        Class::Live,
        "counts at the next exit",
    ),
    line(
        "retry.max_attempts",
        "deploy.restart_policy.max_attempts",
        Class::Live,
        "counts at the next exit",
    ),
    line(
        "retry.window_ms",
        "deploy.restart_policy.window",
        Class::Live,
        "counts at the next exit",
    ),
    same("stop_signal", Class::Live, "counts at the next stop"),
    line(
        "stop_grace_period_ms",
        "stop_grace_period",
        Class::Live,
        "counts at the next stop",
    ),
    same(
        "healthcheck",
        Class::Live,
        "another `test` starts over; other times go on from the present health",
    ),
    same("labels", Class::Live, "in the record of the container"),
    same("annotations", Class::Live, "in the record of the container"),
    same(
        "ports",
        Class::Live,
        "bound and released while the service runs; connections of ports that stay go on",
    ),
    line(
        "sockets",
        "x-stack.sockets",
        Class::Live,
        "made and removed while the service runs; connections of those that stay go on",
    ),
    same(
        "networks",
        Class::WhileItFits,
        "joined and left while the service runs; its machine has one network card to spare",
    ),
    same(
        "networks.*.aliases",
        Class::Live,
        "names are looked up anew each time",
    ),
    line(
        "networks.*.ipv4",
        "networks.*.ipv4_address",
        Class::Recreate,
        "addresses are given once",
    ),
    line(
        "networks.*.ipv6",
        "networks.*.ipv6_address",
        Class::Recreate,
        "addresses are given once",
    ),
    line(
        "networks.*.mac",
        "mac_address, networks.*.mac_address",
        Class::Recreate,
        "network cards are plugged in at the start",
    ),
    line(
        "networks.*.interface",
        "networks.*.interface_name",
        Class::Recreate,
        "network cards are named at the start",
    ),
    same(
        "networks.*.gw_priority",
        Class::Recreate,
        "routes are set at the start",
    ),
    same(
        "networks.*.priority",
        Class::Recreate,
        "network cards are plugged in at the start",
    ),
    same("links", Class::Live, "names are looked up anew each time"),
    line("mounts", "volumes, tmpfs", Class::Recreate, ROOT),
    line(
        "files",
        "configs, secrets",
        Class::Recreate,
        "services read them when they start",
    ),
    same(
        "depends_on",
        Class::Plan,
        "counts at the next `up`, `stop` and `down`",
    ),
    same("extra_hosts", Class::Live, "`/etc/hosts` is written again"),
    same("dns", Class::Live, "whom the network's name server asks"),
    same(
        "dns_search",
        Class::Live,
        "`/etc/resolv.conf` is written again",
    ),
    same(
        "dns_opt",
        Class::Live,
        "`/etc/resolv.conf` is written again",
    ),
    same("attach", Class::Plan, "counts at the next `up`"),
    same("logging", Class::Live, "counts for what is written next"),
    line(
        "hooks.pre_start",
        "pre_start",
        Class::Recreate,
        "run before the first start of a container",
    ),
    line(
        "hooks",
        "post_start, pre_stop",
        Class::Live,
        "counts at the next start or stop",
    ),
    line(
        "update",
        "deploy.update_config",
        Class::Plan,
        "says how containers are replaced",
    ),
    line(
        "rollback",
        "deploy.rollback_config",
        Class::Plan,
        "says how an update is taken back",
    ),
    line(
        "config_hash",
        "others without effect here",
        Class::Live,
        "only the container's record changes",
    ),
];

/// The line for a path of field names, as specific as there is one. A field
/// that is not in the table asks for a new container: that is always right.
pub(super) fn of(path: &[&str]) -> Class {
    let fits = |attribute: &&Attribute| {
        let pattern: Vec<&str> = attribute.field.split('.').collect();
        pattern.len() <= path.len()
            && pattern
                .iter()
                .zip(path)
                .all(|(want, have)| *want == "*" || want == have)
    };
    ATTRIBUTES
        .iter()
        .filter(fits)
        .max_by_key(|attribute| attribute.field.len())
        .map_or(Class::Recreate, |attribute| attribute.class)
}

/// The table as Markdown, as it is in the documents.
pub fn table() -> String {
    let mut out = String::from("| attribute | a change | |\n|---|---|---|\n");
    let mut lines: Vec<_> = ATTRIBUTES
        .iter()
        .filter(|attribute| attribute.field != "name")
        .collect();
    lines.sort_by_key(|attribute| (attribute.class, attribute.written));
    for attribute in lines {
        let written: Vec<String> = attribute
            .written
            .split(", ")
            .map(|name| {
                if name.contains(' ') {
                    name.to_owned()
                } else {
                    format!("`{name}`")
                }
            })
            .collect();
        let class = attribute.class.as_str();
        out.push_str(&format!(
            "| {} | {class} | {} |\n",
            written.join(", "),
            attribute.note
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;
    use stack_api::spec::{AttachSpec, ServiceSpec};

    use super::*;

    fn fields(of: impl Serialize) -> BTreeSet<String> {
        match serde_json::to_value(of).unwrap() {
            Value::Object(fields) => fields.keys().cloned().collect(),
            other => panic!("not an object: {other}"),
        }
    }

    #[test]
    fn every_attribute_has_a_class() {
        let top: BTreeSet<String> = ATTRIBUTES
            .iter()
            .filter(|a| !a.field.contains('.'))
            .map(|a| a.field.to_owned())
            .collect();
        assert_eq!(top, fields(ServiceSpec::default()));
        let networks: BTreeSet<String> = ATTRIBUTES
            .iter()
            .filter_map(|a| a.field.strip_prefix("networks.*."))
            .map(str::to_owned)
            .collect();
        assert_eq!(networks, fields(AttachSpec::default()));
    }

    #[test]
    fn the_most_specific_line_counts() {
        assert_eq!(of(&["networks", "back"]), Class::WhileItFits);
        assert_eq!(of(&["networks", "back", "ipv4"]), Class::Recreate);
        assert_eq!(of(&["networks", "back", "aliases"]), Class::Live);
        assert_eq!(of(&["healthcheck", "test"]), Class::Live);
        assert_eq!(of(&["no_such_thing"]), Class::Recreate);
    }

    #[test]
    fn the_document_has_the_table() {
        let text = include_str!("../../../docs/changes.md");
        assert!(
            text.contains(&table()),
            "docs/changes.md must hold this table:\n\n{}",
            table()
        );
    }
}

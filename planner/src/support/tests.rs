//! Every attribute is carried, refused, warned about or listed as silent.

use super::{IGNORED, REFUSED};
use crate::schema::service_attributes;

/// Attributes that the daemon is told about.
const CARRIED: &[&str] = &[
    "attach",
    "build",
    "cap_add",
    "cap_drop",
    "command",
    "configs",
    "container_name",
    "cpu_count",
    "cpu_period",
    "cpu_quota",
    "cpus",
    "depends_on",
    "deploy",
    "develop",
    "dns",
    "dns_opt",
    "dns_search",
    "domainname",
    "entrypoint",
    "env_file",
    "environment",
    "extra_hosts",
    "group_add",
    "healthcheck",
    "hostname",
    "image",
    "init",
    "label_file",
    "labels",
    "links",
    "logging",
    "mac_address",
    "post_start",
    "pre_stop",
    "mem_limit",
    "networks",
    "oom_score_adj",
    "pids_limit",
    "platform",
    "ports",
    "privileged",
    "profiles",
    "pull_policy",
    "read_only",
    "restart",
    "scale",
    "secrets",
    "security_opt",
    "shm_size",
    "stdin_open",
    "stop_grace_period",
    "stop_signal",
    "sysctls",
    "tmpfs",
    "tty",
    "ulimits",
    "user",
    "volumes",
    "working_dir",
];

/// Attributes without an effect in Docker either, or that are gone after loading.
const SILENT: &[&str] = &["annotations", "expose", "extends"];

#[test]
fn no_attribute_of_a_service_is_passed_over() {
    let named: Vec<&str> = IGNORED
        .iter()
        .map(|(pattern, _)| pattern)
        .chain(REFUSED.iter().map(|(pattern, _, _, _)| pattern))
        .filter_map(|pattern| match pattern {
            ["services", "*", name] | ["services", "*", name, "*"] => Some(*name),
            _ => None,
        })
        .collect();
    for attribute in service_attributes() {
        let lists = [CARRIED, SILENT, named.as_slice()];
        let count = lists
            .iter()
            .filter(|list| list.contains(&attribute))
            .count();
        assert_eq!(count, 1, "{attribute}");
    }
}

//! One service.

use stack_api::spec::{Condition, Dependency, PullPolicy, ServiceSpec};

use super::{
    attachment, build, entries, files, flag, health, hooks, items, kernel, limits, logging,
    machine, mounts, ports, restart, rollout, security, sockets, text, texts, texts_by_key,
    unusable,
};
use crate::bind::quantity::parse_duration;
use crate::diagnostic::Report;
use crate::hash;
use crate::project::Parts;
use crate::tree::Node;

pub(super) fn service(parts: &Parts, name: &str, node: &Node, report: &mut Report) -> ServiceSpec {
    kernel::check(node, report);
    build::check_platform(node, report);
    let machine = machine::machine(parts, node, report);
    let replicas = replicas(node, report);
    let sockets = sockets::sockets(parts, node, replicas, report);
    let hash = hash::config_hash(node, &parts.contents);
    let hash = machine::with_machine(hash, &machine);
    let (restart, retry) = restart::restart(node, report);
    ServiceSpec {
        name: name.to_owned(),
        container_name: text(node, "container_name"),
        replicas,
        image: build::image(&parts.name, name, node),
        pull_policy: pull_policy(node, report),
        platform: text(node, "platform").or_else(|| default_platform(parts, node)),
        entrypoint: node.get("entrypoint").map(|_| texts(node, "entrypoint")),
        command: node.get("command").map(|_| texts(node, "command")),
        environment: texts_by_key(node, "environment"),
        environment_unset: entries(node.get("environment"))
            .filter(|(_, value)| value.is_null())
            .map(|(name, _)| name.clone())
            .collect(),
        working_dir: text(node, "working_dir"),
        user: text(node, "user"),
        group_add: texts(node, "group_add"),
        hostname: text(node, "hostname"),
        domainname: text(node, "domainname"),
        tty: flag(node, "tty"),
        stdin_open: flag(node, "stdin_open"),
        init: flag(node, "init"),
        read_only: flag(node, "read_only"),
        privileged: flag(node, "privileged"),
        cap_add: texts(node, "cap_add"),
        cap_drop: texts(node, "cap_drop"),
        no_new_privileges: security::no_new_privileges(node),
        seccomp: security::seccomp(node, &parts.contents, report),
        sysctls: texts_by_key(node, "sysctls"),
        ulimits: limits::ulimits(node, report),
        shm_size: limits::size(node.get("shm_size"), report),
        root_size: limits::root_size(node, report),
        memory: limits::size(
            node.get("mem_limit")
                .or(node.at(&["deploy", "resources", "limits", "memory"])),
            report,
        ),
        cpus: limits::cpus(node, report),
        cpuset: limits::cpuset(node, report),
        disk_rates: limits::disk_rates(node, report),
        pids_limit: limits::pids(node),
        oom_score_adj: node
            .get("oom_score_adj")
            .and_then(Node::as_int)
            .and_then(|score| i32::try_from(score).ok()),
        restart,
        retry,
        stop_signal: text(node, "stop_signal").filter(|name| !name.is_empty()),
        stop_grace_period_ms: milliseconds(node.get("stop_grace_period"), report),
        healthcheck: node
            .get("healthcheck")
            .map(|check| health::check(check, report)),
        labels: texts_by_key(node, "labels"),
        annotations: texts_by_key(node, "annotations"),
        ports: ports::ports(node, report),
        networks: attachment::attachments(node, report),
        links: attachment::links(node),
        mounts: mounts::mounts(&parts.model, node, report),
        files: files::files(parts, node, report),
        depends_on: entries(node.get("depends_on"))
            .filter(|(other, _)| parts.model.at(&["services", other]).is_some())
            .map(|(other, node)| (other.clone(), dependency(node)))
            .collect(),
        extra_hosts: items(node.get("extra_hosts"))
            .iter()
            .filter_map(|item| item.as_str()?.split_once('='))
            .map(|(host, address)| (host.to_owned(), address.to_owned()))
            .collect(),
        dns: name_servers(node, report),
        dns_search: texts(node, "dns_search"),
        dns_opt: texts(node, "dns_opt"),
        update: rollout::rollout(node.at(&["deploy", "update_config"]), report),
        rollback: rollout::rollout(node.at(&["deploy", "rollback_config"]), report),
        config_hash: sockets::with_sockets(hash, &sockets),
        sockets,
        machine,
        logging: logging::logging(node, report),
        hooks: hooks::hooks(node),
        attach: node.get("attach").and_then(Node::as_bool),
    }
}

/// `scale` or `deploy.replicas`; one when neither is given.
fn replicas(node: &Node, report: &mut Report) -> u32 {
    let Some(given) = node.get("scale").or(node.at(&["deploy", "replicas"])) else {
        return 1;
    };
    given
        .as_int()
        .and_then(|count| u32::try_from(count).ok())
        .unwrap_or_else(|| {
            unusable(given, "is not a number of replicas", report);
            1
        })
}

/// That of services that name none, as for Docker Compose; but what is built
/// here is for this machine.
fn default_platform(parts: &Parts, node: &Node) -> Option<String> {
    let given = parts.environment.get("DOCKER_DEFAULT_PLATFORM")?;
    let is_wanted = node.get("build").is_none() && !given.is_empty();
    is_wanted.then(|| given.clone())
}

/// Addresses, one or a list.
fn name_servers(node: &Node, report: &mut Report) -> Vec<String> {
    let given = node.get("dns").into_iter();
    let each = given.flat_map(|dns| match dns.as_str() {
        Some(_) => std::slice::from_ref(dns),
        None => items(Some(dns)),
    });
    for server in each {
        let text = server.as_str().unwrap_or_default();
        if text.parse::<std::net::IpAddr>().is_err() {
            unusable(server, "is not the address of a name server", report);
        }
    }
    texts(node, "dns")
}

fn pull_policy(node: &Node, report: &mut Report) -> PullPolicy {
    match node.get("pull_policy").and_then(Node::as_str) {
        Some("always") => PullPolicy::Always,
        Some("never") => PullPolicy::Never,
        Some("daily") => PullPolicy::Every(DAY),
        Some("weekly") => PullPolicy::Every(7 * DAY),
        // Without a time, as with Docker Compose: each time.
        Some("refresh") => match node.get("pull_refresh_after") {
            Some(after) => every(after.as_str(), after, report),
            None => PullPolicy::Every(0),
        },
        Some(other) if other.contains("every_") => {
            let given = node.get("pull_policy").unwrap_or(node);
            every(other.strip_prefix("every_"), given, report)
        }
        _ => PullPolicy::Missing,
    }
}

/// Seconds.
const DAY: u64 = 24 * 60 * 60;

fn every(text: Option<&str>, given: &Node, report: &mut Report) -> PullPolicy {
    let time = text.and_then(parse_duration);
    match time.and_then(|nanoseconds| u64::try_from(nanoseconds).ok()) {
        Some(nanoseconds) => PullPolicy::Every(nanoseconds / 1_000_000_000),
        None => {
            unusable(given, "is not a time such as `12h` or `3d`", report);
            PullPolicy::Missing
        }
    }
}

fn dependency(node: &Node) -> Dependency {
    let condition = match node.get("condition").and_then(Node::as_str) {
        Some("service_healthy") => Condition::ServiceHealthy,
        Some("service_completed_successfully") => Condition::ServiceCompletedSuccessfully,
        _ => Condition::ServiceStarted,
    };
    Dependency {
        condition,
        restart: flag(node, "restart"),
        required: node.get("required").and_then(Node::as_bool).unwrap_or(true),
    }
}

/// A time in milliseconds, at least one when it is not zero.
pub(super) fn milliseconds(node: Option<&Node>, report: &mut Report) -> Option<u64> {
    let node = node?;
    match node.as_str().and_then(parse_duration).map(u64::try_from) {
        Some(Ok(nanoseconds)) => Some(nanoseconds.div_ceil(1_000_000)),
        _ => {
            unusable(node, "is not a time", report);
            None
        }
    }
}

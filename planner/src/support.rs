//! Attributes that have an effect in Docker but none here. Each is named with
//! its line: a warning when the stack works without it, an error when leaving it
//! out would be unsafe or useless.

mod table;

pub use table::table;

use crate::diagnostic::{Problem, Report, codes};
use crate::spec::security::{Wish, wish};
use crate::tree::{Node, Path, Span, visit};

/// Places of one attribute that are shown at most.
const MOST_PLACES: usize = 5;

/// Where, and what does not happen.
type Ignored = (&'static [&'static str], &'static str);
/// Where, for which values, and why nothing happens.
type IgnoredValue = (&'static [&'static str], fn(&Node) -> bool, &'static str);
/// Where, for which values, why not, and what to do instead.
type Refused = (
    &'static [&'static str],
    fn(&Node) -> bool,
    &'static str,
    &'static str,
);

const IGNORED: &[Ignored] = &[
    (
        &["services", "*", "build", "isolation"],
        "it is for Windows containers",
    ),
    (
        &["services", "*", "build", "no_cache_filter"],
        "use `no_cache`",
    ),
    (
        &["services", "*", "build", "provenance"],
        "images have no attestations",
    ),
    (
        &["services", "*", "build", "sbom"],
        "images have no attestations",
    ),
    (
        &["services", "*", "blkio_config", "weight"],
        "the disks of virtual machines are not weighed against each other",
    ),
    (
        &["services", "*", "blkio_config", "weight_device"],
        "the disks of virtual machines are not weighed against each other",
    ),
    (
        &["services", "*", "cgroup_parent"],
        "every service has a kernel of its own",
    ),
    (&["services", "*", "cpu_percent"], "use `cpus`"),
    (
        &["services", "*", "cpu_rt_period"],
        "real-time scheduling is not offered",
    ),
    (
        &["services", "*", "cpu_rt_runtime"],
        "real-time scheduling is not offered",
    ),
    (
        &["services", "*", "cpu_shares"],
        "virtual machines share the host's processors evenly, use `cpus`",
    ),
    (
        &["services", "*", "credential_spec"],
        "it is for Windows containers",
    ),
    (
        &["services", "*", "device_cgroup_rules"],
        "devices are those of the virtual machine",
    ),
    (
        &["services", "*", "external_links"],
        "services of other stacks are reached through an external network",
    ),
    (
        &["services", "*", "mem_reservation"],
        "memory is taken when it is used",
    ),
    (
        &["services", "*", "oom_kill_disable"],
        "memory is limited by the virtual machine",
    ),
    (
        &["services", "*", "runtime"],
        "the runtime is a virtual machine",
    ),
    (
        &["services", "*", "userns_mode"],
        "every service has a kernel of its own",
    ),
    (
        &[
            "services",
            "*",
            "deploy",
            "resources",
            "reservations",
            "cpus",
        ],
        "processors are not reserved",
    ),
    (
        &[
            "services",
            "*",
            "deploy",
            "resources",
            "reservations",
            "memory",
        ],
        "memory is taken when it is used",
    ),
    (
        &[
            "services",
            "*",
            "deploy",
            "resources",
            "reservations",
            "generic_resources",
        ],
        "there are none",
    ),
    (
        &["services", "*", "networks", "*", "link_local_ips"],
        "a card has the addresses that the daemon knows, so that nobody can pose as another",
    ),
    (
        &["services", "*", "networks", "*", "driver_opts"],
        "network cards have no options, use `sysctls`",
    ),
    (
        &["services", "*", "deploy", "placement"],
        "there is one machine",
    ),
    (
        &["services", "*", "deploy", "endpoint_mode"],
        "a name has the addresses of all replicas",
    ),
    (
        &["services", "*", "volumes", "*", "bind", "selinux"],
        "labels of the host have no meaning in the guest",
    ),
    (
        &["services", "*", "volumes", "*", "consistency"],
        "mounts are always consistent",
    ),
    (
        &["services", "*", "volumes", "*", "bind", "propagation"],
        "mounts are not passed on",
    ),
    (
        &["services", "*", "volumes", "*", "bind", "recursive"],
        "a bind mount shows the whole directory",
    ),
    (
        &["services", "*", "volumes", "*", "volume", "labels"],
        "a volume is labelled where it is defined, in `volumes`",
    ),
    (
        &["networks", "*", "attachable"],
        "containers of `stack run` are in their service's networks, other stacks join an external one",
    ),
    (
        &["networks", "*", "ipam", "options"],
        "addresses are given by the daemon",
    ),
    (
        &["configs", "*", "template_driver"],
        "content is used as it is",
    ),
    (
        &["secrets", "*", "template_driver"],
        "content is used as it is",
    ),
];

/// Values without an effect, of attributes that have one with others, or whose
/// other values say what is so anyway.
const IGNORED_VALUES: &[IgnoredValue] = &[
    (
        &["services", "*", "security_opt", "*"],
        |node| node.as_str().map(wish) == Some(Wish::Unknown),
        "there is no such mechanism in the guest",
    ),
    (
        &["services", "*", "cgroup"],
        |node| node.as_str() == Some("host"),
        "every service has a kernel of its own",
    ),
    (
        &["services", "*", "isolation"],
        |node| node.as_str() != Some("default"),
        "every service is a virtual machine",
    ),
    (
        &["services", "*", "mem_swappiness"],
        |node| node.scalar_text().as_deref() != Some("0"),
        "there is no swap",
    ),
    (
        &["services", "*", "ipc"],
        |node| node.as_str() == Some("none"),
        "every service has shared memory of its own",
    ),
    (
        &["services", "*", "build", "entitlements", "*"],
        |node| !matches!(node.as_str(), Some("security.insecure" | "network.host")),
        "there is no such right that a build could lack",
    ),
    (
        &["services", "*", "devices", "*", "permissions"],
        |node| node.as_str() != Some("rwm"),
        "whoever may open a device of the guest is said by its mode",
    ),
    (
        &["services", "*", "deploy", "mode"],
        |node| !matches!(node.as_str(), Some("replicated" | "global")),
        "services run side by side, as many as `replicas` says",
    ),
];

const REFUSED: &[Refused] = &[
    (
        &["services", "*", "provider"],
        always,
        "providers are not run",
        "start it yourself and name its address in `environment`",
    ),
    (
        &["services", "*", "devices", "*"],
        not_in_guest,
        "a device of the host cannot be passed on",
        "devices such as `/dev/fuse` and `/dev/net/tun` are there without being named",
    ),
    (
        &["services", "*", "devices", "*"],
        renamed,
        "devices have the names in the guest that its kernel gives them",
        "leave the device out, and use it under its own name",
    ),
    (
        &["services", "*", "gpus"],
        always,
        "a GPU cannot be passed on",
        "run this service with another engine, and reach it over the network",
    ),
    (
        &[
            "services",
            "*",
            "deploy",
            "resources",
            "reservations",
            "devices",
        ],
        always,
        "a device cannot be passed on",
        "run this service with another engine, and reach it over the network",
    ),
    (
        &["services", "*", "ipc"],
        shared,
        "every service has a kernel of its own, there is no memory to share",
        "put both programs into one service",
    ),
    (
        &["services", "*", "pid"],
        shared,
        "every service has a kernel of its own, its processes are not visible elsewhere",
        "put both programs into one service",
    ),
    (
        &["services", "*", "uts"],
        shared,
        "every service has a kernel of its own, with its own host name",
        "write `hostname`",
    ),
    (
        &["services", "*", "network_mode"],
        |node| node.as_str() == Some("host"),
        "every service is a virtual machine, which the host's network cards are not in",
        "leave it out: publish what must be reached with `ports`, and reach services of the host \
         as `host.docker.internal`",
    ),
    (
        &["services", "*", "network_mode"],
        of_another,
        "every service is a virtual machine with network cards of its own",
        "leave it out: both services are in one network then, where the other is reached under \
         its name instead of `localhost`; its `ports` stay with the service that listens",
    ),
    (
        &["services", "*", "network_mode"],
        unknown_network,
        "`network_mode` is `bridge` or `none` here",
        "write `networks` to name the networks that the service is in",
    ),
    (
        &["services", "*", "use_api_socket"],
        always,
        "there is no engine to talk to",
        "leave it out",
    ),
    (
        &["services", "*", "volumes", "*", "source"],
        engine_socket,
        "there is no engine to talk to",
        "leave it out, or run this service with the engine that it manages",
    ),
    (
        &["services", "*", "volumes", "*", "source"],
        devices_of_host,
        "devices of the host cannot be passed on",
        "leave it out: devices such as `/dev/fuse` and `/dev/net/tun` are in the guest without \
         being named",
    ),
    (
        &["services", "*", "volumes_from"],
        always,
        "the other service's disks are not at hand",
        "name the volumes in each service that uses them",
    ),
    (
        &["services", "*", "models"],
        always,
        "there is no model runner, so its address would be missing",
        "run the model as a service, and name its address in `environment`",
    ),
    (
        &["networks", "*", "driver"],
        foreign_driver,
        "only `bridge` networks exist",
        "leave `driver` out",
    ),
    (
        &["volumes", "*", "driver"],
        not_local,
        "only `local` volumes exist",
        "leave `driver` out, or mount a directory of the host",
    ),
    (
        &["secrets", "*", "driver"],
        always,
        "there is no store of secrets",
        "use `file` or `environment`",
    ),
];

/// Warns about what has no effect, once for each attribute.
pub(crate) fn warn(model: &Node, report: &mut Report) {
    let mut ask = |pattern: &[&str], applies: &dyn Fn(&Node, &Path) -> bool, reason: &str| {
        let mut found = Vec::new();
        visit(model, pattern, &mut |node, path| {
            if applies(node, path) {
                found.push((node.place(), path.to_string()));
            }
        });
        no_effect(&found, reason, report);
    };
    for (pattern, reason) in IGNORED {
        let given = |node: &Node, _: &Path| {
            !node.is_null() && node.as_bool() != Some(false) && node.as_str() != Some("false")
        };
        ask(pattern, &given, reason);
    }
    for (pattern, applies, reason) in IGNORED_VALUES {
        ask(pattern, &|node, _| applies(node), reason);
    }
    ask(
        &["services", "*", "memswap_limit"],
        &|node, path| {
            // As much swap as memory is none, and that is what there is.
            let service = path.keys().get(1).copied().unwrap_or_default();
            model.at(&["services", service, "mem_limit"]) != Some(node)
        },
        "there is no swap",
    );
    ask(
        &["networks", "*", "ipam", "driver"],
        &|node, _| !node.is_null() && node.as_str() != Some("default"),
        "addresses are given by the daemon",
    );
    ask(
        &["services", "*", "storage_opt", "*"],
        &|node, path| !node.is_null() && path.keys().last() != Some(&"size"),
        "a root disk has a size, and no other options",
    );
    ask(
        &["services", "*", "logging", "driver"],
        &|node, _| !matches!(node.as_str(), Some("json-file" | "local")),
        "output is kept by the daemon, which limits its size",
    );
    ask(
        &["services", "*", "logging", "options", "*"],
        &|_, path| !matches!(path.keys().last(), Some(&("max-size" | "max-file"))),
        "output is kept by the daemon; `max-size` and `max-file` limit it",
    );
}

fn no_effect(found: &[(Span, String)], reason: &str, report: &mut Report) {
    let Some((_, path)) = found.first() else {
        return;
    };
    let places = match found.len() {
        1 => String::new(),
        2 => ", here and at another place".to_owned(),
        count => format!(", here and at {} other places", count - 1),
    };
    let message = format!("`{path}` has no effect{places}: {reason}");
    let mut problem = Problem::warning(codes::IGNORED, message);
    for (i, (at, _)) in found.iter().take(MOST_PLACES).enumerate() {
        problem = problem.at(
            *at,
            if i == 0 {
                "has no effect"
            } else {
                "nor has this"
            },
        );
    }
    report.push(problem);
}

/// Reports what must not be left out.
pub(crate) fn refuse(model: &Node, report: &mut Report) {
    for (pattern, applies, reason, instead) in REFUSED {
        visit(model, pattern, &mut |node, path| {
            if applies(node) {
                let what = node
                    .as_str()
                    .map_or_else(|| format!("`{path}`"), |text| format!("`{path}: {text}`"));
                let message = format!("{what} is not supported: {reason}");
                let problem = Problem::error(codes::UNSUPPORTED, message);
                report.push(problem.at(node.place(), "not supported").help(*instead));
            }
        });
    }
}

fn always(node: &Node) -> bool {
    node.as_bool() != Some(false)
}

fn shared(node: &Node) -> bool {
    node.as_str().is_some_and(|text| {
        text == "host" || text.starts_with("service:") || text.starts_with("container:")
    })
}

fn of_another(node: &Node) -> bool {
    let is_other = |text: &str| text.starts_with("service:") || text.starts_with("container:");
    node.as_str().is_some_and(is_other)
}

fn unknown_network(node: &Node) -> bool {
    !of_another(node) && !matches!(node.as_str(), Some("none" | "bridge" | "default" | "host"))
}

/// The socket of an engine, in a bind mount.
fn engine_socket(node: &Node) -> bool {
    matches!(
        node.as_str(),
        Some("/var/run/docker.sock" | "/run/docker.sock" | "/run/podman/podman.sock")
    )
}

/// Where devices are on the host, in a bind mount. What else is below `/dev` is files.
fn devices_of_host(node: &Node) -> bool {
    let below = |path: &str, dir: &str| {
        let rest = path.strip_prefix(dir);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    node.as_str().is_some_and(|path| {
        let path = path.trim_end_matches('/');
        let files = ["/dev/shm", "/dev/log", "/dev/mqueue", "/dev/hugepages"];
        below(path, "/dev") && !files.iter().any(|dir| below(path, dir))
    })
}

fn foreign_driver(node: &Node) -> bool {
    !matches!(node.as_str(), Some("bridge" | "default"))
}

fn not_local(node: &Node) -> bool {
    node.as_str() != Some("local")
}

/// A device that is there, at another place.
fn renamed(node: &Node) -> bool {
    let target = node.get("target").and_then(Node::as_str);
    let source = node.get("source").and_then(Node::as_str);
    !not_in_guest(node) && target.is_some_and(|target| Some(target) != source)
}

/// Devices that every guest has are there without being passed on.
fn not_in_guest(node: &Node) -> bool {
    let source = node
        .get("source")
        .and_then(Node::as_str)
        .unwrap_or_default();
    let there = [
        "fuse", "net/tun", "kmsg", "null", "zero", "full", "random", "urandom", "tty", "ptmx",
    ];
    !source
        .strip_prefix("/dev/")
        .is_some_and(|name| there.contains(&name))
}

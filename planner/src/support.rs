//! Attributes that have an effect in Docker but none here. Each is named with
//! its line: a warning when the stack works without it, an error when leaving it
//! out would be unsafe or useless.

#[cfg(test)]
mod tests;

use crate::diagnostic::{Problem, Report, codes};
use crate::tree::{Node, Path, visit};

/// Where, and what does not happen.
type Ignored = (&'static [&'static str], &'static str);
/// Where, for which values, and why not.
type Refused = (&'static [&'static str], fn(&Node) -> bool, &'static str);

const IGNORED: &[Ignored] = &[
    (
        &["services", "*", "attach"],
        "the output of every service is followed",
    ),
    (
        &["services", "*", "build"],
        "images are not built, the service's `image` is pulled",
    ),
    (&["services", "*", "develop"], "files are not watched"),
    (
        &["services", "*", "blkio_config"],
        "disk access is not limited",
    ),
    (
        &["services", "*", "cgroup"],
        "every service has a kernel of its own",
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
    (&["services", "*", "cpuset"], "processors are not pinned"),
    (
        &["services", "*", "cpu_shares"],
        "services share processors evenly",
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
        &["services", "*", "isolation"],
        "every service is a virtual machine",
    ),
    (
        &["services", "*", "logging"],
        "output is kept by the daemon",
    ),
    (
        &["services", "*", "mem_reservation"],
        "memory is taken when it is used",
    ),
    (&["services", "*", "memswap_limit"], "there is no swap"),
    (&["services", "*", "mem_swappiness"], "there is no swap"),
    (
        &["services", "*", "mac_address"],
        "addresses of network cards are chosen by the daemon",
    ),
    (&["services", "*", "models"], "there is no model runner"),
    (
        &["services", "*", "oom_kill_disable"],
        "memory is limited by the virtual machine",
    ),
    (
        &["services", "*", "pull_refresh_after"],
        "images are pulled when they are missing",
    ),
    (
        &["services", "*", "runtime"],
        "the runtime is a virtual machine",
    ),
    (
        &["services", "*", "storage_opt"],
        "the size of the root disk is not limited",
    ),
    (
        &["services", "*", "userns_mode"],
        "every service has a kernel of its own",
    ),
    (&["services", "*", "post_start"], "hooks are not run"),
    (&["services", "*", "pre_stop"], "hooks are not run"),
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
        &["services", "*", "networks", "*", "ipv6_address"],
        "networks have IPv4 addresses only",
    ),
    (
        &["services", "*", "networks", "*", "link_local_ips"],
        "networks have IPv4 addresses only",
    ),
    (
        &["services", "*", "networks", "*", "mac_address"],
        "addresses of network cards are chosen by the daemon",
    ),
    (
        &["services", "*", "networks", "*", "driver_opts"],
        "networks have no options",
    ),
    (
        &["services", "*", "networks", "*", "interface_name"],
        "network cards are named by the guest",
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
        &["networks", "*", "driver_opts"],
        "networks have no options",
    ),
    (
        &["networks", "*", "enable_ipv6"],
        "networks have IPv4 addresses only",
    ),
    (
        &["networks", "*", "ipam", "driver"],
        "addresses are given by the daemon",
    ),
    (
        &["networks", "*", "ipam", "options"],
        "addresses are given by the daemon",
    ),
    (
        &["networks", "*", "ipam", "config", "*", "ip_range"],
        "any address of the subnet is given",
    ),
    (
        &["networks", "*", "ipam", "config", "*", "aux_addresses"],
        "any address of the subnet is given",
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

const REFUSED: &[Refused] = &[
    (
        &["services", "*", "provider"],
        always,
        "providers are not run",
    ),
    (
        &["services", "*", "devices", "*"],
        not_in_guest,
        "a device of the host cannot be passed on",
    ),
    (
        &["services", "*", "gpus"],
        always,
        "a GPU cannot be passed on",
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
    ),
    (
        &["services", "*", "ipc"],
        shared,
        "every service has a kernel of its own, nothing can be shared",
    ),
    (
        &["services", "*", "pid"],
        shared,
        "every service has a kernel of its own, nothing can be shared",
    ),
    (
        &["services", "*", "uts"],
        shared,
        "every service has a kernel of its own, nothing can be shared",
    ),
    (
        &["services", "*", "network_mode"],
        foreign_network,
        "publish `ports` and use `networks`",
    ),
    (
        &["services", "*", "use_api_socket"],
        always,
        "there is no Docker engine to talk to",
    ),
    (
        &["services", "*", "volumes_from"],
        always,
        "name the volumes in each service that uses them",
    ),
    (
        &["services", "*", "pre_start"],
        always,
        "hooks are not run; use a service and `service_completed_successfully`",
    ),
    (
        &["networks", "*", "driver"],
        foreign_driver,
        "only `bridge` networks exist",
    ),
    (
        &["volumes", "*", "driver"],
        not_local,
        "only `local` volumes exist",
    ),
    (
        &["secrets", "*", "driver"],
        always,
        "use `file` or `environment`",
    ),
];

/// Warns about what has no effect.
pub(crate) fn warn(model: &Node, report: &mut Report) {
    for (pattern, reason) in IGNORED {
        visit(model, pattern, &mut |node, path| {
            if node.is_null() || node.as_bool() == Some(false) || is_build_alone(model, path) {
                return;
            }
            let message = format!("`{path}` has no effect: {reason}");
            report.push(
                Problem::warning(codes::IGNORED, message).at(node.place(), "not supported yet"),
            );
        });
    }
    visit(
        model,
        &["services", "*", "pull_policy"],
        &mut |node, path| {
            if !matches!(node.as_str(), Some("always" | "never" | "missing")) {
                let message =
                    format!("`{path}` has no effect: images are pulled when they are missing");
                report
                    .push(Problem::warning(codes::IGNORED, message).on(node, "not supported yet"));
            }
        },
    );
    visit(
        model,
        &["services", "*", "security_opt", "*"],
        &mut |node, path| {
            if !node.as_str().is_some_and(is_no_new_privileges) {
                let message =
                    format!("`{path}` has no effect: there is no such mechanism in the guest");
                report
                    .push(Problem::warning(codes::IGNORED, message).on(node, "not supported yet"));
            }
        },
    );
}

/// Reports what must not be left out.
pub(crate) fn refuse(model: &Node, report: &mut Report) {
    for (pattern, applies, reason) in REFUSED {
        visit(model, pattern, &mut |node, path| {
            if applies(node) {
                let what = node
                    .as_str()
                    .map_or_else(|| format!("`{path}`"), |text| format!("`{path}: {text}`"));
                let problem = Problem::error(
                    codes::UNSUPPORTED,
                    format!("{what} is not supported: {reason}"),
                );
                report.push(problem.at(node.place(), "not supported"));
            }
        });
    }
    visit(model, &["services", "*", "build"], &mut |node, path| {
        if is_build_alone(model, path) {
            let service = path.service().unwrap_or_default();
            let message = format!("`{service}` has to be built, which is not supported yet");
            let problem =
                Problem::error(codes::UNSUPPORTED, message).at(node.place(), "there is no `image`");
            report.push(
                problem.help("build and push the image with another tool and name it in `image`"),
            );
        }
    });
}

/// `no-new-privileges`, `no-new-privileges:true` or with `=`.
pub(crate) fn is_no_new_privileges(text: &str) -> bool {
    let rest = text.strip_prefix("no-new-privileges");
    rest.is_some_and(|rest| matches!(rest, "" | ":true" | "=true" | ":false" | "=false"))
}

/// A build without an image is an error, not something that is passed over.
fn is_build_alone(model: &Node, path: &Path) -> bool {
    let ["services", name, "build"] = path.keys()[..] else {
        return false;
    };
    model.at(&["services", name, "image"]).is_none()
}

fn always(node: &Node) -> bool {
    node.as_bool() != Some(false)
}

fn shared(node: &Node) -> bool {
    node.as_str().is_some_and(|text| {
        text == "host" || text.starts_with("service:") || text.starts_with("container:")
    })
}

fn foreign_network(node: &Node) -> bool {
    !matches!(node.as_str(), Some("none" | "bridge" | "default"))
}

fn foreign_driver(node: &Node) -> bool {
    !matches!(node.as_str(), Some("bridge" | "default"))
}

fn not_local(node: &Node) -> bool {
    node.as_str() != Some("local")
}

/// Devices that every guest has are there without being passed on.
fn not_in_guest(node: &Node) -> bool {
    let source = node
        .get("source")
        .and_then(Node::as_str)
        .unwrap_or_default();
    let there = [
        "fuse", "net/tun", "null", "zero", "full", "random", "urandom", "tty", "ptmx", "console",
    ];
    !source
        .strip_prefix("/dev/")
        .is_some_and(|name| there.contains(&name))
}

//! Keys that do not exist: what the user meant by them.

use crate::schema::{self, Object};
use crate::suggest;
use crate::tree::Node;

/// Attributes that are listed when none of them is near.
const FEW: usize = 12;

/// What may be said about a key that does not exist.
pub(super) struct Guess {
    /// Under the key.
    pub(super) label: &'static str,
    pub(super) help: Option<String>,
    /// The attribute that was meant; nothing more is said about its absence.
    pub(super) meant: Option<&'static str>,
}

/// Keys of a service by other names: those of `docker run`, of Kubernetes, of
/// the Dockerfile and of older versions; and what to write instead.
const SERVICE: &[(&[&str], &str, &str)] = &[
    (
        &["memory", "mem", "memory_limit", "mem_max", "ram"],
        "mem_limit",
        "`mem_limit: 512m`",
    ),
    (
        &["memory_reservation"],
        "mem_reservation",
        "`mem_reservation: 256m`",
    ),
    (&["memory_swap"], "memswap_limit", "`memswap_limit: 1g`"),
    (&["cpu", "cpu_limit", "vcpus"], "cpus", "`cpus: 1.5`"),
    (
        &[
            "env",
            "envs",
            "env_vars",
            "environment_variables",
            "vars",
            "variables",
        ],
        "environment",
        "`environment: {KEY: value}`",
    ),
    (
        &["port", "publish", "p", "published_ports"],
        "ports",
        "`ports: [\"8080:80\"]`",
    ),
    (
        &["volume", "mount", "mounts", "volume_mounts", "v", "bind"],
        "volumes",
        "`volumes: [\"./here:/there\"]`",
    ),
    (
        &["cmd", "run", "exec", "start_command"],
        "command",
        "`command: …`",
    ),
    (
        &["args", "arguments"],
        "command",
        "`command: […]` for the program, `build: {args: …}` for the build",
    ),
    (
        &["requires", "needs", "after", "dependencies", "wait_for"],
        "depends_on",
        "`depends_on: [db]`",
    ),
    (
        &["replicas", "instances"],
        "scale",
        "`scale: 3`, or `deploy: {replicas: 3}`",
    ),
    (&["resources"], "deploy", "`deploy: {resources: …}`"),
    (
        &["limits"],
        "deploy",
        "`deploy: {resources: {limits: …}}`, or `mem_limit` and `cpus`",
    ),
    (
        &["reservations"],
        "deploy",
        "`deploy: {resources: {reservations: …}}`",
    ),
    (
        &["placement", "update_config", "rollback_config"],
        "deploy",
        "it goes below `deploy:`",
    ),
    (
        &["restart_policy"],
        "restart",
        "`restart: unless-stopped`, or `deploy: {restart_policy: …}`",
    ),
    (
        &["hosts", "add_host", "add_hosts", "host_aliases"],
        "extra_hosts",
        "`extra_hosts: [\"name=10.0.0.1\"]`",
    ),
    (
        &["name"],
        "container_name",
        "`container_name: …`; other services reach this one under its service's name",
    ),
    (&["dockerfile"], "build", "`build: {dockerfile: …}`"),
    (&["context"], "build", "`build: {context: …}`"),
    (&["target"], "build", "`build: {target: …}`"),
    (
        &["workdir", "w", "cwd"],
        "working_dir",
        "`working_dir: /app`",
    ),
    (
        &["health", "liveness_probe", "readiness_probe"],
        "healthcheck",
        "`healthcheck: {test: …}`",
    ),
    (
        &["net"],
        "network_mode",
        "`networks: [front]`, or `network_mode: none`",
    ),
    (
        &["log_driver", "log_opt", "log_opts"],
        "logging",
        "`logging: {driver: …, options: …}`",
    ),
    (
        &["interactive", "i", "stdin"],
        "stdin_open",
        "`stdin_open: true`",
    ),
    (&["t"], "tty", "`tty: true`"),
    (&["u", "run_as"], "user", "`user: \"1000\"`"),
    (
        &["rm"],
        "",
        "leave it out: `stack down` removes what `stack up` made",
    ),
    (&["detach", "d"], "", "leave it out: write `stack up -d`"),
    (
        &["volume_driver"],
        "",
        "name the driver where the volume is defined: `volumes: {data: {driver: …}}`",
    ),
    (
        &["condition"],
        "depends_on",
        "`depends_on: {db: {condition: service_healthy}}`",
    ),
];

/// Attributes of other objects by other names: the object, the key, the attribute.
const OTHERS: &[(&str, &[&str], &str)] = &[
    ("a healthcheck", &["command", "cmd"], "test"),
    ("a build", &["path", "dir"], "context"),
    ("a build", &["file"], "dockerfile"),
    ("a port", &["port", "container_port", "internal"], "target"),
    ("a port", &["host_port", "external"], "published"),
    ("a port", &["ip", "host"], "host_ip"),
    ("a volume mount", &["src", "from", "host"], "source"),
    (
        "a volume mount",
        &["dst", "destination", "dest", "path", "to"],
        "target",
    ),
    ("a volume mount", &["readonly", "ro"], "read_only"),
    (
        "a file reference",
        &["path", "dest", "destination", "dst", "to", "file"],
        "target",
    ),
    (
        "a file reference",
        &["name", "secret", "config", "src", "from"],
        "source",
    ),
];

/// What `key`, which `object` does not have, was meant to be.
pub(super) fn guess(key: &str, node: &Node, object: &Object) -> Guess {
    let plain = key
        .trim_start_matches('-')
        .to_ascii_lowercase()
        .replace('-', "_");
    let mut guess = Guess {
        label: "unknown attribute",
        help: None,
        meant: None,
    };
    let renamed = SERVICE
        .iter()
        .filter(|_| object.what == schema::SERVICE_WHAT)
        .find(|(names, _, _)| names.contains(&plain.as_str()));
    if let Some((_, meant, instead)) = renamed {
        guess.meant = Some(*meant).filter(|meant| !meant.is_empty());
        guess.help = Some(match guess.meant {
            Some(_) if instead.starts_with('`') => format!("write {instead}"),
            _ => (*instead).to_owned(),
        });
        return guess;
    }
    let other = OTHERS
        .iter()
        .find(|(what, names, _)| *what == object.what && names.contains(&plain.as_str()));
    if let Some((_, _, meant)) = other {
        guess.meant = Some(meant);
        guess.help = Some(format!("did you mean `{meant}`?"));
        return guess;
    }
    let names = object.fields.iter().map(|field| field.name);
    if let Some(meant) = suggest::nearest(key, names) {
        guess.meant = Some(meant);
        guess.help = Some(format!("did you mean `{meant}`?"));
    } else if let Some((name, _)) = key
        .split_once(':')
        .filter(|(name, rest)| !rest.is_empty() && object.field(name).is_some() && node.is_null())
    {
        guess.label = "a space is missing after the colon";
        guess.meant = object.field(name).map(|field| field.name);
        guess.help = Some(format!("write `{name}: …`"));
    } else if let Some(whole) = schema::elsewhere(key, object) {
        guess.help = Some(whole);
    } else if object.extensions && object.fields.len() > FEW {
        guess.help = Some(format!(
            "a key of your own must start with `x-`: `x-{}`",
            plain.trim_start_matches('_')
        ));
    } else {
        let names: Vec<_> = object
            .fields
            .iter()
            .map(|field| format!("`{}`", field.name))
            .collect();
        guess.help = Some(format!("{} has {}", object.what, names.join(", ")));
    }
    guess
}

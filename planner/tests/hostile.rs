//! Whatever the bytes are, loading ends soon and says what is wrong.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::PathBuf;

use proptest::prelude::*;
use stack_planner::{LoadOptions, Loaded, MemorySource, load};

fn loaded(files: &[(&str, Vec<u8>)]) -> Loaded {
    let mut source = MemorySource::new();
    for (path, bytes) in files {
        source = source.with(format!("/app/{path}"), bytes.clone());
    }
    load(
        &source,
        &LoadOptions::new(
            vec![PathBuf::from("/app/compose.yaml")],
            PathBuf::from("/app"),
        ),
    )
}

/// Loads, prints what there is and checks that labels are inside their files.
fn survive(bytes: &[u8], env: &[u8]) {
    let loaded = loaded(&[
        ("compose.yaml", bytes.to_vec()),
        (".env", env.to_vec()),
        ("e.env", env.to_vec()),
    ]);
    for label in loaded.diagnostics.iter().flat_map(|found| &found.labels) {
        let text = loaded.source_text(&label.file).unwrap();
        assert!(text.get(label.span.clone()).is_some(), "{label:?}");
    }
    assert_eq!(loaded.project.is_some(), !loaded.has_errors());
    if let Some(project) = &loaded.project {
        _ = project.spec();
        project.to_json();
        let again = self::loaded(&[("compose.yaml", project.to_yaml().into_bytes())]);
        assert!(
            again.project.is_some(),
            "{}\n{:#?}",
            project.to_yaml(),
            again.diagnostics
        );
    }
}

/// Pieces that stack files are made of, put together at random.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "services:",
        "web:",
        "image: i",
        "ports:",
        "- '80:80'",
        "- 80",
        "volumes:",
        "- data:/x",
        "environment:",
        "A: b",
        "- A=b",
        "networks:",
        "default:",
        "<<: *a",
        "&a",
        "*a",
        "!reset",
        "!override",
        "[",
        "]",
        "{",
        "}",
        ",",
        "extends: web",
        "include:",
        "- e.yaml",
        "depends_on: [web]",
        "${A:-",
        "}",
        "$A",
        "command: a 'b",
        "build: .",
        "deploy:",
        "replicas: 3",
        "null",
        "~",
        "\n",
        "\n  ",
        "\n    ",
        "\n      ",
        "---\n",
        "x-y: 1",
        "healthcheck: {test: x}",
        "configs: [c]",
        "env_file: e.env",
        "ulimits: {a: 1}",
        "ipam: {config: [{subnet: 1}]}",
        "external: {name: x}",
        "secrets:",
        "extra_hosts: {a: [b]}",
        "labels: {a: 1.5}",
        "gpus: all",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|list| list.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300), env in prop::collection::vec(any::<u8>(), 0..60)) {
        survive(&bytes, &env);
    }

    #[test]
    fn any_text(text in "\\PC{0,200}", env in "\\PC{0,60}") {
        survive(text.as_bytes(), env.as_bytes());
    }

    #[test]
    fn any_pieces(text in pieces()) {
        survive(text.as_bytes(), b"A=1\n");
    }

    /// Any value at any attribute of a service.
    #[test]
    fn any_value_at_any_attribute(
        key in prop::sample::select(KEYS.to_vec()),
        value in prop::sample::select(VALUES.to_vec()),
    ) {
        survive(format!("services:\n  web:\n    image: i\n    {key}: {value}\n").as_bytes(), b"");
        survive(format!("services: {{web: {{image: i, networks: {{n: }}, volumes: ['vol:/v']}}}}\nnetworks: {{n: {{{key}: {value}}}}}\nvolumes: {{vol: {{{key}: {value}}}}}\n").as_bytes(), b"");
    }
}

const KEYS: &[&str] = &[
    "annotations",
    "attach",
    "blkio_config",
    "build",
    "cap_add",
    "cgroup",
    "command",
    "configs",
    "container_name",
    "cpu_count",
    "cpu_quota",
    "cpus",
    "credential_spec",
    "depends_on",
    "deploy",
    "develop",
    "devices",
    "dns",
    "driver_opts",
    "driver",
    "entrypoint",
    "env_file",
    "environment",
    "expose",
    "extends",
    "external",
    "external_links",
    "extra_hosts",
    "gpus",
    "group_add",
    "healthcheck",
    "image",
    "init",
    "ipam",
    "ipc",
    "label_file",
    "labels",
    "links",
    "logging",
    "mem_limit",
    "models",
    "name",
    "network_mode",
    "networks",
    "oom_score_adj",
    "pid",
    "pids_limit",
    "platform",
    "ports",
    "post_start",
    "pre_start",
    "privileged",
    "profiles",
    "provider",
    "pull_policy",
    "restart",
    "scale",
    "secrets",
    "security_opt",
    "shm_size",
    "stop_grace_period",
    "storage_opt",
    "sysctls",
    "tmpfs",
    "tty",
    "ulimits",
    "user",
    "volumes",
    "volumes_from",
    "working_dir",
];

const VALUES: &[&str] = &[
    "",
    "null",
    "true",
    "-1",
    "0",
    "99999999999999999999",
    "1.5",
    ".nan",
    ".inf",
    "''",
    "x",
    "'*'",
    "':'",
    "'a:b:c:d:e'",
    "'/'",
    "'../..'",
    "[]",
    "[null]",
    "[x]",
    "[x, x]",
    "[1]",
    "['']",
    "[':']",
    "['=']",
    "['a=b', 'a']",
    "[{}]",
    "[[]]",
    "[{source: x}]",
    "[{target: x}]",
    "[{type: bind}]",
    "[{type: bind, source: '', target: ''}]",
    "[{type: volume, target: /x}]",
    "[{path: x}]",
    "[{command: x}]",
    "{}",
    "{a: }",
    "{a: b}",
    "{a: 1}",
    "{a: [b]}",
    "{a: {}}",
    "{a: {b: c}}",
    "{name: x}",
    "{test: []}",
    "{test: ['']}",
    "{config: [{}]}",
    "{config: [{subnet: x, gateway: y}]}",
    "{resources: {limits: {cpus: x}}}",
    "{resources: {limits: {cpus: -1, memory: -5}}}",
    "{context: x, args: [a], ssh: [default]}",
    "{size: x}",
    "{device: x, o: bind}",
    "1e400",
    "9223372036854775807",
    "9999999999h",
    "!!binary x",
];

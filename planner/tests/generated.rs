//! Stacks put together at random from everything that may be written: each is
//! accepted, and its canonical output is a file of the same stack.

mod support;

use std::fmt::Write;

use proptest::prelude::*;
use stack_planner::{LoadOptions, MemorySource, load};

/// An attribute of a service and the values it may have, in flow style. All of them
/// fit together and refer to `n1`, `v1`, `c1`, `s1`, which are always defined.
const ATTRIBUTES: &[(&str, &[&str])] = &[
    ("annotations", &["{a: b}", "[a=b]", "{a: 1.50}"]),
    ("attach", &["true", "false", "'yes'"]),
    ("blkio_config", &["{weight: 300}"]),
    ("cap_add", &["[ALL]", "[NET_ADMIN, SYS_TIME]"]),
    ("cap_drop", &["[ALL]"]),
    (
        "command",
        &[
            "null",
            "''",
            "[]",
            "sleep 1",
            "[a, 'b c', '$$x']",
            "\"a 'b c' \\\"d\\\"\"",
            "a $${B} c",
        ],
    ),
    (
        "configs",
        &["[c1]", "[{source: c1, target: /c, mode: 0440, uid: '1'}]"],
    ),
    ("cpu_shares", &["512", "'512'"]),
    ("cpus", &["0.5", "'1.5'", "2"]),
    (
        "deploy",
        &[
            "{replicas: 2}",
            "{resources: {reservations: {cpus: 0.1}}}",
            "{restart_policy: {condition: on-failure, delay: 5s}}",
            "{labels: [a=b]}",
        ],
    ),
    (
        "develop",
        &["{watch: [{path: ., action: sync, target: /x, ignore: a}]}"],
    ),
    ("devices", &["[/dev/fuse]", "['/dev/a:/dev/b:r']"]),
    ("dns", &["1.1.1.1", "[1.1.1.1, 8.8.8.8]"]),
    ("dns_search", &["a.b", "[a.b]"]),
    ("domainname", &["d.e"]),
    ("entrypoint", &["null", "[]", "sh -c", "[sh, -c]"]),
    (
        "environment",
        &[
            "{A: b, B: , C: 1, D: 1.0, E: true}",
            "[A=b, C=1]",
            "{A: '$$HOME'}",
            "{A: \"x\\ny: #z\"}",
            "{A: '0x10', B: 'null', C: '~', D: 'yes', E: '1e3'}",
        ],
    ),
    ("expose", &["[80, '81-83']"]),
    (
        "extra_hosts",
        &[
            "['a:1.2.3.4']",
            "{a: 1.2.3.4}",
            "['a=::1', 'b=host-gateway']",
        ],
    ),
    ("gpus", &["all", "[{count: 1}]"]),
    ("group_add", &["[a, 5]"]),
    (
        "healthcheck",
        &[
            "{test: x y, interval: 1m30s, retries: 3}",
            "{disable: true}",
            "{test: [CMD, a], start_period: 0s}",
            "{test: [NONE]}",
        ],
    ),
    ("hostname", &["h"]),
    (
        "image",
        &[
            "i",
            "a/b:1@sha256:0000000000000000000000000000000000000000000000000000000000000000",
            "'1'",
        ],
    ),
    ("init", &["true", "false"]),
    (
        "labels",
        &["{a: b, c: , d: 1}", "[a=b, c]", "{'a.b/c': '{\"x\": 1}'}"],
    ),
    ("logging", &["{driver: local, options: {max-size: 1m}}"]),
    ("mac_address", &["'02:42:ac:11:65:43'"]),
    ("mem_limit", &["512m", "1g", "1000000"]),
    (
        "networks",
        &[
            "[n1]",
            "{n1: , default: {aliases: [a], priority: 1}}",
            "{n1: {ipv4_address: 10.5.0.9}}",
        ],
    ),
    ("oom_score_adj", &["-500"]),
    ("platform", &["linux/amd64"]),
    (
        "ports",
        &[
            "[80]",
            "['8080:80/udp', '127.0.0.1:9000-9002:90-92']",
            "[{target: 80, published: '8000-8010', mode: host, name: web}]",
        ],
    ),
    ("privileged", &["true", "'no'"]),
    ("profiles", &["[p, q]"]),
    ("pull_policy", &["always", "if_not_present", "daily"]),
    ("read_only", &["true"]),
    ("restart", &["always", "'no'", "on-failure:3"]),
    ("secrets", &["[s1]", "[{source: s1, target: t}]"]),
    ("security_opt", &["['no-new-privileges:true']"]),
    ("shm_size", &["64m"]),
    ("stop_grace_period", &["1m", "90s", "1h1m1s", "0.5s"]),
    ("stop_signal", &["SIGINT"]),
    ("sysctls", &["{net.core.somaxconn: 1024}", "[a.b=0]"]),
    ("tmpfs", &["/t", "['/t:size=1m', /u]"]),
    ("tty", &["true", "on"]),
    ("ulimits", &["{nofile: 5, nproc: {soft: 1, hard: 2}}"]),
    ("user", &["'1000:1000'", "root"]),
    (
        "volumes",
        &[
            "['v1:/v']",
            "['./a:/a:ro', '~/b:/b', /c]",
            "[{type: tmpfs, target: /d, tmpfs: {size: 1m}}]",
            "[{type: volume, source: v1, target: /v, volume: {nocopy: true, subpath: s}}]",
        ],
    ),
    ("working_dir", &["/w"]),
    ("x-own", &["{b: 1, a: [true, null, 1.5, '$$x']}", "~"]),
];

/// Sections at the top, each in several forms.
const TOP: &[&[&str]] = &[
    &[
        "networks: {n1: }",
        "networks: {n1: {driver: bridge, labels: [a=b], ipam: {config: [{subnet: 10.5.0.0/16, gateway: 10.5.0.1}]}}}",
        "networks: {n1: {external: true, name: other}}",
        "networks: {n1: {internal: true, enable_ipv6: false}}",
    ],
    &[
        "volumes: {v1: }",
        "volumes: {v1: {driver: local, driver_opts: {size: 10, o: bind}, labels: {a: 1}}}",
        "volumes: {v1: {external: true}}",
    ],
    &[
        "configs: {c1: {content: \"a\\n$$b: c\\n\"}}",
        "configs: {c1: {file: ./c}}",
        "configs: {c1: {environment: HOME}}",
    ],
    &[
        "secrets: {s1: {file: /s}}",
        "secrets: {s1: {environment: HOME, labels: {a: b}}}",
    ],
    &["x-top: {b: 1, a: '$$y'}", "x-top: [1, 2]"],
];

type Chosen = Vec<(&'static str, &'static str)>;

fn service() -> impl Strategy<Value = Chosen> {
    let one = (0..ATTRIBUTES.len(), any::<prop::sample::Index>());
    prop::collection::vec(one, 0..12).prop_map(|chosen| {
        let mut all: Chosen = vec![("image", "i")];
        for (attribute, value) in chosen {
            let (name, values) = ATTRIBUTES[attribute];
            all.retain(|(other, _)| *other != name);
            all.push((name, values[value.index(values.len())]));
        }
        all
    })
}

fn stack() -> impl Strategy<Value = String> {
    let services = prop::collection::vec(service(), 1..4);
    let top = prop::collection::vec(any::<prop::sample::Index>(), TOP.len());
    (services, top).prop_map(|(services, top)| {
        let mut text = String::from("name: made\nservices:\n");
        for (i, attributes) in services.iter().enumerate() {
            // Writing to a string does not fail.
            _ = writeln!(text, "  s{i}:");
            for (name, value) in attributes {
                _ = writeln!(text, "    {name}: {value}");
            }
            // A profile may disable what it depends on.
            if i > 0 {
                _ = writeln!(
                    text,
                    "    depends_on: {{s0: {{condition: service_healthy, required: false}}}}"
                );
            }
        }
        for (forms, form) in TOP.iter().zip(top) {
            _ = writeln!(text, "{}", forms[form.index(forms.len())]);
        }
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn output_is_read_again(text in stack()) {
        let source = MemorySource::new().with("/app/compose.yaml", text.clone());
        let mut options = LoadOptions::new(vec!["/app/compose.yaml".into()], "/app".into());
        options.environment.insert("HOME".to_owned(), "/home/u".to_owned());
        options.profiles = vec!["*".to_owned()];
        let loaded = load(&source, &options);
        let Some(project) = &loaded.project else {
            return Err(TestCaseError::fail(format!("{text}\n{:#?}", loaded.diagnostics)));
        };
        prop_assert_eq!(support::reads_again(project, true), Ok(()), "from\n{}", text);
    }
}

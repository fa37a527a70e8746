//! The JSON Schema and the loader agree.

use jsonschema::Validator;

use super::json_schema;
use crate::budget::Budget;
use crate::diagnostic::Report;
use crate::yaml::{self, emit};
use crate::{LoadOptions, MemorySource, load};

fn validator() -> Validator {
    jsonschema::draft7::new(&json_schema()).unwrap()
}

/// The documents of a file as an editor sees them: nothing replaced.
fn documents(text: &str) -> Vec<serde_json::Value> {
    let nodes = yaml::parse(text, 0, &mut Budget::default(), &mut Report::default());
    nodes
        .iter()
        .flatten()
        .map(|node| emit::to_json(node, false))
        .collect()
}

fn loads(text: &str) -> bool {
    let source = MemorySource::new().with("/p/stack.yaml", text);
    let mut options = LoadOptions::new(vec!["/p/stack.yaml".into()], "/p".into());
    options.environment.insert("V".to_owned(), "1".to_owned());
    !load(&source, &options).has_errors()
}

const TOP: &[(bool, &str)] = &[
    (true, "services: {a: {image: i}}"),
    (
        true,
        "name: p\nx-mine: {anything: [1]}\nservices: {a: {image: i, x-mine: 1}}",
    ),
    (false, "services: [a]"),
    (false, "service: {a: {image: i}}"),
    (false, "services: {\"a b\": {image: i}}"),
    (false, "services: {a: {image: i}}\nnetworks: [n]"),
    (
        true,
        "services: {a: {image: i, networks: [n]}}\nnetworks: {n: }",
    ),
    (
        true,
        "services: {a: {image: i, networks: [n]}}\nnetworks: {n: {internal: \"true\", driver: bridge}}",
    ),
    (
        false,
        "services: {a: {image: i}}\nnetworks: {n: {internl: true}}",
    ),
    (
        true,
        "services: {a: {image: i, volumes: [\"v:/v\"]}}\nvolumes: {v: {driver_opts: {size: 1g}}}",
    ),
    (
        false,
        "services: {a: {image: i}}\nvolumes: {v: {driver_opts: {size: [1]}}}",
    ),
    (
        true,
        "services: {a: {image: i, secrets: [s]}}\nsecrets: {s: {environment: V}}",
    ),
    (false, "services: {a: {image: i}}\nsecrets: {s: }"),
    (
        false,
        "services: {a: {image: i}}\nconfigs: {c: {content: 1}}",
    ),
    (
        true,
        "x-stack: {machine: {vcpus: 2, memory: 1g}, lint: {allow: [L0001]}}\nservices: {a: {image: i}}",
    ),
    (false, "x-stack: {machin: {}}\nservices: {a: {image: i}}"),
    (
        false,
        "x-stack: {lint: {allow: L0001}}\nservices: {a: {image: i}}",
    ),
    (false, "services: {a: {image: i}}\nname: 7"),
];

/// Attributes of one service.
const SERVICE: &[(bool, &str)] = &[
    (true, "cpus: 1.5"),
    (true, "cpus: \"1.5\""),
    (true, "cpus: ${V}"),
    (false, "cpus: lots"),
    (false, "cpus: [1]"),
    (true, "mem_limit: 512m"),
    (true, "mem_limit: 1024"),
    (false, "mem_limit: much"),
    (false, "mem_limit: true"),
    (true, "privileged: false"),
    (true, "privileged: \"true\""),
    (false, "privileged: 1"),
    (false, "privileged: maybe"),
    (
        true,
        "ports: [80, \"8080:80\", {target: 80, published: \"81\"}]",
    ),
    (false, "ports: 80"),
    (false, "ports: [{targt: 80}]"),
    (false, "ports: [true]"),
    (true, "command: [a, b]"),
    (true, "command: a b"),
    (true, "command:"),
    (false, "command: [1]"),
    (false, "command: {a: b}"),
    (true, "environment: {A: 1, B: true, C: , D: x}"),
    (true, "environment: [A=1, B]"),
    (false, "environment: {A: [1]}"),
    (true, "environment: [A=1, A=1]"),
    (false, "environment: A=1"),
    (
        true,
        "healthcheck: {test: [CMD, x], interval: 5s, retries: 3}",
    ),
    (true, "healthcheck: {test: x, timeout: 1m30s}"),
    (false, "healthcheck: {test: x, interval: soon}"),
    (false, "healthcheck: {tests: x}"),
    (false, "healthcheck: {retries: many}"),
    (true, "restart: always"),
    (false, "restart: {policy: always}"),
    (false, "restart: true"),
    (true, "ulimits: {nofile: 10, nproc: {soft: 1, hard: 2}}"),
    (false, "ulimits: {nproc: {soft: 1}}"),
    (
        true,
        "deploy: {replicas: 2, resources: {limits: {memory: 1g, cpus: \"0.5\"}}}",
    ),
    (false, "deploy: {replicas: two}"),
    (false, "deploy: {resources: {limits: {memory: 5}}}"),
    (false, "deploy: {update_config: {order: at-once}}"),
    (true, "oom_score_adj: 5"),
    (false, "oom_score_adj: 2000"),
    (true, "pull_policy: every_12h"),
    (false, "pull_policy: sometimes"),
    (
        true,
        "volumes: [\"./a:/b\", {type: tmpfs, target: /c, tmpfs: {size: 1m}}]",
    ),
    (false, "volumes: [{target: /c}]"),
    (false, "volumes: [{type: disk, target: /c}]"),
    (true, "dns: 1.1.1.1"),
    (true, "dns: [1.1.1.1]"),
    (false, "dns: 1"),
    (true, "extra_hosts: [\"a:1.1.1.1\"]"),
    (true, "extra_hosts: {a: [1.1.1.1]}"),
    (false, "extra_hosts: {a: 1}"),
    (true, "logging: {driver: none, options: {a: 1, b: }}"),
    (false, "logging: {options: {a: true}}"),
    (true, "expose: [80, \"81\"]"),
    (false, "expose: [true]"),
    (true, "stop_grace_period: 1m"),
    (false, "stop_grace_period: 10"),
    (true, "tmpfs: /a"),
    (true, "tmpfs: [/a, /a]"),
    (false, "security_opt: [a, a]"),
    (true, "init: true"),
    (true, "cap_add: [NET_ADMIN]"),
    (false, "cap_add: NET_ADMIN"),
    (true, "labels: {a: b}"),
    (false, "imag: x"),
    (true, "sysctls: {net.core.somaxconn: 1024}"),
    (false, "depends_on: {b: {condition: ready}}"),
    (true, "scale: \"2\""),
    (false, "scale: 1.5"),
    (true, "pid:"),
    (true, "develop:"),
    (false, "hostname:"),
    (true, "x-stack: {machine: {kernel: ./k}}"),
    (false, "x-stack: {machine: {vcpus: 0}}"),
];

#[test]
fn the_schema_and_the_loader_agree() {
    let validator = validator();
    let files = TOP.iter().map(|(good, text)| (*good, (*text).to_owned()));
    let services = SERVICE.iter().map(|(good, text)| {
        (
            *good,
            format!("services:\n  a:\n    image: i\n    {text}\n"),
        )
    });
    let mut wrong = Vec::new();
    for (good, text) in files.chain(services) {
        let by_schema = documents(&text)
            .iter()
            .all(|document| validator.is_valid(document));
        let by_loader = loads(&text);
        if (by_schema, by_loader) != (good, good) {
            wrong.push(format!(
                "{text:?}: schema {by_schema}, loader {by_loader}, wanted {good}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_examples_are_valid() {
    let validator = validator();
    let examples = [
        include_str!("../../../../examples/hello/stack.yaml"),
        include_str!("../../../../examples/guestbook/stack.yaml"),
    ];
    for text in examples {
        for document in documents(text) {
            let errors: Vec<_> = validator
                .iter_errors(&document)
                .map(|e| e.to_string())
                .collect();
            assert!(errors.is_empty(), "{errors:?}");
        }
    }
}

/// What Docker Compose accepts is not underlined. `STACK_CONFORMANCE` is a
/// folder of cases, each with `in/compose.yaml` and `expected.json`.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test reads its cases")]
fn accepted_cases_are_valid() {
    let Ok(folder) = std::env::var("STACK_CONFORMANCE") else {
        return;
    };
    let validator = validator();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for case in crate::test_cases::accepted(std::path::Path::new(&folder)) {
        // An editor cannot know what the tags of merging do.
        if case.text.contains("!reset") {
            continue;
        }
        seen += 1;
        for document in documents(&case.text) {
            for error in validator.iter_errors(&document) {
                wrong.push(format!(
                    "{}: {} at {}",
                    case.name,
                    error,
                    error.instance_path()
                ));
            }
        }
    }
    assert!(seen > 100, "no cases in {folder}");
    assert!(wrong.is_empty(), "{} of {seen}: {wrong:#?}", wrong.len());
}

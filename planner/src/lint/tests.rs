//! Each lint finds its mistake, and its example is free of it.

use std::collections::BTreeSet;

use super::{Lint, all, lint};
use crate::{LoadOptions, MemorySource, load};

fn lints_allowing(text: &str, allow: &[&str]) -> Vec<Lint> {
    let source = MemorySource::new()
        .with("/p/stack.yaml", text)
        .with("/p/db_password.txt", "x")
        .with("/p/app/.env", "A=1\n");
    let mut options = LoadOptions::new(vec!["/p/stack.yaml".into()], "/p".into());
    options.profiles = vec!["*".to_owned()];
    (options.prune, options.resolve_environment) = (false, false);
    let loaded = load(&source, &options);
    let project = loaded
        .project
        .unwrap_or_else(|| panic!("{text}: {:?}", loaded.diagnostics));
    let allow: BTreeSet<String> = allow.iter().map(|code| (*code).to_owned()).collect();
    lint(&project, &allow)
}

fn codes(text: &str) -> Vec<&'static str> {
    lints_allowing(text, &[])
        .iter()
        .map(|lint| lint.diagnostic.code)
        .collect()
}

/// What each code finds; the second text is the place it points at.
const FINDS: &[(&str, &str, &str)] = &[
    ("L0001", "services: {a: {image: nginx}}", "nginx"),
    (
        "L0001",
        "services: {a: {image: \"r:5000/nginx:latest\"}}",
        "\"r:5000/nginx:latest\"",
    ),
    (
        "L0002",
        "services: {a: {image: \"x:1\", ports: [\"5432:5432\"]}}",
        "\"5432:5432\"",
    ),
    (
        "L0003",
        "services:\n  a: {image: \"x:1\", depends_on: [b]}\n  b: {image: \"x:1\", healthcheck: {test: x}}",
        "b",
    ),
    (
        "L0004",
        "services:\n  a: {image: \"x:1\", depends_on: [b]}\n  b: {image: \"redis:7\"}",
        "b",
    ),
    (
        "L0005",
        "services: {a: {image: \"x:1\", environment: {DB_PASSWORD: hunter2}}}",
        "DB_PASSWORD",
    ),
    (
        "L0005",
        "services: {a: {image: \"x:1\", environment: [\"URL=pg://u:p@h/d\"]}}",
        "\"URL=pg://u:p@h/d\"",
    ),
    (
        "L0006",
        "services: {a: {image: \"x:1\", privileged: true}}",
        "privileged",
    ),
    (
        "L0007",
        "services: {a: {image: \"x:1\", volumes: [\"/var/run/docker.sock:/s\"]}}",
        "\"/var/run/docker.sock:/s\"",
    ),
    (
        "L0008",
        "services: {a: {image: \"x:1\", volumes: [\"/home/me:/h:ro\"]}}",
        "\"/home/me:/h:ro\"",
    ),
    (
        "L0009",
        "services:\n  a: {image: \"x:1\", ports: [\"80:80\"]}\n  b: {image: \"x:1\", profiles: [p], ports: [\"127.0.0.1:80:81\"]}",
        "\"80:80\"",
    ),
    (
        "L0010",
        "services: {a: {image: \"x:1\"}}\nvolumes: {data: }",
        "data",
    ),
    (
        "L0011",
        "services:\n  a: {image: \"x:1\", depends_on: [b], networks: [n]}\n  b: {image: \"x:1\", networks: [m]}\nnetworks: {n: , m: }",
        "b",
    ),
    (
        "L0012",
        "version: \"3\"\nservices: {a: {image: \"x:1\"}}",
        "version",
    ),
    (
        "L0013",
        "services: {a: {image: \"x:1\", container_name: n, deploy: {replicas: 1}}}",
        "container_name",
    ),
    (
        "L0014",
        "services: {a: {image: \"mysql:8\", volumes: [\"data:/var/lib/mysql\"]}}\nvolumes: {data: }",
        "a",
    ),
    (
        "L0015",
        "services: {a: {image: \"mysql:8\", restart: always}}",
        "a",
    ),
    (
        "L0015",
        "services: {a: {image: \"mysql:8\", volumes: [/var/lib/mysql]}}",
        "/var/lib/mysql",
    ),
    (
        "L0016",
        "services: {a: {image: \"x:1\", build: ./app, env_file: ./app/.env}}",
        "./app/.env",
    ),
    (
        "L0017",
        "services: {a: {image: \"x:1\", ports: [22:22]}}",
        "22:22",
    ),
    (
        "L0018",
        "services: {a: {image: \"x:1\", scale: 2, ports: [\"80:80\"]}}",
        "\"80:80\"",
    ),
    (
        "L0019",
        "services:\n  a: {image: \"x:1\", depends_on: {b: {condition: service_completed_successfully}}}\n  b: {image: \"x:1\", restart: always}",
        "always",
    ),
];

#[test]
fn every_mistake_is_found_at_its_place() {
    for (code, text, place) in FINDS {
        let found = lints_allowing(text, &[]);
        let [lint] = found.as_slice() else {
            panic!("{code} in {text}: {found:#?}")
        };
        assert_eq!(lint.diagnostic.code, *code, "{text}");
        let span = lint.diagnostic.labels[0].span.clone();
        assert_eq!(&text[span], *place, "{code}");
    }
    let found: BTreeSet<&str> = FINDS.iter().map(|(code, _, _)| *code).collect();
    let known: BTreeSet<&str> = all().iter().map(|about| about.code).collect();
    assert_eq!(found, known, "each code has a case here");
}

#[test]
fn examples_do_it_better() {
    for about in all() {
        if about.example.starts_with("services") {
            let text = format!("name: p\n{}", complete(about.example));
            assert!(!codes(&text).contains(&about.code), "{}", about.code);
        }
        assert!(
            about
                .markdown()
                .lines()
                .all(|line| line.chars().count() <= 90)
        );
        assert!(
            about.why.ends_with('.') && !about.title.ends_with('.'),
            "{}",
            about.code
        );
    }
}

/// Services that an example only names.
fn complete(example: &str) -> String {
    let mut text = example.to_owned();
    if example.contains("      db:\n") {
        text.push_str("  db: {image: \"postgres:17\", healthcheck: {test: x}}\n");
    }
    text
}

#[test]
fn what_is_right_is_left_alone() {
    for text in [
        "services: {a: {image: \"x@sha256:0123456789012345678901234567890123456789012345678901234567890123\"}}",
        "services: {a: {image: app, build: .}}",
        "services: {a: {image: \"postgres:17\", restart: always, tmpfs: /var/lib/postgresql/data, ports: [\"127.0.0.1:5432:5432\"]}}",
        "services: {a: {image: \"x:1\", environment: {DB_PASSWORD: \"${PW:-x}\", TOKEN: , KEY_FILE: /a}}}",
        "services:\n  a: {image: \"x:1\", ports: [\"127.0.0.1:80:80\"]}\n  b: {image: \"x:1\", ports: [\"127.0.0.2:80:80\", \"80:80/udp\"]}",
        "services:\n  a: {image: \"x:1\", network_mode: \"service:b\"}\n  b: {image: \"x:1\"}",
        "services:\n  a: {image: \"x:1\", depends_on: [b], network_mode: bridge}\n  b: {image: \"x:1\", network_mode: bridge}",
        "services: {a: {image: \"x:1\", ports: [80:80, \"22:22\", 22]}}",
    ] {
        assert_eq!(codes(text), Vec::<&str>::new(), "{text}");
    }
}

#[test]
fn findings_can_be_silenced() {
    let plain = "services:\n  a:\n    image: nginx\n    privileged: true\n";
    assert_eq!(codes(plain), ["L0001", "L0006"]);
    for text in [
        "services:\n  a:\n    image: nginx # stack-lint: allow(L0001)\n    privileged: true\n",
        "services:\n  a:\n    # stack-lint: allow(L0001, L0009)\n    # and this is why\n    image: nginx\n    privileged: true\n",
        "x-stack: {lint: {allow: [L0001]}}\nservices:\n  a:\n    image: nginx\n    privileged: true\n",
    ] {
        assert_eq!(codes(text), ["L0006"], "{text}");
    }
    let of_one = "services:\n  a:\n    image: nginx\n    x-stack: {lint: {allow: [L0001]}}\n  b:\n    image: nginx\n";
    let found = lints_allowing(of_one, &[]);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].diagnostic.message.contains("`b`"));
    assert_eq!(lints_allowing(plain, &["L0001", "L0006"]), []);
    let elsewhere =
        "services:\n  a:\n    privileged: true # stack-lint: allow(L0001)\n    image: nginx\n";
    assert_eq!(codes(elsewhere), ["L0006", "L0001"]);
}

#[test]
fn a_fix_puts_quotes() {
    let text = "services:\n  a:\n    image: \"x:1\"\n    ports:\n      - 22:22\n";
    let found = lints_allowing(text, &[]);
    let fix = found[0].fix.as_ref().unwrap();
    let mut fixed = text.to_owned();
    fixed.replace_range(fix.range.clone(), &fix.text);
    assert!(fixed.contains("- \"22:22\"\n"), "{fixed}");
    assert_eq!(codes(&fixed), Vec::<&str>::new());
}

#[test]
fn the_document_lists_all_codes() {
    let text = include_str!("../../../docs/tools.md");
    assert!(
        text.contains(&super::table()),
        "docs/tools.md must hold this table:\n{}",
        super::table()
    );
}

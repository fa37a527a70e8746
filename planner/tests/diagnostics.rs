//! Every finding has a code and points at the text that is to blame.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::PathBuf;

use stack_planner::diagnostic::codes;
use stack_planner::{Diagnostic, LoadOptions, Loaded, MemorySource, load};

/// Loads `/app/compose.yaml` with more files beside it.
fn loaded(text: &str, more: &[(&str, &str)]) -> Loaded {
    let mut source = MemorySource::new().with("/app/compose.yaml", text);
    for (path, text) in more {
        source = source.with(format!("/app/{path}"), *text);
    }
    load(
        &source,
        &LoadOptions::new(
            vec![PathBuf::from("/app/compose.yaml")],
            PathBuf::from("/app"),
        ),
    )
}

/// Findings of loading and, when there is a project, of making its spec.
fn findings(loaded: &Loaded) -> Vec<Diagnostic> {
    let mut all = loaded.diagnostics.clone();
    if let Some(project) = &loaded.project {
        all.extend(project.spec().err().unwrap_or_default());
    }
    all
}

/// The text under the first label.
fn marked<'a>(loaded: &'a Loaded, found: &Diagnostic) -> &'a str {
    let Some(label) = found.labels.first() else {
        return "";
    };
    &loaded.source_text(&label.file).unwrap()[label.span.clone()]
}

/// Code, main file, files beside it, the text under the first label.
type Case = (
    &'static str,
    String,
    &'static [(&'static str, &'static str)],
    &'static str,
);

#[test]
fn every_code_and_its_place() {
    let service = |rest: &str| format!("services: {{a: {{image: i, {rest}}}}}\n");
    let cases: Vec<Case> = vec![
        (codes::SYNTAX, "services:\n  a: [1\n".into(), &[], ""),
        (
            codes::DUPLICATE_KEY,
            "services: {a: {image: i, image: j}}".into(),
            &[],
            "image",
        ),
        (
            codes::KEY_NOT_TEXT,
            "services: {12: {image: i}}".into(),
            &[],
            "12",
        ),
        (
            codes::BAD_MERGE_KEY,
            "x: &a 1\nservices: {a: {<<: *a}}".into(),
            &[],
            "<<",
        ),
        (
            codes::ALIAS_CYCLE,
            "x-a: &a\n  b:\n    <<: *a\n".into(),
            &[],
            "*a",
        ),
        (codes::NOT_A_STACK, "[1, 2]".into(), &[], "["),
        (codes::NOT_A_STACK, "# nothing\n".into(), &[], ""),
        (
            codes::BAD_TAG,
            "services: {a: {image: !!int i}}".into(),
            &[],
            "i",
        ),
        (codes::BAD_TEMPLATE, service("user: 'x-${ }'"), &[], "${ }"),
        (
            codes::REQUIRED_VARIABLE,
            service("user: '${NOPE:?say who}'"),
            &[],
            "NOPE",
        ),
        (codes::BAD_CAST, service("tty: maybe"), &[], "maybe"),
        (
            codes::ENV_FILE,
            service("env_file: none.env"),
            &[],
            "none.env",
        ),
        (
            codes::DOTENV,
            service("env_file: e.env"),
            &[("e.env", "A=1\nb c=d\n")],
            "b c=d",
        ),
        (
            codes::UNSET_VARIABLE,
            service("user: 'x$NOPE'"),
            &[],
            "NOPE",
        ),
        (codes::OLD_BOOLEAN, service("tty: 'yes'"), &[], "'yes'"),
        (
            codes::INCLUDE,
            "include: [none.yaml]".into(),
            &[],
            "none.yaml",
        ),
        (
            codes::INCLUDE_CYCLE,
            "include: [b.yaml]".into(),
            &[("b.yaml", "include: [compose.yaml]")],
            "compose.yaml",
        ),
        (
            codes::EXTENDS,
            "services: {web: {extends: bse}, base: {image: i}}".into(),
            &[],
            "bse",
        ),
        (
            codes::EXTENDS,
            "services: {web: {extends: {file: no.yaml, service: b}}}".into(),
            &[],
            "no.yaml",
        ),
        (
            codes::EXTENDS_CYCLE,
            "services: {a: {extends: b}, b: {extends: a}}".into(),
            &[],
            "b",
        ),
        (
            codes::CANNOT_MERGE,
            "services: {a: {image: i, cap_add: [KILL]}}\n---\nservices: {a: {cap_add: {}}}".into(),
            &[],
            "cap_add",
        ),
        (codes::UNKNOWN_KEY, service("prots: []"), &[], "prots"),
        (
            codes::WRONG_TYPE,
            "services: {a: {image: [i]}}".into(),
            &[],
            "image",
        ),
        (codes::WRONG_TYPE, service("ports: {a: b}"), &[], "ports"),
        (
            codes::MISSING_KEY,
            service("ulimits: {nofile: {soft: 1}}"),
            &[],
            "nofile",
        ),
        (
            codes::MISSING_KEY,
            "services: {a: {image: i, secrets: [s]}}\nsecrets: {s: {name: n}}".into(),
            &[],
            "s",
        ),
        (codes::NOT_ALLOWED, service("cgroup: hots"), &[], "hots"),
        (
            codes::BAD_NAME,
            "services: {'a b': {image: i}}".into(),
            &[],
            "'a b'",
        ),
        (codes::NOT_UNIQUE, service("security_opt: [a, a]"), &[], "a"),
        (
            codes::MISPLACED,
            "services: {a: }\nimage: i".into(),
            &[],
            "image",
        ),
        (
            codes::PORT_TWICE,
            "services: {a: {image: i, ports: ['1:2']}, b: {image: i, ports: ['1:2']}}".into(),
            &[],
            "'1:2'",
        ),
        (
            codes::FOREIGN_PLATFORM,
            service("platform: linux/s390x"),
            &[],
            "platform",
        ),
        (
            codes::SWALLOWED_LINE,
            "services:\n  a:\n    image: i\n    command:\n    - a\n      - b\n".into(),
            &[],
            "- b",
        ),
        (
            codes::OBSOLETE_VERSION,
            "version: '3'\nservices: {a: {image: i}}".into(),
            &[],
            "version",
        ),
        (
            codes::EXTERNAL_NAME,
            "services: {a: {image: i}}\nvolumes: {v: {external: {name: w}}}".into(),
            &[],
            "name",
        ),
        (
            codes::BAD_PORT,
            service("ports: ['80:99999']"),
            &[],
            "'80:99999'",
        ),
        (codes::BAD_VOLUME, service("volumes: [':/x']"), &[], "':/x'"),
        (codes::BAD_QUANTITY, service("mem_limit: lots"), &[], "lots"),
        (
            codes::BAD_QUANTITY,
            service("stop_grace_period: 5x"),
            &[],
            "5x",
        ),
        (
            codes::BAD_HOST,
            service("extra_hosts: [nowhere]"),
            &[],
            "nowhere",
        ),
        (
            codes::BAD_HOST,
            service("ports: [{target: 80, host_ip: here}]"),
            &[],
            "here",
        ),
        (
            codes::BAD_COMMAND,
            service("command: \"echo 'a\""),
            &[],
            "\"echo 'a\"",
        ),
        (
            codes::CUT_COMMAND,
            service("command: a && b"),
            &[],
            "a && b",
        ),
        (
            codes::CONFLICT,
            service("network_mode: none, networks: [default]"),
            &[],
            "network_mode",
        ),
        (
            codes::BAD_PAIR,
            "services: {a: {build: {ssh: [k]}}}".into(),
            &[],
            "k",
        ),
        (
            codes::UNDEFINED_SERVICE,
            service("depends_on: [b]"),
            &[],
            "b",
        ),
        (
            codes::UNDEFINED_RESOURCE,
            service("networks: [font]"),
            &[],
            "font",
        ),
        (
            codes::UNDEFINED_RESOURCE,
            service("volumes: ['data:/x']"),
            &[],
            "'data:/x'",
        ),
        (
            codes::DEPENDENCY_CYCLE,
            "services: {a: {image: i, depends_on: [b]}, b: {image: i, depends_on: [a]}}".into(),
            &[],
            "b",
        ),
        (codes::NO_IMAGE, "services: {a: {user: u}}".into(), &[], "a"),
        (
            codes::DUPLICATE_MOUNT,
            service("tmpfs: [/x], volumes: [/x]"),
            &[],
            "/x",
        ),
        (
            codes::INCONSISTENT,
            service("scale: 2, deploy: {replicas: 3}"),
            &[],
            "2",
        ),
        (
            codes::UNSUPPORTED,
            service("network_mode: host"),
            &[],
            "network_mode",
        ),
        (
            codes::UNUSABLE_VALUE,
            service("restart: sometimes"),
            &[],
            "sometimes",
        ),
        (codes::IGNORED, service("runtime: runc"), &[], "runtime"),
    ];
    for (code, text, more, wanted) in cases {
        let loaded = loaded(&text, more);
        let found = findings(&loaded);
        let Some(finding) = found.iter().find(|finding| finding.code == code) else {
            panic!("{code} is not among {found:#?} for {text}")
        };
        if code == codes::SYNTAX {
            assert!(!finding.labels.is_empty(), "{text}");
        } else {
            assert_eq!(marked(&loaded, finding), wanted, "{code}: {text}");
        }
        assert_eq!(finding.is_error(), code.starts_with('E'));
        assert!(!finding.message.ends_with('.'), "{}", finding.message);
    }
}

#[test]
fn files_that_cannot_be_read() {
    let options = LoadOptions::new(vec![PathBuf::from("/none.yaml")], PathBuf::from("/"));
    let found = load(&MemorySource::new(), &options).diagnostics;
    assert_eq!(found[0].code, codes::UNREADABLE);
    assert!(found[0].message.contains("/none.yaml"));

    let source = MemorySource::new().with("/app/compose.yaml", vec![b'a', 0xff]);
    let found = load(
        &source,
        &LoadOptions::new(vec!["/app/compose.yaml".into()], "/app".into()),
    )
    .diagnostics;
    assert!(found[0].message.contains("not UTF-8"), "{found:?}");

    let found = load(
        &MemorySource::new(),
        &LoadOptions::new(Vec::new(), "/app".into()),
    )
    .diagnostics;
    assert_eq!(found[0].code, codes::UNREADABLE);
}

#[test]
fn names_of_projects() {
    let source = MemorySource::new().with("/---/compose.yaml", "services: {a: {image: i}}");
    let mut options = LoadOptions::new(vec!["/---/compose.yaml".into()], "/".into());
    assert_eq!(
        load(&source, &options).diagnostics[0].code,
        codes::PROJECT_NAME
    );
    options.project_name = Some("Bad Name".into());
    assert_eq!(
        load(&source, &options).diagnostics[0].code,
        codes::PROJECT_NAME
    );
    options.project_name = Some("good-1".into());
    assert_eq!(load(&source, &options).project.unwrap().name(), "good-1");
}

#[test]
fn all_problems_at_once_in_the_order_of_lines() {
    let text =
        "services:\n  a:\n    imgae: x\n    ports: ['x']\n  b:\n    image: [1]\n    tty: perhaps\n";
    let loaded = loaded(text, &[]);
    let found: Vec<_> = loaded
        .diagnostics
        .iter()
        .map(|found| (found.code, marked(&loaded, found)))
        .collect();
    let wanted = [
        (codes::UNKNOWN_KEY, "imgae"),
        (codes::BAD_PORT, "'x'"),
        (codes::WRONG_TYPE, "image"),
        (codes::BAD_CAST, "perhaps"),
    ];
    assert_eq!(found, wanted);
    assert!(loaded.project.is_none());
}

#[test]
fn suggestions() {
    let cases = [
        ("services: {a: {imgae: x}}", "did you mean `image`?"),
        (
            "services: {a: {image: x, networks: [font]}}\nnetworks: {front: }",
            "did you mean `front`?",
        ),
        (
            "services: {a: {image: x, depends_on: [databse]}, database: {image: y}}",
            "did you mean `database`?",
        ),
        (
            "services: {a: {image: x, volumes: ['dat:/x']}}\nvolumes: {data: }",
            "did you mean `data`?",
        ),
        (
            "services: {a: {image: x, depends_on: {b: {condition: service_helthy}}}}",
            "did you mean `service_healthy`?",
        ),
        ("service: {}", "did you mean `services`?"),
    ];
    for (text, wanted) in cases {
        let loaded = loaded(text, &[]);
        let helps: Vec<_> = loaded
            .diagnostics
            .iter()
            .filter_map(|found| found.help.as_deref())
            .collect();
        assert!(helps.contains(&wanted), "{text}: {:#?}", loaded.diagnostics);
    }
}

#[test]
fn places_survive_extends_include_and_merge() {
    let more = [
        (
            "sub/inner.yaml",
            "services:\n  inner:\n    image: i\n    ports: ['1:2:3:4']\n",
        ),
        (
            "base.yaml",
            "services:\n  base:\n    image: i\n    restrat: always\n",
        ),
    ];
    let text = "include: [sub/inner.yaml]\nservices:\n  web:\n    extends: {file: base.yaml, service: base}\n";
    let loaded = loaded(text, &more);
    let places: Vec<_> = loaded
        .diagnostics
        .iter()
        .map(|found| {
            (
                found.labels[0].file.to_str().unwrap(),
                marked(&loaded, found),
            )
        })
        .collect();
    assert_eq!(
        places,
        [
            ("/app/sub/inner.yaml", "'1:2:3:4'"),
            ("/app/base.yaml", "restrat")
        ]
    );
}

#[test]
fn a_circle_of_dependencies_is_shown_as_a_path() {
    let text = "services:\n  a: {image: i, depends_on: [b]}\n  b: {image: i, links: ['c:x']}\n  c: {image: i, depends_on: {a: {condition: service_started}}}\n";
    let loaded = loaded(text, &[]);
    let found = &loaded.diagnostics[0];
    assert_eq!(found.code, codes::DEPENDENCY_CYCLE);
    assert_eq!(found.labels.len(), 3);
    let arrows = found.message.matches('→').count();
    assert_eq!(arrows, 3, "{}", found.message);
}

#[test]
fn a_dependency_that_no_profile_enables() {
    let text = "services:\n  a: {image: i, depends_on: [b]}\n  b: {image: i, profiles: [debug]}\n";
    let loaded = loaded(text, &[]);
    assert_eq!(
        loaded.diagnostics[0].help.as_deref(),
        Some("add `--profile debug`, or write `required: false`")
    );
}

#[test]
fn extensions_are_silent() {
    let text = "x-a: {b: c}\nservices:\n  a: {image: i, x-own: 1, deploy: {x-more: 2}}\n";
    assert!(loaded(text, &[]).diagnostics.is_empty());
}

#[test]
fn what_is_shown_is_short_and_harmless() {
    let long = format!(
        "services: {{a: {{image: i, mem_limit: \"\\e[31m{}\"}}}}",
        "x".repeat(5000)
    );
    let found = loaded(&long, &[]).diagnostics;
    assert!(
        found[0].message.chars().count() < 600 && !found[0].message.contains('\u{1b}'),
        "{found:?}"
    );
    let many: String = (0..500).map(|i| format!("  k{i}: 1\n")).collect();
    let found = loaded(&format!("services:\n a:\n{many}"), &[]).diagnostics;
    assert_eq!(found.last().unwrap().code, codes::MORE);
    assert!(found.len() < 250);
}

#[test]
fn too_much_is_refused() {
    let bomb = "x-a: &a [1,1,1,1,1,1,1,1,1,1]\nx-b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nx-c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nx-d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\nx-e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nx-f: [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n";
    assert_eq!(loaded(bomb, &[]).diagnostics[0].code, codes::TOO_BIG);
}

/// A code that no test names would not be tested.
#[test]
fn every_code_is_tested() {
    let codes = include_str!("../src/diagnostic/codes.rs");
    let tests = include_str!("diagnostics.rs");
    let names = codes
        .lines()
        .filter_map(|line| line.strip_prefix("pub const ")?.split(':').next());
    let untested: Vec<_> = names
        .filter(|name| !tests.contains(&format!("codes::{name}")))
        .collect();
    assert!(untested.is_empty(), "{untested:?}");
}

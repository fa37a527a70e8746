//! Files made to be slow or large: loading them ends soon all the same.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use stack_planner::diagnostic::codes;
use stack_planner::{LoadOptions, Loaded, MemorySource, load};

/// One load takes less of a processor's time, also in a debug build.
const SLOWEST: Duration = Duration::from_secs(30);

/// What this thread has had of a processor.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("it is not before zero")
}

fn loaded(files: &[(&str, Vec<u8>)]) -> Loaded {
    let mut source = MemorySource::new();
    for (path, bytes) in files {
        source = source.with(format!("/app/{path}"), bytes.clone());
    }
    let start = processor_time();
    let mut options = LoadOptions::new(vec!["/app/compose.yaml".into()], "/app".into());
    options
        .environment
        .insert("BIG".to_owned(), "b".repeat(1 << 20));
    let loaded = load(&source, &options);
    if let Some(project) = &loaded.project {
        _ = project.spec();
        project.to_json();
        project.to_yaml();
    }
    let text: String = String::from_utf8_lossy(&files[0].1)
        .chars()
        .take(80)
        .collect();
    let took = processor_time() - start;
    assert!(took < SLOWEST, "{text} took {took:?}");
    loaded
}

fn many(count: usize, item: &dyn Fn(usize) -> String) -> String {
    (0..count).map(item).collect()
}

fn codes_of(text: &str) -> Vec<&'static str> {
    let found = loaded(&[("compose.yaml", text.as_bytes().to_vec())]).diagnostics;
    assert!(found.len() <= 201);
    found.iter().map(|found| found.code).collect()
}

#[test]
fn large_stacks() {
    let services = many(4000, &|i| {
        format!("  s{i}: {{image: i, depends_on: [s{}]}}\n", (i + 1) % 4000)
    });
    assert_eq!(
        codes_of(&format!("services:\n{services}")),
        [codes::DEPENDENCY_CYCLE]
    );
    let chain = many(300, &|i| {
        format!("  s{i}: {{image: i, extends: s{}}}\n", i + 1)
    });
    assert!(codes_of(&format!("services:\n{chain}")).contains(&codes::EXTENDS_CYCLE));
    let environment = many(30_000, &|i| format!("K{i}=v,"));
    codes_of(&format!(
        "services: {{a: {{image: i, environment: [{environment}]}}}}"
    ));
    let ports = many(50, &|i| format!("'{i}-6000{i}',"));
    codes_of(&format!("services: {{a: {{image: i, ports: [{ports}]}}}}"));
    codes_of("services: {a: {image: i, ports: ['1-9999:1-9999']}}");
    let volume = "a:".repeat(100_000);
    assert_eq!(
        codes_of(&format!(
            "services: {{a: {{image: i, volumes: ['{volume}']}}}}"
        )),
        [codes::BAD_VOLUME]
    );
}

#[test]
fn many_mistakes() {
    let name = |i: usize| format!("{}{i:06}", "n".repeat(30));
    // Each one could be any of the others.
    let undefined = many(4000, &|i| {
        format!(
            "  {}: {{image: i, depends_on: [x{}], networks: [{}]}}\n",
            name(i),
            name(i),
            name(i)
        )
    });
    let found = codes_of(&format!("services:\n{undefined}"));
    assert!(found.contains(&codes::UNDEFINED_SERVICE) && found.contains(&codes::MORE));
    let circles = many(4000, &|i| {
        format!("  s{i}: {{image: i, depends_on: [s{i}]}}\n")
    });
    assert!(codes_of(&format!("services:\n{circles}")).contains(&codes::DEPENDENCY_CYCLE));
    let keys = many(30_000, &|i| format!("imagee{i}: 1, "));
    assert!(codes_of(&format!("services: {{a: {{{keys}}}}}")).contains(&codes::UNKNOWN_KEY));
    let top = many(20_000, &|i| format!("s{i}: {{image: i}}\n"));
    assert!(codes_of(&top).contains(&codes::MISPLACED));
    let inside = many(20_000, &|i| format!("s{i}: {{image: i}}, "));
    assert!(
        codes_of(&format!("services: {{a: {{image: i, {inside}}}}}")).contains(&codes::MISPLACED)
    );
}

#[test]
fn variables() {
    let nested = "${A:-".repeat(20_000) + &"}".repeat(20_000);
    assert!(codes_of(&format!("x-a: '{nested}'")).contains(&codes::TOO_BIG));
    assert!(!codes_of(&format!("x-a: '{}'", "${A:-".repeat(20_000))).is_empty());
    let unset = many(200_000, &|i| format!("$V{i} "));
    assert!(
        codes_of(&format!("services: {{a: {{image: i, user: '{unset}'}}}}")).contains(&codes::MORE)
    );
    let required = many(100_000, &|i| format!("${{V{i}:?}} "));
    let found = codes_of(&format!(
        "services: {{a: {{image: i, user: '{required}'}}}}"
    ));
    assert!(found.contains(&codes::REQUIRED_VARIABLE), "{found:?}");
    // Texts that cost a lot and come to nothing.
    let big = many(5_000, &|_| format!("'{}${{R:?}}', ", "$BIG".repeat(7)));
    let found = codes_of(&format!("services: {{a: {{image: i, command: [{big}]}}}}"));
    assert!(found.contains(&codes::TOO_BIG), "{found:?}");
}

#[test]
fn environment_files() {
    let services = many(2000, &|i| {
        format!("  s{i}: {{image: i, env_file: big.env}}\n")
    });
    let big = many(100_000, &|i| format!("K{i}={}\n", "v".repeat(60)));
    let found = loaded(&[
        (
            "compose.yaml",
            format!("services:\n{services}").into_bytes(),
        ),
        ("big.env", big.into_bytes()),
    ]);
    assert!(
        found
            .diagnostics
            .iter()
            .any(|found| found.code == codes::TOO_BIG)
    );
    let huge = vec![b'A'; 9 << 20];
    let one = b"services: {a: {image: i, env_file: e.env}}".to_vec();
    for bad in [
        huge,
        vec![b'A', b'=', 0xff],
        vec![b'='; 100_000],
        [b"A='".to_vec(), vec![b'x'; 100_000]].concat(),
    ] {
        let found = loaded(&[("compose.yaml", one.clone()), ("e.env", bad)]);
        assert!(found.has_errors());
    }
}

#[test]
fn depth_and_length() {
    for open in ["[", "{a: ", "- ", "? ", "a: &a [", "!!x ["] {
        let deep = open.repeat(100_000);
        assert!(!codes_of(&format!("x: {deep}")).is_empty(), "{open}");
        codes_of(&deep);
    }
    let blocks = many(2000, &|i| format!("{}a:\n", " ".repeat(i)));
    assert!(!codes_of(&blocks).is_empty());
    assert_eq!(
        codes_of(&format!("x: \"{}", "a\n".repeat(1 << 20))),
        [codes::SYNTAX]
    );
    assert_eq!(
        codes_of(&format!("x: [{}", "1,".repeat(100_000))),
        [codes::SYNTAX]
    );
    codes_of(&format!("{{{}}}", many(30_000, &|i| format!("k{i}: 1,"))));
    let found = loaded(&[("compose.yaml", vec![b' '; 100 << 20])]);
    assert_eq!(found.diagnostics[0].code, codes::UNREADABLE);
}

#[test]
fn aliases_that_multiply() {
    let tens = |inner: &str| [inner; 10].join(",");
    let mut lists = format!("x-0: &a0 [{}]\n", tens("1"));
    let mut maps = "x-0: &a0 {k: v}\n".to_owned();
    for i in 1..30 {
        lists += &format!("x-{i}: &a{i} [{}]\n", tens(&format!("*a{}", i - 1)));
        let inner = many(10, &|k| format!("k{k}: *a{}, ", i - 1));
        maps += &format!("x-{i}: &a{i} {{{inner}}}\n");
    }
    assert_eq!(codes_of(&lists), [codes::TOO_BIG]);
    assert_eq!(codes_of(&maps), [codes::TOO_BIG]);
    let merged = many(30, &|i| {
        format!(
            "x-{i}: &m{i} {{<<: [{}], k{i}: 1}}\n",
            many(i, &|k| format!("*m{k},"))
        )
    });
    codes_of(&merged);
}

#[test]
fn bytes_that_are_no_text() {
    let stack = |rest: &str| format!("services: {{a: {{image: i, {rest}}}}}").into_bytes();
    let mut latin = stack("user: x");
    latin.push(0xe9);
    let files: [&[(&str, Vec<u8>)]; 3] = [
        &[("compose.yaml", latin.clone())],
        &[
            (
                "compose.yaml",
                b"include: [b.yaml]\nservices: {a: {image: i}}".to_vec(),
            ),
            ("b.yaml", latin.clone()),
        ],
        &[
            ("compose.yaml", stack("extends: {file: b.yaml, service: a}")),
            ("b.yaml", latin.clone()),
        ],
    ];
    for files in files {
        let found = loaded(files);
        let wanted = |text: &str| text.contains("not UTF-8");
        assert!(
            found.diagnostics.iter().any(|found| wanted(&found.message)),
            "{:#?}",
            found.diagnostics
        );
    }
    for zero in [
        "user: \"a\\0b\"",
        "environment: {\"a\\0\": b}",
        "command: [\"\\0\"]",
    ] {
        let found = loaded(&[("compose.yaml", stack(zero))]);
        assert!(!found.all_diagnostics().is_empty(), "{zero}");
    }
    let found = loaded(&[(
        "compose.yaml",
        b"services:\n  a:\n    image: i\0\n".to_vec(),
    )]);
    assert!(!found.all_diagnostics().is_empty());
}

#[test]
fn files_that_include_each_other_many_times() {
    let both = |next: &str| {
        format!("include: [{next}, {next}]\nservices: {{s: {{image: i}}}}\n").into_bytes()
    };
    let mut files = vec![("compose.yaml".to_owned(), both("f0.yaml"))];
    files.extend((0..40).map(|i| (format!("f{i}.yaml"), both(&format!("f{}.yaml", i + 1)))));
    files.push(("f40.yaml".to_owned(), b"services: {s: {image: i}}".to_vec()));
    let files: Vec<_> = files
        .iter()
        .map(|(path, bytes)| (path.as_str(), bytes.clone()))
        .collect();
    assert!(loaded(&files).has_errors());
}

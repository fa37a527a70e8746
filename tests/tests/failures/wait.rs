//! `up --wait`: an exit code for each kind of failure, and what is kept of it.

use stack_tests::{Finished, Home};

fn up(home: &Home, name: &str, file: &str, more: &[&str]) -> Finished {
    let project = home.project(name, file);
    let mut words = vec!["up", "-d", "--wait", "--wait-timeout", "60s"];
    words.extend(more);
    project.stack(&words)
}

#[test]
fn each_failure_has_its_exit_code() {
    let home = Home::new();
    let file = |rest: &str| format!("services: {{box: {{image: 'busybox:1', {rest}}}}}");
    let ready = "command: sleep 1000, stop_grace_period: 0s, \
                 healthcheck: {test: 'true', interval: 1s}";
    let sick = "command: sleep 1000, stop_grace_period: 0s, \
                healthcheck: {test: 'false', interval: 200ms, retries: 1}";
    // Never ready before its end is known, however slow the machine.
    let dies = "command: 'false', healthcheck: {test: 'false', interval: 1s, retries: 1000}";
    let lost = "command: no-such-program";
    let cases = [
        ("ready", file(ready), 0),
        ("sick", file(sick), 20),
        ("dies", file(dies), 20),
        ("lost", file(lost), 20),
        ("image", file("").replace("busybox:1", "nosuch:1"), 18),
        ("wrong", file("comand: x"), 15),
    ];
    for (name, file, code) in cases {
        let ended = up(&home, name, &file, &[]);
        assert_eq!(ended.code, Some(code), "{name}: {ended}");
    }
    assert_eq!(up(&home, "usage", "", &["--nosuch"]).code, Some(2));
    let locked = up(&home, "locked", &file(ready), &["--locked"]);
    assert_eq!(locked.code, Some(16), "{locked}");

    // Too slow: told with what it waits for.
    let slow = "services: {box: {image: 'busybox:1', command: sleep 1000, stop_grace_period: 0s, \
                healthcheck: {test: 'false', interval: 1s, retries: 1000}}}";
    let project = home.project("slow", slow);
    let ended = project.stack(&["up", "-d", "--wait", "--wait-timeout", "4"]);
    assert_eq!(ended.code, Some(20), "{ended}");
    assert!(ended.stderr.contains("slow-box-1"), "{ended}");
}

#[test]
fn a_program_that_is_run_to_its_end_gives_its_code() {
    let home = Home::new();
    let file = "services:\n  tests:\n    image: busybox:1\n    command: sh -c 'sleep 1; exit 7'\n  \
                other:\n    image: busybox:1\n    command: sleep 1000\n    stop_grace_period: 0s\n";
    let project = home.project("code", file);
    for option in [
        &["--abort-on-container-exit"][..],
        &["--abort-on-container-failure"],
        &["--exit-code-from", "tests"],
    ] {
        let mut words = vec!["up"];
        words.extend(option);
        let ended = project.stack(&words);
        assert_eq!(ended.code, Some(7), "{option:?}: {ended}");
        assert_eq!(project.container("other")["State"], "exited");
    }
    let other = project.stack(&[
        "up",
        "--abort-on-container-exit",
        "--exit-code-from",
        "other",
    ]);
    assert_eq!(other.code, Some(137), "it was killed: {other}");
}

#[test]
fn a_bundle_has_everything_but_the_secrets() {
    // A restored machine has said nothing on its console.
    let home = Home::new().env("STACK_TEMPLATES", "off");
    let file = "services:\n  box:\n    image: busybox:1\n    \
                command: [sh, -c, 'cat /run/secrets/word; env; cat /run/secrets/word | base64; \
                echo done; exec sleep 1000', --api-token, Arg0ment]\n    \
                environment: {DB_PASSWORD: 'corr3ct horse', PLAIN: visible, \
                URL: 'pg://app:Ur1Pass@db/x'}\n    secrets: [word]\n    stop_grace_period: 0s\n    \
                healthcheck: {test: 'cat /run/secrets/word; false', interval: 200ms, retries: 1}\n\
                secrets: {word: {environment: WORD}}\n";
    let project = home.project("bundle", file).env("WORD", "battery st4ple");
    // What failed is told to the CI system, too.
    let github = project.env("GITHUB_ACTIONS", "true");
    let ended = github.stack(&["up", "-d", "--wait"]);
    assert_eq!(ended.code, Some(20), "{ended}");
    let mut lines = ended.stderr.lines();
    let told = lines.any(|l| l.starts_with("::error ") && l.contains("unhealthy"));
    assert!(told, "{ended}");
    let project = github.env("GITHUB_ACTIONS", "false");
    let ended = project.stack(&["--annotate", "gitlab", "up", "-d", "--wait"]);
    assert_eq!(ended.code, Some(20), "{ended}");
    let report = std::fs::read_to_string(project.dir().join("gl-code-quality-report.json"));
    assert!(report.expect("a report").contains("unhealthy"));
    project.stack(&["debug", "bundle", "-o", "b.tar"]).ok();
    let text = project.shell("tar -xOf b.tar").ok();
    for secret in [
        "corr3ct horse",
        "Ur1Pass",
        "battery st4ple",
        "Arg0ment",
        "YmF0dGVyeSBzdDRwbGU",
    ] {
        assert!(!text.contains(secret), "{secret} is in it");
    }
    assert!(text.contains("visible") && text.contains("[redacted]"));
    let names = project.shell("tar -tf b.tar").ok();
    for name in [
        "README",
        "applied.json",
        "wanted.json",
        "plan.json",
        "containers.json",
        "events.jsonl",
        "versions.json",
        "doctor.json",
        "stackd.log",
        "logs/bundle-box-1.txt",
        "health/bundle-box-1.txt",
        "console/bundle-box-1.txt",
    ] {
        assert!(
            names.contains(&format!("stack-debug/{name}\n")),
            "{name}: {names}"
        );
    }
}

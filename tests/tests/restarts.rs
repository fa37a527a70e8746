//! What comes before a start and after an end: `pre_start` hooks, restart
//! policies, and what a daemon that was killed finds again.

use stack_tests::{Home, eventually};

#[test]
fn hooks_before_the_start_are_run_once_in_their_own_containers() {
    let home = Home::new();
    let file = r#"services:
  app:
    image: busybox:1
    command: sh -c 'cat /data/log; exec sleep 1000'
    environment: {WORD: file}
    user: "33"
    stop_grace_period: 0s
    volumes: ["data:/data"]
    scale: ${SCALE:-1}
    pre_start:
      - image: debian:12
        user: root
        command: [sh, -c, "test -e /etc/debian_version && echo first >> /data/log && chown -R 33 /data"]
      - command: [sh, -c, "echo second $$WORD $$MORE $$(id -u) >> /data/log; exit $CODE"]
        environment: {MORE: hook}
volumes: {data: {}}
"#;
    let project = home.project("before", file).env("CODE", 3);
    let failed = project.stack(&["up", "-d"]);
    assert_eq!(failed.code, Some(20), "{failed}");
    assert!(failed.stderr.contains("exit code 3"), "{failed}");
    let mut states: Vec<String> = project
        .containers()
        .iter()
        .map(|container| format!("{} {}", container["Name"], container["State"]))
        .collect();
    states.sort();
    let wanted = [
        r#""before-app-1" "created""#,
        r#""before-app-pre_start-1" "exited""#,
    ];
    assert_eq!(
        states, wanted,
        "the hook stays, the service was not started"
    );
    let project = project.env("CODE", 0);
    project.stack(&["up", "-d", "--wait"]).ok();
    let said = |project: &stack_tests::Project<'_>| {
        project
            .stack(&["logs", "--no-log-prefix", "-n", "50", "app"])
            .ok()
    };
    let wanted = "first\nsecond file hook 33\n".repeat(2);
    eventually("the log", 20, || {
        said(&project).ends_with(&wanted).then_some(())
    });
    assert_eq!(project.containers().len(), 1, "hooks have gone");

    // Nothing changed, another start, one more: no hook.
    project.stack(&["up", "-d"]).ok();
    project.stack(&["restart"]).ok();
    let count = |project: &stack_tests::Project<'_>| {
        let text = project
            .stack(&["exec", "-T", "app", "cat", "/data/log"])
            .ok();
        text.lines().count()
    };
    assert_eq!(count(&project), 4);
    // A new container: once more.
    project.stack(&["up", "-d", "--force-recreate"]).ok();
    assert_eq!(count(&project), 6);
    let project = project.env("SCALE", 2);
    project.stack(&["up", "-d"]).ok();
    assert_eq!(count(&project), 6, "one more container is no new service");
}

#[test]
fn a_restart_policy_has_its_pauses_and_its_end() {
    let home = Home::new();
    let file = r#"services:
  twice:
    image: busybox:1
    command: "false"
    deploy: {restart_policy: {condition: on-failure, max_attempts: 2, delay: 10ms}}
  later:
    image: busybox:1
    command: "true"
    restart: "no"
    deploy: {restart_policy: {condition: any, delay: 1h}}
"#;
    let project = home.project("policies", file);
    project.stack(&["up", "-d"]);
    eventually("the last attempt", 60, || {
        let container = project.container("twice");
        (container["State"] == "exited" && container["Restarts"] == 2).then_some(())
    });
    eventually("the pause", 60, || {
        (project.field("later", "State") == "restarting").then_some(())
    });
    // A pause goes on under another daemon.
    let next = project.field("later", "NextStartAt");
    home.kill_all("stackd");
    assert_eq!(project.field("later", "State"), "restarting");
    assert_eq!(project.field("later", "NextStartAt"), next);
    project.stack(&["stop", "later"]).ok();
    assert_eq!(project.field("later", "State"), "exited");
}

#[test]
fn what_depends_on_others_and_what_a_killed_daemon_knows() {
    let home = Home::new();
    let file = r#"services:
  job:
    image: busybox:1
    command: sh -c 'echo ran >> /data/jobs'
    volumes: ["data:/data"]
  db:
    image: busybox:1
    command: sleep 1000
    stop_grace_period: 0s
    environment: {N: "${N}"}
    healthcheck: {test: "true", interval: 1h, start_period: 0s}
    depends_on: {job: {condition: service_completed_successfully}}
  web:
    image: busybox:1
    command: sleep 1000
    stop_grace_period: 0s
    depends_on:
      db: {condition: service_healthy, restart: true}
      other: {condition: service_started, required: false}
  flaps:
    image: busybox:1
    command: sh -c 'exit 3'
    restart: always
  other:
    image: busybox:1
    profiles: [never]
  look:
    image: busybox:1
    command: sleep 1000
    stop_grace_period: 0s
    volumes: ["data:/data"]
volumes: {data: {}}
"#;
    let project = home.project("depends", file).env("N", 1);
    project.stack(&["up", "-d"]).ok();
    let started = |service: &str| project.container(service)["StartedAt"].clone();
    let (first, job) = (started("web"), started("job"));
    assert!(!first.is_null() && !job.is_null());
    // It backs off, and says so.
    let shown = eventually("a pause", 60, || {
        let text = project.stack(&["ps"]).ok();
        let line = text.lines().find(|line| line.contains("flaps"))?.to_owned();
        line.contains("Restarting (3)").then_some(line)
    });
    let restarts = || project.container("flaps")["Restarts"].as_u64().unwrap_or(0);
    let before = eventually("restarts", 60, || Some(restarts()).filter(|n| *n >= 2));
    let in_look = ["exec", "-T", "--privileged", "look", "date"];
    let wrong = project.stack(&[&in_look[..], &["-s", "@1000000000"]].concat());
    wrong.ok();
    home.kill_all("stackd");
    assert_eq!(project.field("db", "Health"), "healthy");
    assert!(restarts() >= before, "{shown}");
    // A clock that is wrong is set when the VM is taken over.
    eventually("the right year", 20, || {
        let year = project.stack(&[&in_look[..], &["+%Y"]].concat()).ok();
        (year.trim() > "2024").then_some(())
    });

    // What was done is not done again; what depends on a change follows.
    let project = project.env("N", 2);
    project.stack(&["up", "-d"]).ok();
    let started = |service: &str| project.container(service)["StartedAt"].clone();
    assert_eq!(started("job"), job);
    let second = started("web");
    assert_ne!(second, first);
    project.stack(&["restart", "--no-deps", "db"]).ok();
    assert_eq!(started("web"), second);
    project.stack(&["restart", "db"]).ok();
    assert_ne!(started("web"), second);
    let ran = project
        .stack(&["exec", "-T", "look", "cat", "/data/jobs"])
        .ok();
    assert_eq!(ran, "ran\n");
}

#[test]
fn a_daemon_that_is_killed_amid_much_output_is_followed_by_one_that_has_it_all() {
    let home = Home::new();
    let file = "services:\n  loud:\n    image: busybox:1\n    init: true\n    \
                command: sh -c 'seq 1 150000; sleep 1000'\n    stop_grace_period: 0s\n";
    let project = home.project("loud", file);
    project.stack(&["up", "-d"]).ok();
    let tail = |n: &str| {
        let args = ["logs", "--no-log-prefix", "-n", n, "loud"];
        project.stack(&args).ok()
    };
    eventually("output", 30, || (!tail("1").is_empty()).then_some(()));
    // What is written meanwhile waits in the VM, and comes all at once.
    home.kill_all("stackd");
    eventually("the last line", 60, || {
        (tail("1") == "150000\n").then_some(())
    });
    let wanted: String = (1..=150_000).map(|n| format!("{n}\n")).collect();
    assert!(
        tail("150000") == wanted,
        "lines are missing or out of order"
    );
    project.stack(&["exec", "-T", "loud", "true"]).ok();
}

//! `stack up`

use serde_json::json;

use crate::fake::{Answer, container, died, done, finished, log};
use crate::home::{Home, Run, signal};

const UP: &str = "PUT /v1/stacks/shop";
const ACTION: &str = "POST /v1/stacks/shop/action";
const LOGS: &str = "GET /v1/stacks/shop/logs";

#[test]
fn detached_says_what_happened_on_standard_error() {
    let home = Home::new();
    let daemon = home.daemon();
    daemon.on(
        UP,
        Answer::Lines(vec![
            json!({"type": "step", "kind": "container", "name": "shop-db-1", "status": "starting",
                   "finished": false, "detail": null, "at_ms": 300}),
            json!({"type": "warning", "message": "mind the gap"}),
            finished("container", "shop-old-1", "removed"),
            finished("container", "shop-db-1", "started"),
            done(),
        ]),
    );
    let run = home
        .run(&["up", "-d", "--scale", "web=3", "-t", "7", "web"])
        .ended_with(0);
    assert_eq!(run.out, "");
    assert_eq!(
        run.err,
        "warning: mind the gap\n\
         container shop-old-1 removed\n\
         container shop-db-1 started (1.2s)\n\
         shop is up (1 container, 1.6s)\n"
    );
    let body = daemon.wait_for(UP).body;
    assert_eq!(body["spec"]["services"]["db"]["image"], "db:1");
    assert_eq!(body["services"], json!(["web"]));
    assert_eq!(body["scale"], json!({"web": 3}));
    assert_eq!(body["timeout"], 7);
    assert_eq!(body["wait"], false);
}

#[test]
fn what_is_good_to_know_is_no_warning() {
    let home = Home::new();
    let note = json!({"type": "note", "message": "VMs are emulated"});
    home.daemon().on(UP, Answer::Lines(vec![note, done()]));
    let run = home.run(&["up", "-d"]).ended_with(0);
    assert!(run.err.starts_with("VMs are emulated\n"), "{}", run.err);
    let quiet = ["--progress", "quiet", "up", "-d"];
    let run = home.run(&quiet).ended_with(0);
    assert!(!run.err.contains("emulated"), "{}", run.err);
}

#[test]
fn a_machine_that_runs_no_vms_has_a_code_of_its_own() {
    for (code, exit) in [
        ("qemu_missing", 21),
        ("build_failed", 17),
        ("port_in_use", 22),
        ("memory", 23),
        ("disk_full", 24),
    ] {
        let failure = json!({"type": "failed", "code": code, "message": "no", "help": null,
            "exit_code": 1});
        let home = Home::new();
        home.daemon().on(UP, Answer::Lines(vec![failure]));
        home.run(&["up", "-d", "--wait"]).ended_with(exit);
    }
}

#[test]
fn a_network_without_addresses_is_shown_where_it_is_written() {
    let home = Home::with(
        "name: shop
services:
  web: {image: web, scale: 9}
networks:
  default:
    ipam:
      config:
        - subnet: 10.7.0.0/29
",
    );
    let failure = json!({"type": "failed", "code": "network_full",
        "message": "service web: network shop_default has no address left",
        "help": "give it a larger `subnet` or `ip_range`", "exit_code": 1});
    home.daemon().on(UP, Answer::Lines(vec![failure]));
    let run = home.run(&["up", "-d"]).ended_with(1);
    assert!(run.err.contains("`ip_range`: stack.yaml:8"), "{}", run.err);
}

#[test]
fn nothing_to_start_is_a_failure() {
    let home = Home::with("name: shop\nservices:\n  web: {image: web, profiles: [dev, test]}\n");
    home.daemon().containers(&[]);
    let run = home.run(&["--profile", "prod", "up", "-d"]).ended_with(1);
    assert_eq!(
        run.err,
        "no_service\n  × no service of shop is enabled\n  \
         help: enable one with `--profile`: dev, test; or name a service\n"
    );
    let run = home.run(&["start"]).ended_with(1);
    assert!(run.err.contains("no containers to start"), "{}", run.err);
    home.run(&["stop"]).ended_with(0);
}

#[test]
fn start_tells_of_a_service_without_a_container() {
    let home = Home::new();
    let daemon = home.daemon();
    daemon
        .containers(&[container("db", "exited")])
        .on(ACTION, Answer::Lines(vec![done()]));
    let run = home.run(&["start"]).ended_with(1);
    let told = "service \"web\" has no container to start";
    assert!(run.err.contains(told), "{}", run.err);
    // The others are started.
    assert_eq!(daemon.wait_for(ACTION).body["verb"], "start");
    home.run(&["start", "db"]).ended_with(0);
}

#[test]
fn a_failure_comes_with_the_last_words_of_the_culprit() {
    let home = Home::new();
    let daemon = home.daemon();
    let failure = json!({"type": "failed", "code": "service_failed",
        "message": "shop-db-1 is unhealthy", "help": "look at its logs", "exit_code": 1});
    daemon
        .on(UP, Answer::Lines(vec![failure]))
        .containers(&[container("db", "running"), container("web", "created")])
        .on(
            LOGS,
            Answer::Lines(vec![log("db", "no space left\u{1b}[2J")]),
        );
    let run = home.run(&["up", "--wait"]).ended_with(20);
    assert_eq!(
        run.err,
        "shop-db-1, last 1 line:\n│ no space left\n\
         service_failed\n  × shop-db-1 is unhealthy\n  help: look at its logs\n"
    );
    let asked = daemon.wait_for(LOGS).call;
    assert!(
        asked.contains("services=shop-db-1") && asked.contains("tail=10"),
        "{asked}"
    );
}

/// A CI system shows it beside the lines of all of them.
#[test]
fn each_culprit_gets_an_annotation() {
    let home = Home::new();
    let daemon = home.daemon();
    let failure = json!({"type": "failed", "code": "wait_timeout",
        "message": "not everything was ready within 5 s", "help": null, "exit_code": 1});
    let ended = |service| {
        let mut container = container(service, "exited");
        container["exit_code"] = json!(3);
        container
    };
    daemon
        .on(UP, Answer::Lines(vec![failure]))
        .containers(&[ended("db"), ended("web")])
        .on(LOGS, Answer::Lines(vec![]));
    let run = home
        .run(&["--annotate", "github", "up", "--wait"])
        .ended_with(20);
    let notes = run.err.lines().filter(|line| line.starts_with("::error"));
    assert_eq!(
        notes.collect::<Vec<_>>(),
        [
            "::error file=stack.yaml,line=3,title=stack: wait_timeout::not everything was ready \
             within 5 s",
            "::error file=stack.yaml,line=6,title=stack: wait_timeout::not everything was ready \
             within 5 s",
        ]
    );
}

#[test]
fn the_last_words_of_a_hook_are_those_of_its_own_container() {
    let home = Home::new();
    let daemon = home.daemon();
    let name = "shop-db-pre_start-0";
    let failure = json!({"type": "failed", "code": "service_failed",
        "message": format!("service db: its pre_start hook `migrate` ended with exit code 3 \
                            (container {name})"),
        "help": null, "exit_code": 1});
    let one_off = |name: &str| {
        let mut one = container("db", "exited");
        one["one_off"] = json!(true);
        one["exit_code"] = json!(3);
        one["name"] = json!(name);
        one
    };
    let mut line = log("db", "no such table");
    line["container"] = json!(name);
    daemon
        .on(UP, Answer::Lines(vec![failure]))
        .containers(&[
            one_off("shop-db-run-1"),
            one_off(name),
            container("db", "created"),
        ])
        .on(LOGS, Answer::Lines(vec![line]));
    let run = home.run(&["up", "-d"]).ended_with(20);
    assert!(
        run.err
            .starts_with("shop-db-pre_start-0, last 1 line:\n│ no such table\n"),
        "{}",
        run.err
    );
    let asked = daemon.wait_for(LOGS).call;
    assert!(asked.contains(&format!("services={name}&")), "{asked}");
}

#[test]
fn the_daemon_may_choose_the_exit_code() {
    let home = Home::new();
    let failure =
        json!({"type": "failed", "code": "x", "message": "y", "help": null, "exit_code": 42});
    home.daemon().on(UP, Answer::Lines(vec![failure]));
    home.run(&["up", "-d"]).ended_with(42);
}

#[test]
fn a_service_that_failed_has_one_exit_code_whoever_started_it() {
    let home = Home::new();
    let failure = json!({"type": "failed", "code": "service_failed", "message": "y", "help": null,
                         "exit_code": 127});
    let answer = || Answer::Lines(vec![failure.clone()]);
    home.daemon()
        .containers(&[container("web", "exited")])
        .on(UP, answer())
        .on(ACTION, answer())
        .on("POST /v1/stacks/shop/rollback", answer());
    for args in [
        &["start"][..],
        &["restart"],
        &["scale", "web=2"],
        &["rollback"],
    ] {
        home.run(args).ended_with(20);
    }
}

#[test]
fn an_answer_that_breaks_off_is_an_error() {
    let home = Home::new();
    home.daemon().on(
        UP,
        Answer::Lines(vec![finished("container", "shop-db-1", "started")]),
    );
    let run = home.run(&["up", "-d"]).ended_with(21);
    assert!(run.err.contains("daemon_lost"), "{}", run.err);
}

#[test]
fn json_progress_is_data() {
    let home = Home::new();
    let events = vec![finished("container", "shop-db-1", "started"), done()];
    home.daemon().on(UP, Answer::Lines(events.clone()));
    let run = home.run(&["--progress", "json", "up", "-d"]).ended_with(0);
    let lines: Vec<serde_json::Value> = run
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines, events);
}

#[test]
fn ctrl_c_cancels_by_hanging_up() {
    let home = Home::new();
    let daemon = home.daemon();
    daemon.on(
        UP,
        Answer::Hold(vec![finished("network", "shop_default", "created")]),
    );
    let child = home.spawn(&["up", "-d"]);
    daemon.wait_for(UP);
    signal(&child, "INT");
    daemon.wait_for_gone();
    Run::of(child.wait_with_output().unwrap()).ended_with(130);
    assert!(
        daemon.seen(ACTION).is_empty(),
        "in the background nothing is stopped"
    );
}

#[test]
fn in_the_foreground_ctrl_c_stops_and_a_second_one_kills() {
    let home = Home::new();
    let daemon = home.daemon();
    daemon
        .on(UP, Answer::Lines(vec![done()]))
        .containers(&[container("db", "running"), container("web", "running")])
        .on(LOGS, Answer::Hold(vec![log("web", "hello")]))
        .on(ACTION, Answer::Hold(vec![]));
    let child = home.spawn(&["up"]);
    assert!(daemon.wait_for(LOGS).call.contains("follow=true"));
    signal(&child, "INT");
    let stop = daemon.wait_for(ACTION).body;
    assert_eq!(
        (&stop["verb"], &stop["services"]),
        (&json!("stop"), &json!(["db", "web"]))
    );
    // A shell that `run` started elsewhere goes on.
    assert_eq!(stop["replicas"], true);
    daemon.on(
        ACTION,
        Answer::Lines(vec![finished("container", "shop-db-1", "killed"), done()]),
    );
    signal(&child, "INT");
    let run = Run::of(child.wait_with_output().unwrap()).ended_with(130);
    assert_eq!(daemon.seen(ACTION).last().unwrap().body["verb"], "kill");
    assert_eq!(run.out, "web-1  | hello\n");
}

#[test]
fn the_end_of_a_container_may_end_all_with_its_code() {
    let home = Home::new();
    let daemon = home.daemon();
    let mut db = container("db", "exited");
    db["exit_code"] = json!(3);
    let mut of_run = db.clone();
    of_run["one_off"] = json!(true);
    of_run["exit_code"] = json!(9);
    of_run["id"] = json!("9");
    let mut end_of_run = died("db", 9);
    end_of_run["id"] = json!("9");
    daemon
        .happened(&[end_of_run, died("db", 3)])
        .on(UP, Answer::Lines(vec![done()]))
        .containers(&[of_run, db, container("web", "running")])
        .on(LOGS, Answer::Hold(vec![]))
        .on(ACTION, Answer::Lines(vec![done()]));
    let run = home.run(&["up", "--exit-code-from", "db"]).ended_with(3);
    assert!(run.out.contains("db-1 exited with code 3"), "{}", run.out);
    assert_eq!(daemon.wait_for(ACTION).body["verb"], "stop");
}

/// A migration, and what runs when that is done.
#[test]
fn a_job_that_is_done_as_others_need_it_ends_nothing() {
    let home = Home::with(
        "name: shop\nservices:\n  db: {image: db}\n  web:\n    image: web\n    depends_on:\n      \
         db: {condition: service_completed_successfully}\n",
    );
    let daemon = home.daemon();
    let ends = |code: i32, web: i32| {
        daemon
            .happened(&[died("db", code), died("web", web)])
            .on(UP, Answer::Lines(vec![done()]))
            .containers(&[container("db", "exited"), container("web", "exited")])
            .on(LOGS, Answer::Hold(vec![]))
            .on(ACTION, Answer::Lines(vec![done()]));
    };
    ends(0, 5);
    let run = home.run(&["up", "--abort-on-container-exit"]).ended_with(5);
    let why = "shop-web-1 ended with 5, so all is stopped";
    assert!(run.err.contains(why), "{}", run.err);
    ends(4, 5);
    home.run(&["up", "--abort-on-container-exit"]).ended_with(4);
    // Unless it is what was asked for.
    ends(0, 5);
    home.run(&["up", "--exit-code-from", "db"]).ended_with(0);
}

#[test]
fn an_end_before_the_start_is_done_may_end_all() {
    let home = Home::new();
    let daemon = home.daemon();
    // It runs again already, and what needs it is not started yet.
    daemon
        .happened(&[died("db", 3)])
        .on(UP, Answer::Hold(vec![]))
        .containers(&[container("db", "created"), container("web", "created")])
        .on(LOGS, Answer::Hold(vec![log("db", "no such table")]))
        .on(ACTION, Answer::Lines(vec![done()]));
    let run = home
        .run(&["--annotate", "github", "up", "--abort-on-container-exit"])
        .ended_with(3);
    assert_eq!(run.out, "db-1   | no such table\ndb-1 exited with code 3\n");
    assert_eq!(daemon.wait_for(ACTION).body["verb"], "stop");
    let note =
        "::error file=stack.yaml,line=6,title=stack: service_failed::shop-db-1 exited with code 3";
    assert!(run.err.contains(note), "{}", run.err);
}

/// It ran before, and others still start.
#[test]
fn what_ends_by_itself_is_told_during_the_start() {
    let home = Home::new();
    let daemon = home.daemon();
    daemon
        .happened(&[died("db", 3)])
        .on(UP, Answer::Hold(vec![]))
        .containers(&[container("db", "running"), container("web", "created")])
        .on(LOGS, Answer::Hold(vec![log("db", "no such table")]))
        .on(ACTION, Answer::Lines(vec![done()]));
    let run = home
        .run(&["up", "--abort-on-container-failure"])
        .ended_with(3);
    assert_eq!(run.out, "db-1   | no such table\ndb-1 exited with code 3\n");
}

#[test]
fn the_end_of_what_the_start_replaces_ends_nothing() {
    let home = Home::new();
    let daemon = home.daemon();
    let mut stopped = died("db", 3);
    stopped["action"] = json!("stop");
    let mut db = container("db", "exited");
    daemon
        .containers(&[container("db", "running"), container("web", "running")])
        .happened(&[died("db", 3), stopped])
        .on(UP, Answer::Hold(vec![]))
        .on(LOGS, Answer::Hold(vec![]))
        .on(ACTION, Answer::Lines(vec![done()]));
    let child = home.spawn(&["up", "--abort-on-container-exit"]);
    daemon.wait_for(UP);
    db["exit_code"] = json!(3);
    daemon.containers(&[db, container("web", "running")]);
    // Two looks would tell it.
    let looks = || daemon.seen("GET /v1/stacks/shop/containers").len();
    let before = looks();
    while looks() < before + 4 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    signal(&child, "INT");
    Run::of(child.wait_with_output().unwrap()).ended_with(130);
}

#[test]
fn what_is_not_to_be_attached_is_quiet_also_by_name() {
    let home = Home::with(
        "name: shop\nservices:\n  web: {image: web, attach: false}\n  db: {image: db}\n",
    );
    let daemon = home.daemon();
    daemon
        .on(UP, Answer::Lines(vec![done()]))
        .containers(&[container("db", "exited"), container("web", "exited")])
        .on(LOGS, Answer::Lines(vec![]));
    home.run(&["up", "web", "db"]).ended_with(0);
    let asked = daemon.wait_for(LOGS).call;
    assert!(asked.contains("services=db&"), "{asked}");
    home.run(&["up", "--attach", "web"]).ended_with(0);
    let asked = daemon.seen(LOGS).pop().unwrap().call;
    assert!(asked.contains("services=web&"), "{asked}");
}

#[test]
fn it_ends_when_nothing_runs_any_more() {
    let home = Home::new();
    let daemon = home.daemon();
    let job = container("web", "exited");
    daemon
        .happened(&[died("web", 0)])
        .on(UP, Answer::Lines(vec![done()]))
        .containers(&[job])
        .on(LOGS, Answer::Turns(vec![vec![log("web", "all done")]]));
    let run = home.run(&["up"]).ended_with(0);
    assert_eq!(run.out, "web-1  | all done\nweb-1 exited with code 0\n");
    assert!(daemon.seen(ACTION).is_empty());
}

#[test]
fn what_ends_before_anybody_looks_has_its_lines() {
    let home = Home::new();
    let daemon = home.daemon();
    // Before the start there is nothing to follow.
    daemon
        .happened(&[died("web", 0)])
        .on(UP, Answer::Lines(vec![done()]))
        .containers(&[container("web", "exited")])
        .on(
            LOGS,
            Answer::Turns(vec![vec![], vec![log("web", "all done")]]),
        );
    let run = home.run(&["up"]).ended_with(0);
    assert_eq!(run.out, "web-1  | all done\nweb-1 exited with code 0\n");
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    let home = Home::new();
    for args in [
        ["up", "--force-recreate", "--no-recreate"],
        ["up", "-d", "--abort-on-container-exit"],
        ["up", "--wait", "--exit-code-from=db"],
        ["up", "-d", "--wait-timeout=5"],
        ["up", "-d", "--scale=web"],
    ] {
        home.run(&args).ended_with(2);
    }
    let run = home.run(&["up", "--attach", "nope"]).ended_with(2);
    assert!(run.err.contains("services are: db, web"), "{}", run.err);
}

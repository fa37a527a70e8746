//! `stack logs`

use std::io::{BufRead, BufReader};

use crate::fake::{Answer, container, died, log};
use crate::home::{Home, Run};

const LOGS: &str = "GET /v1/stacks/shop/logs";

#[test]
fn lines_have_aligned_prefixes_and_options_arrive() {
    let home = Home::new();
    let daemon = home.daemon();
    daemon
        .containers(&[container("db", "running"), container("web", "running")])
        .on(
            LOGS,
            Answer::Lines(vec![log("db", "ready"), log("web", "GET /")]),
        );
    let run = home
        .run(&["logs", "--tail", "5", "--since", "1700000000"])
        .ended_with(0);
    assert_eq!(run.out, "db-1   | ready\nweb-1  | GET /\n");
    let call = daemon.wait_for(LOGS).call;
    assert!(
        call.contains("tail=5&since_ns=1700000000000000000"),
        "{call}"
    );
    assert!(!call.contains("follow"), "{call}");
    let run = home
        .run(&["logs", "-t", "--no-log-prefix", "db"])
        .ended_with(0);
    assert!(
        run.out
            .starts_with("2023-11-14T22:13:20.000000000Z ready\n"),
        "{}",
        run.out
    );
    assert!(daemon.wait_for(LOGS).call.contains("services=db"));
    let run = home.run(&["logs", "--index", "2", "db"]).ended_with(2);
    assert!(run.err.contains("db has no container 2"), "{}", run.err);
}

#[test]
fn following_goes_on_with_the_next_container_and_ends_with_the_last() {
    let home = Home::new();
    let daemon = home.daemon();
    daemon
        .containers(&[container("db", "running")])
        .on(LOGS, Answer::Hold(vec![log("db", "first")]));
    let mut child = home.spawn(&["logs", "-f", "-n", "1"]);
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(out.next().unwrap().unwrap(), "db-1  | first");
    // The old container has gone, a new one is there.
    daemon
        .on(LOGS, Answer::Hold(vec![log("db", "second")]))
        .end();
    assert_eq!(out.next().unwrap().unwrap(), "db-1  | second");
    let again = daemon.wait_for(LOGS).call;
    assert!(
        again.ends_with("?follow=true&since_ns=1700000000000000001"),
        "{again}"
    );
    daemon.containers(&[container("db", "exited")]).end();
    assert!(out.next().is_none());
    Run::of(child.wait_with_output().unwrap()).ended_with(0);
}

#[test]
fn what_was_shown_is_not_asked_for_again_in_whatever_order_it_came() {
    let home = Home::new();
    let daemon = home.daemon();
    let mut late = log("web", "late");
    late["time_ns"] = serde_json::json!(1_600_000_000_000_000_000_u64);
    daemon
        .containers(&[container("db", "running"), container("web", "running")])
        .on(LOGS, Answer::Hold(vec![log("db", "early"), late]));
    let mut child = home.spawn(&["logs", "-f"]);
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(out.next().is_some() && out.next().is_some());
    daemon.on(LOGS, Answer::Hold(vec![log("db", "next")])).end();
    assert_eq!(out.next().unwrap().unwrap(), "db-1   | next");
    let again = daemon.wait_for(LOGS).call;
    assert!(again.ends_with("&since_ns=1700000000000000001"), "{again}");
    daemon.containers(&[]).end();
    Run::of(child.wait_with_output().unwrap()).ended_with(0);
}

#[test]
fn following_tells_of_ends_and_has_both_streams() {
    let home = Home::new();
    let daemon = home.daemon();
    let mut wrong = log("db", "wrong");
    wrong["stderr"] = serde_json::json!(true);
    daemon
        .containers(&[container("db", "running")])
        .happened(&[died("db", 3)])
        .on(LOGS, Answer::Hold(vec![log("db", "well"), wrong]));
    let mut child = home.spawn(&["logs", "-f"]);
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(out.next().unwrap().unwrap(), "db-1  | well");
    assert_eq!(out.next().unwrap().unwrap(), "db-1  | wrong");
    daemon.containers(&[container("db", "exited")]).end();
    assert_eq!(out.next().unwrap().unwrap(), "db-1 exited with code 3");
    assert!(out.next().is_none());
    Run::of(child.wait_with_output().unwrap()).ended_with(0);
}

#[test]
fn always_means_colour_into_pipes_as_well() {
    let home = Home::new();
    home.daemon()
        .containers(&[container("db", "running")])
        .on(LOGS, Answer::Lines(vec![log("db", "x")]));
    let run = home.run(&["--ansi", "always", "logs"]).ended_with(0);
    assert_eq!(run.out, "\u{1b}[36mdb-1  |\u{1b}[0m x\n");
    let run = home
        .run(&["--ansi", "always", "logs", "--no-color"])
        .ended_with(0);
    assert_eq!(run.out, "db-1  | x\n");
}

#[test]
fn what_is_not_a_service_is_shown_by_its_name() {
    let home = Home::new();
    let mut of_run = container("web", "exited");
    of_run["one_off"] = serde_json::json!(true);
    of_run["name"] = serde_json::json!("shop-web-run-1");
    let mut line = log("web", "migrated");
    line["container"] = serde_json::json!("shop-web-run-1");
    let daemon = home.daemon();
    daemon
        .containers(&[container("web", "running"), of_run])
        .on(LOGS, Answer::Lines(vec![line]));
    let run = home.run(&["logs", "shop-web-run-1"]).ended_with(0);
    assert_eq!(run.out, "web-run-1  | migrated\n");
    let call = daemon.wait_for(LOGS).call;
    assert!(call.contains("services=shop-web-run-1"), "{call}");
    home.run(&["logs", "shop-web-run-2"]).ended_with(2);
}

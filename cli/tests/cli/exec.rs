//! `stack exec`

use serde_json::json;

use crate::fake::{Answer, container, done};
use crate::home::{Home, Run, signal};

const EXEC: &str = "POST /v1/stacks/shop/exec";

fn exit(code: i32) -> serde_json::Value {
    json!({"code": code, "signal": null, "oom": false, "error": null})
}

#[test]
fn streams_and_exit_code_pass_through() {
    let home = Home::new();
    let daemon = home.daemon();
    daemon.on(
        EXEC,
        Answer::Exec {
            stderr: b"oops\n".to_vec(),
            exit: exit(42),
        },
    );
    // More than one frame, and not text.
    let input: Vec<u8> = (0..200_000_u32).map(|n| b'a' + (n % 26) as u8).collect();
    let args = [
        "exec", "-T", "-u", "app", "-w", "/srv", "-e", "A=1", "web", "cat", "-n", "-T",
    ];
    let run = home.run_with_input(&args, &input).ended_with(42);
    assert_eq!(run.out.as_bytes(), input);
    assert_eq!(run.err, "oops\n");
    let body = daemon.wait_for(EXEC).body;
    assert_eq!(body["args"], json!(["cat", "-n", "-T"]));
    assert_eq!(body["env"], json!(["A=1"]));
    assert_eq!(
        (&body["user"], &body["cwd"]),
        (&json!("app"), &json!("/srv"))
    );
    assert_eq!(
        (&body["tty"], &body["stdin"]),
        (&json!(false), &json!(true))
    );
}

#[test]
fn a_command_that_is_not_there() {
    let home = Home::new();
    let refused = json!({"code": "exec_failed", "message": "nope: not found", "help": null, "exit_code": 127});
    home.daemon()
        .containers(&[container("web", "running")])
        .on(EXEC, Answer::Json(500, refused));
    let run = home.run(&["exec", "web", "nope"]).ended_with(127);
    assert!(run.err.contains("nope: not found"), "{}", run.err);
    let run = home.run(&["exec", "wbe", "nope"]).ended_with(2);
    assert!(run.err.contains("there is no service wbe"), "{}", run.err);
}

#[test]
fn detached_comes_back_when_it_runs() {
    let home = Home::new();
    let daemon = home.daemon();
    daemon.on(
        EXEC,
        Answer::Print {
            text: Vec::new(),
            exit: exit(0),
        },
    );
    let began = std::time::Instant::now();
    let run = home
        .run(&["exec", "-d", "web", "sleep", "-d", "60"])
        .ended_with(0);
    assert!(began.elapsed().as_secs() < 10);
    assert_eq!((run.out.as_str(), run.err.as_str()), ("", ""));
    let body = daemon.wait_for(EXEC).body;
    assert_eq!(body["args"], json!(["sleep", "-d", "60"]));
    assert_eq!(
        (&body["stdin"], &body["detach"]),
        (&json!(false), &json!(true))
    );
}

#[test]
fn its_standard_input_may_stay_ours() {
    let home = Home::new();
    let daemon = home.daemon();
    let answer = |text: &[u8]| Answer::Print {
        text: text.to_vec(),
        exit: exit(0),
    };
    daemon.on(EXEC, answer(b"done"));
    let args = ["exec", "--interactive=false", "--tty=false", "web", "env"];
    let run = home.run_with_input(&args, b"not for it").ended_with(0);
    assert_eq!(run.out, "done");
    assert_eq!(daemon.wait_for(EXEC).body["stdin"], json!(false));
    home.run(&["exec", "-it", "web", "env"]).ended_with(0);
    assert_eq!(daemon.wait_for(EXEC).body["stdin"], json!(true));
}

#[test]
fn variables_of_the_env_file_are_known_without_a_stack_file() {
    let home = Home::new();
    let daemon = home.daemon();
    let (text, exit) = (Vec::new(), exit(0));
    daemon.on(EXEC, Answer::Print { text, exit });
    std::fs::write(home.work().join(".env"), "KEY=of the file\n").unwrap();
    for args in [&[][..], &["-p", "shop"]] {
        let args = [args, &["exec", "-e", "KEY", "web", "env"]].concat();
        home.run(&args).ended_with(0);
        let body = daemon.wait_for(EXEC).body;
        assert_eq!(body["env"], json!(["KEY=of the file"]), "{args:?}");
    }
}

#[test]
fn keys_in_a_pipe_are_bytes() {
    const ATTACH: &str = "POST /v1/stacks/shop/attach";
    let home = Home::new();
    home.daemon().containers(&[container("web", "running")]).on(
        ATTACH,
        Answer::Exec {
            stderr: Vec::new(),
            exit: exit(3),
        },
    );
    let input = b"before\x10\x11after";
    let run = home.run_with_input(&["attach", "web"], input).ended_with(3);
    assert_eq!(run.out.as_bytes(), input);
}

#[test]
fn a_command_in_the_background_can_be_interrupted_while_it_starts() {
    let home = Home::new();
    let daemon = home.daemon();
    let attach = "POST /v1/stacks/shop/attach";
    daemon
        .on("POST /v1/stacks/shop/run", Answer::Lines(vec![done()]))
        // It waits for input, which nobody has for it.
        .on(
            attach,
            Answer::Exec {
                stderr: Vec::new(),
                exit: exit(0),
            },
        );
    let child = home.spawn(&["run", "-d", "--no-deps", "web"]);
    assert_eq!(daemon.wait_for(attach).body["detach"], json!(true));
    signal(&child, "INT");
    Run::of(child.wait_with_output().unwrap()).ended_with(130);
}

#[test]
fn detached_tells_why_it_did_not_start() {
    let home = Home::new();
    let refused = json!({"code": "not_running", "message": "service web is not running", "help": null, "exit_code": 1});
    home.daemon()
        .containers(&[])
        .on(EXEC, Answer::Json(409, refused));
    let run = home.run(&["exec", "-d", "web", "true"]).ended_with(1);
    assert!(
        run.err.contains("service web is not running"),
        "{}",
        run.err
    );
}

#[test]
fn a_connection_that_breaks_is_an_error() {
    let home = Home::new();
    let refused = json!({"code": 7});
    home.daemon()
        .containers(&[container("web", "running")])
        .on(EXEC, Answer::Json(500, refused));
    let run = home.run(&["exec", "web", "true"]).ended_with(1);
    assert!(run.err.contains("unexpected_answer"), "{}", run.err);
}

/// One that was not reached ends with the code of what kept it, whoever asked for it.
#[test]
fn what_does_not_start_is_told_from_what_fails() {
    for (code, exit_code) in [("vm_failed", 21), ("port_in_use", 22), ("bind", 1)] {
        let failed = json!({"code": code, "message": "no", "help": null, "exit_code": 1});
        let end = json!({"code": 1, "error": "no", "error_code": code});
        let home = Home::new();
        let daemon = home.daemon();
        daemon
            .containers(&[container("web", "exited")])
            .on("POST /v1/stacks/shop/run", Answer::Lines(vec![done()]))
            .on(EXEC, Answer::Json(409, failed.clone()));
        let mut event = failed;
        event["type"] = json!("failed");
        for path in ["PUT /v1/stacks/shop", "POST /v1/stacks/shop/action"] {
            daemon.on(path, Answer::Lines(vec![event.clone()]));
        }
        for args in [
            &["run", "web"][..],
            &["run", "-d", "web"],
            &["attach", "web"],
        ] {
            let (text, exit) = (Vec::new(), end.clone());
            daemon.on("POST /v1/stacks/shop/attach", Answer::Print { text, exit });
            let run = home.run(args).ended_with(exit_code);
            assert!(run.err.contains(" no\n"), "{}", run.err);
        }
        for args in [&["exec", "web", "true"][..], &["start"], &["create"]] {
            home.run(args).ended_with(exit_code);
        }
    }
}

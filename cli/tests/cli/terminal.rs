//! What happens on a terminal: `script` gives the command one.

use std::process::{Command, Stdio};

use serde_json::json;

use crate::fake::{Answer, container, done, finished, log};
use crate::home::{Home, Run};

/// Runs a shell line on a terminal of 24 rows and 90 columns; `stack` is the
/// command.
fn on_terminal(home: &Home, line: &str, input: &str) -> Run {
    let line = format!(
        "stty rows 24 cols 90; {}",
        line.replace("stack", env!("CARGO_BIN_EXE_stack"))
    );
    let mut command = Command::new("script");
    command
        .args(["-qec", &line, "/dev/null"])
        .env_clear()
        .env("STACK_HOME", home.path())
        .env("PATH", "/usr/bin:/bin")
        .env("TERM", "xterm-256color")
        .env("SHELL", "/bin/sh")
        .current_dir(home.work())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("script, of util-linux");
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, input.as_bytes()).unwrap();
    let run = Run::of(child.wait_with_output().unwrap());
    drop(stdin);
    run
}

#[test]
fn exec_gets_a_terminal_and_gives_it_back() {
    let home = Home::new();
    let daemon = home.daemon();
    let exit = json!({"code": 5, "signal": null, "oom": false, "error": null});
    daemon.on(
        "POST /v1/stacks/shop/exec",
        Answer::Print {
            text: b"hello\r\n".to_vec(),
            exit,
        },
    );
    let run = on_terminal(&home, "stack exec web sh; echo code $?; stty -a", "");
    let body = daemon.wait_for("POST /v1/stacks/shop/exec").body;
    assert_eq!(body["tty"], true);
    assert_eq!(body["size"], json!([24, 90]));
    assert!(run.out.contains("hello"), "{}", run.out);
    assert!(run.out.contains("code 5"), "{}", run.out);
    let modes: Vec<&str> = run.out.split([' ', ';', '\r', '\n']).collect();
    assert!(
        modes.contains(&"icanon") && modes.contains(&"echo"),
        "{}",
        run.out
    );
}

#[test]
fn exec_gives_the_terminal_back_after_a_broken_connection() {
    let home = Home::new();
    home.daemon().on("POST /v1/stacks/shop/exec", Answer::Break);
    let run = on_terminal(&home, "stack exec web sh; echo code $?; stty -a", "");
    assert!(run.out.contains("code 21"), "{}", run.out);
    let modes: Vec<&str> = run.out.split([' ', ';', '\r', '\n']).collect();
    assert!(
        modes.contains(&"icanon") && modes.contains(&"opost"),
        "{}",
        run.out
    );
}

#[test]
fn progress_ends_as_still_lines_and_the_echo_comes_back() {
    let home = Home::new();
    home.daemon().on(
        "PUT /v1/stacks/shop",
        Answer::Lines(vec![
            json!({"type": "layer", "image": "db:1", "layer": "abc", "phase": "downloading",
                   "done": 5, "total": 10}),
            finished("image", "db:1", "pulled"),
            finished("container", "shop-db-1", "started"),
            done(),
        ]),
    );
    let run = on_terminal(&home, "stack up -d; stty -a", "");
    let text = run.out.replace("\u{1b}[0m", "").replace("\u{1b}[32m", "");
    assert!(
        text.contains(" ✔ \u{1b}[2mcontainer shop-db-1     started"),
        "{text:?}"
    );
    let modes: Vec<&str> = run.out.split([' ', ';', '\r', '\n']).collect();
    assert!(modes.contains(&"echo"), "{}", run.out);
}

#[test]
fn a_guest_cannot_speak_to_the_terminal() {
    let home = Home::new();
    home.daemon().containers(&[container("db", "running")]).on(
        "GET /v1/stacks/shop/logs",
        Answer::Lines(vec![log("db", "a\u{1b}]52;c;aGk=\u{7}b")]),
    );
    let run = on_terminal(&home, "stack logs", "");
    assert!(run.out.ends_with(" ab\r\n"), "{:?}", run.out);
}

//! Starting the daemon when nobody listens.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use crate::fake::{Fake, container};
use crate::home::{Home, Run};

/// A copy of the command beside which `stackd` is this script.
fn beside(home: &Home, script: &str) -> PathBuf {
    let program = alone(home);
    let stackd = program.with_file_name("stackd");
    let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$2\" && chmod 755 \"$2\"";
    shell(write, &[script.as_ref(), stackd.as_ref()]);
    program
}

/// A copy of the command in a directory of its own.
fn alone(home: &Home) -> PathBuf {
    let bin = home.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let program = bin.join("stack");
    let original = env!("CARGO_BIN_EXE_stack");
    shell("cp \"$1\" \"$2\"", &[original.as_ref(), program.as_ref()]);
    program
}

/// Programs are written by another process: a test beside this one may fork
/// at any moment, and its child would keep a program that this one writes
/// busy, so that it could not be run.
fn shell(line: &str, args: &[&OsStr]) {
    let status = Command::new("sh")
        .args(["-c", line, "sh"])
        .args(args)
        .status()
        .unwrap();
    assert!(status.success(), "{line}");
}

/// Runs this test binary as a daemon: only the test below, in another
/// process.
fn as_daemon() -> String {
    let exe = std::env::current_exe().unwrap();
    format!(
        "echo started >> \"$STACK_HOME/starts\"\n\
         exec env FAKE_HOME=\"$STACK_HOME\" {} --exact start::serve --ignored --nocapture",
        exe.display()
    )
}

#[test]
#[ignore = "not a test: the daemon of the tests below"]
fn serve() {
    let Some(home) = std::env::var_os("FAKE_HOME").map(PathBuf::from) else {
        return;
    };
    let lock = std::fs::File::create(home.join("data/lock")).unwrap();
    lock.lock().unwrap();
    // It has its name once it knows all answers.
    let early = home.join("run/early.sock");
    let fake = Fake::listen(&early);
    fake.containers(&[container("db", "running")]);
    std::fs::rename(early, home.join("run/stackd.sock")).unwrap();
    // Long enough for any test; nobody is left to end it.
    std::thread::sleep(std::time::Duration::from_secs(20));
}

#[test]
fn two_commands_at_once_start_one_daemon() {
    let home = Home::new();
    let program = beside(&home, &as_daemon());
    let children: Vec<_> = (0..4)
        .map(|_| home.command_of(&program, &["ps", "-q"]).spawn().unwrap())
        .collect();
    for child in children {
        let run = Run::of(child.wait_with_output().unwrap()).ended_with(0);
        assert_eq!(run.out.lines().count(), 1, "{run:?}");
    }
    let starts = std::fs::read_to_string(home.path().join("starts")).unwrap();
    assert_eq!(starts, "started\n");
    let log = std::fs::metadata(home.path().join("data/stackd.log")).unwrap();
    assert_eq!(log.permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_daemon_that_dies_is_quoted() {
    let home = Home::new();
    let script = "echo 'INFO hello' >&2; echo 'stackd: the kernel is missing' >&2; \
                  echo '  help: run make kernel' >&2; exit 1";
    let program = beside(&home, script);
    let run = Run::of(home.command_of(&program, &["ps"]).output().unwrap()).ended_with(21);
    assert_eq!(
        run.err,
        "daemon_failed\n  × stackd cannot be started: the kernel is missing\n  help: run make kernel\n"
    );
    let run = Run::of(home.command_of(&program, &["doctor"]).output().unwrap()).ended_with(1);
    assert!(run.out.contains("the kernel is missing"), "{}", run.out);
    assert!(run.out.contains("stackd.log"), "{}", run.out);
}

#[test]
fn a_stale_socket_does_not_hinder() {
    let home = Home::new();
    drop(std::os::unix::net::UnixListener::bind(home.socket()).unwrap());
    let script = format!("rm \"$STACK_HOME/run/stackd.sock\"\n{}", as_daemon());
    let program = beside(&home, &script);
    Run::of(home.command_of(&program, &["ps"]).output().unwrap()).ended_with(0);
}

#[test]
fn without_a_daemon_program_it_says_so() {
    let home = Home::new();
    let program = alone(&home);
    let run = Run::of(home.command_of(&program, &["ps"]).output().unwrap());
    let run = run.ended_with(21);
    assert!(
        run.err.contains("neither beside this program nor in PATH"),
        "{}",
        run.err
    );
}

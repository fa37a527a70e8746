//! The command-line reference, as one snapshot.

use crate::fake::Answer;
use crate::home::{Home, Run};

#[test]
fn reference() {
    let home = Home::new();
    let top = home.run(&["--help"]).ended_with(0).out;
    let names: Vec<&str> = top
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(names.len() > 15, "{names:?}");
    let mut reference = format!("$ stack --help\n{top}");
    for name in names {
        let help = home.run(&[name, "--help"]).ended_with(0).out;
        reference.push_str(&format!("\n$ stack {name} --help\n{help}"));
    }
    insta::assert_snapshot!(reference);
}

#[test]
fn exit_codes_are_documented() {
    let home = Home::new();
    let run = home.run(&["help", "exit-codes"]).ended_with(0);
    for code in [
        "14", "15", "16", "17", "18", "20", "21", "22", "23", "24", "130", "127",
    ] {
        assert!(run.out.contains(code), "{code} is missing in\n{}", run.out);
    }
}

#[test]
fn wrong_use_ends_with_two() {
    let home = Home::new();
    let run = home.run(&["upp"]).ended_with(2);
    assert!(run.err.contains("'up'"), "{}", run.err);
    home.run(&[]).ended_with(2);
}

#[test]
fn completions_know_the_commands() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish"] {
        let run = home.run(&["completion", shell]).ended_with(0);
        assert!(run.out.contains("exit-code-from"), "{shell}");
    }
}

#[test]
fn versions_with_and_without_a_daemon() {
    let home = Home::new();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        home.run(&["version", "--short"]).ended_with(0).out,
        format!("{version}\n")
    );
    let run = home.run(&["version"]).ended_with(0);
    assert!(run.out.contains("not running"), "{}", run.out);
    let _daemon = home.daemon();
    let run = home.run(&["version", "--format", "json"]).ended_with(0);
    let json: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(json["daemon"]["pid"], std::process::id());
}

#[test]
fn settings_that_the_daemon_has_otherwise_are_told() {
    let home = Home::new();
    let daemon = home.daemon();
    let version = serde_json::json!({"version": env!("CARGO_PKG_VERSION"), "api": 1, "pid": 77,
        "settings": {"STACK_NET": "dgram"}});
    daemon
        .on("GET /v1/version", Answer::Json(200, version))
        .containers(&[]);
    let run = |net: &str, image: &str| {
        let mut command = home.command(&["ps"]);
        command
            .env("STACK_NET", net)
            .env("STACK_BUILDER_IMAGE", image);
        Run::of(command.output().unwrap()).ended_with(0).err
    };
    let told = run("dgram", "team/buildah");
    assert!(
        told.contains("warning: STACK_BUILDER_IMAGE has no effect"),
        "{told}"
    );
    assert!(told.ends_with("kill 77\n"), "{told}");
    let told = run("", "");
    assert!(!told.contains("no effect"), "{told}");
}

//! The command-line reference, as one snapshot.

use crate::home::Home;

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

//! What is said about stack files, to people and to programs.

use serde_json::Value;

use crate::home::Home;

fn findings(err: &str) -> Vec<Value> {
    err.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

#[test]
fn every_command_that_reads_files_can_say_it_in_json() {
    let text = "version: '3'\nname: shop\nservices:\n  web:\n    imagee: nginx\n    gpus: all\n";
    let home = Home::with(text);
    let _daemon = home.daemon();
    for args in [
        &["config", "-q"][..],
        &["up", "-d"],
        &["plan"],
        &["ps"],
        &["pull"],
    ] {
        let args = [args, &["--diagnostics", "json"]].concat();
        let run = home.run(&args).ended_with(15);
        let found: Vec<Value> = findings(
            &run.err
                .lines()
                .filter(|line| line.starts_with('{'))
                .collect::<Vec<_>>()
                .join("\n"),
        );
        let codes: Vec<_> = found.iter().map(|f| f["code"].as_str().unwrap()).collect();
        assert!(
            codes.starts_with(&["W0401"]) && codes.contains(&"E0401"),
            "{args:?}: {codes:?}"
        );
        let unknown = found.iter().find(|f| f["code"] == "E0401").unwrap();
        assert_eq!(unknown["line"], 5);
        assert_eq!(unknown["column"], 5);
        assert!(unknown["file"].as_str().unwrap().ends_with("/stack.yaml"));
        // What only the daemon cannot do matters to commands that need it.
        let needs = matches!(args[0], "up" | "plan");
        assert_eq!(codes.contains(&"E0701"), needs, "{args:?}: {codes:?}");
    }
}

#[test]
fn warnings_come_with_a_good_file() {
    let home = Home::with("name: shop\nservices:\n  web:\n    image: web:${TAG}\n");
    let run = home
        .run(&["--diagnostics", "json", "config", "--images"])
        .ended_with(0);
    assert_eq!(run.out, "web:\n");
    let found = findings(&run.err);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["severity"], "warning");
    assert_eq!(found[0]["labels"][0]["text"], "replaced by nothing");
}

#[test]
fn a_file_that_is_not_there_is_said_in_json_too() {
    let home = Home::new();
    let run = home
        .run(&["-f", "none.yaml", "config", "--diagnostics", "json"])
        .ended_with(14);
    let found = findings(&run.err);
    assert_eq!(found[0]["code"], "no_stack_file");
    assert_eq!(found[0]["file"], Value::Null);
}

#[test]
fn people_are_told_where_to_read_more() {
    let home = Home::with("services:\n  web:\n    imagee: nginx\n");
    let run = home.run(&["config"]).ended_with(15);
    assert!(
        run.err.contains("`stack explain E0401` tells more"),
        "{}",
        run.err
    );
    let run = home.run(&["explain", "e0401"]).ended_with(0);
    assert!(
        run.out.starts_with("E0401  The attribute does not exist\n"),
        "{}",
        run.out
    );
    let all = home.run(&["explain"]).ended_with(0).out;
    assert!(all.lines().count() > 40 && all.contains("W0701"), "{all}");
    let run = home.run(&["explain", "E4010"]).ended_with(2);
    assert!(run.err.contains("did you mean"), "{}", run.err);
}

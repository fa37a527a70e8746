//! Stack files: which are found, and what is said about broken ones.

use serde_json::json;

use crate::fake::{Answer, container, done};
use crate::home::{Home, Run};

const DOWN: &str = "POST /v1/stacks/shop/down";

#[test]
fn a_broken_file_is_shown_and_the_daemon_left_alone() {
    let home = Home::with("name: shop\nservices:\n  web:\n    imagee: nginx\n");
    let daemon = home.daemon();
    let run = home.run(&["up", "-d"]).ended_with(15);
    assert!(run.err.contains("stack.yaml:4:5"), "{}", run.err);
    assert!(run.err.contains("did you mean `image`?"), "{}", run.err);
    assert!(daemon.seen("").is_empty());
    let run = home.run(&["config"]).ended_with(15);
    assert_eq!(run.out, "");
}

#[test]
fn files_that_are_not_there() {
    let home = Home::new();
    let run = home.run(&["-f", "none.yaml", "config"]).ended_with(14);
    assert!(run.err.contains("there is no file"), "{}", run.err);
    std::fs::remove_file(home.work().join("stack.yaml")).unwrap();
    let run = home.run(&["config"]).ended_with(14);
    assert!(run.err.contains("there is no stack file in"), "{}", run.err);
}

#[test]
fn the_name_works_where_the_file_is_broken() {
    let home = Home::with("services: 7\n");
    let daemon = home.daemon();
    daemon
        .containers(&[])
        .on("POST /v1/stacks/shop/down", Answer::Lines(vec![done()]));
    let run = home.run(&["down"]).ended_with(15);
    assert!(run.err.contains("-p NAME"), "{}", run.err);
    let run = home.run(&["-p", "shop", "down"]).ended_with(0);
    assert_eq!(run.err, "stack shop has no containers\n");
}

#[test]
fn a_name_on_the_command_line_does_without_the_file_of_the_directory() {
    let home = Home::new();
    let daemon = home.daemon();
    daemon
        .containers(&[container("other", "running")])
        .on(DOWN, Answer::Lines(vec![done()]));
    let known = |name: &str, value: &str, args: &[&str]| {
        let run = Run::of(home.command(args).env(name, value).output().unwrap());
        run.ended_with(0);
        let body = daemon.wait_for(DOWN).body;
        (
            body["services_known"].clone(),
            body["volumes_known"].clone(),
        )
    };
    let nothing = (json!([]), json!(null));
    let file = (json!(["db", "web"]), json!([]));
    let by_name = ["-p", "shop", "down", "-v"];
    assert_eq!(known("A", "b", &by_name), nothing);
    assert_eq!(known("COMPOSE_FILE", "stack.yaml", &by_name), nothing);
    assert_eq!(known("COMPOSE_FILE", "none.yaml", &by_name), nothing);
    let both = ["-f", "stack.yaml", "-p", "shop", "down", "-v"];
    assert_eq!(known("A", "b", &both), file);
    let name = "COMPOSE_PROJECT_NAME";
    assert_eq!(known(name, "shop", &["down", "-v"]), file);
    assert_eq!(known(name, "shop", &["-p", "", "down", "-v"]), file);
    // What has to be made needs the file.
    let run = home.run(&["-p", "shop", "config", "--services"]);
    assert_eq!(run.ended_with(0).out, "db\nweb\n");
}

#[test]
fn a_file_on_the_command_line_is_not_passed_over() {
    let home = Home::new();
    let daemon = home.daemon();
    daemon
        .containers(&[container("db", "running")])
        .on(DOWN, Answer::Lines(vec![done()]));
    std::fs::write(home.work().join("broken.yaml"), "services: 7\n").unwrap();
    let down = |file: &str, name: &[&str]| {
        let args = [&["-f", file], name, &["down", "-v"]].concat();
        let mut command = home.command(&args);
        Run::of(
            command
                .env("COMPOSE_PROJECT_NAME", "shop")
                .output()
                .unwrap(),
        )
    };
    for name in [&["-p", "shop"][..], &[]] {
        let run = down("typo.yaml", name).ended_with(14);
        assert!(run.err.contains("there is no file"), "{}", run.err);
        let run = down("broken.yaml", name).ended_with(15);
        assert!(run.err.contains("-p NAME without -f"), "{}", run.err);
    }
    assert!(daemon.seen(DOWN).is_empty());
    // Nobody named these on the command line.
    for file in ["typo.yaml", "broken.yaml"] {
        let mut command = home.command(&["down"]);
        command
            .env("COMPOSE_PROJECT_NAME", "shop")
            .env("COMPOSE_FILE", file);
        let run = Run::of(command.output().unwrap()).ended_with(0);
        assert!(run.err.starts_with("warning: "), "{}", run.err);
    }
    std::fs::remove_file(home.work().join("stack.yaml")).unwrap();
    let mut command = home.command(&["down"]);
    command.env("COMPOSE_PROJECT_NAME", "shop");
    let run = Run::of(command.output().unwrap()).ended_with(0);
    assert!(!run.err.contains("warning"), "{}", run.err);
}

#[test]
fn the_model_is_data_and_warnings_are_talk() {
    let home = Home::with("name: shop\nservices:\n  web:\n    image: web:${TAG}\n");
    let run = home.run(&["config", "--images"]).ended_with(0);
    assert_eq!(run.out, "web:\n");
    assert!(run.err.contains("TAG"), "{}", run.err);
    let run = home.run(&["config", "--format", "json"]).ended_with(0);
    let model: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(model["services"]["web"]["image"], "web:");
    let run = home
        .run(&["config", "--no-interpolate", "--images"])
        .ended_with(0);
    assert_eq!((run.out.as_str(), run.err.as_str()), ("web:${TAG}\n", ""));
}

#[test]
fn standard_input_and_several_files() {
    let home = Home::new();
    let input = b"name: other\nservices:\n  one: {image: a}\n";
    let run = home
        .run_with_input(&["-f", "-", "config", "--services"], input)
        .ended_with(0);
    assert_eq!(run.out, "one\n");
    std::fs::write(
        home.work().join("more.yaml"),
        "services:\n  cache: {image: c}\n",
    )
    .unwrap();
    let run = home.run(&[
        "-f",
        "stack.yaml",
        "config",
        "-f",
        "more.yaml",
        "--services",
    ]);
    assert_eq!(run.ended_with(0).out, "cache\ndb\nweb\n");
    let output = home
        .command(&["config", "--services"])
        .env("COMPOSE_FILE", "stack.yaml:more.yaml")
        .output();
    assert_eq!(output.unwrap().stdout, b"cache\ndb\nweb\n");
}

#[test]
fn output_into_a_file_and_hashes() {
    let home = Home::new();
    home.run(&["config", "-o", "out.yaml"]).ended_with(0);
    let text = std::fs::read_to_string(home.work().join("out.yaml")).unwrap();
    assert!(text.starts_with("name: shop\n"), "{text}");
    let run = home.run(&["config", "--hash", "*"]).ended_with(0);
    let hashes: Vec<Vec<&str>> = run.out.lines().map(|l| l.split(' ').collect()).collect();
    assert_eq!((hashes[0][0], hashes[1][0]), ("db", "web"));
    assert!(hashes.iter().all(|line| line[1].len() == 64), "{}", run.out);
    home.run(&["config", "--hash", "nope"]).ended_with(2);
    home.run(&["config", "-q"]).ended_with(0);
}

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

/// A daemon that has containers of the stack, and refuses to run one more.
fn refusing(home: &Home) -> crate::fake::Fake {
    let daemon = home.daemon();
    let failed = json!({"type": "failed", "code": "internal", "message": "enough",
                        "help": null, "exit_code": 1});
    daemon
        .containers(&[])
        .on("POST /v1/stacks/shop/run", Answer::Lines(vec![failed]))
        .on("POST /v1/stacks/shop/down", Answer::Lines(vec![done()]))
        .on("POST /v1/images/remove", Answer::Json(200, json!({})));
    daemon
}

#[test]
fn standard_input_is_the_same_each_time_it_is_read() {
    let home = Home::new();
    let daemon = refusing(&home);
    let input = b"services:\n  web: {image: 'web:2', environment: {FROM: input}}\n";
    let files = ["-f", "stack.yaml", "-f", "-"];
    let args = [&files[..], &["run", "--no-deps", "web"]].concat();
    home.run_with_input(&args, input).ended_with(1);
    let body = daemon.wait_for("POST /v1/stacks/shop/run").body;
    assert_eq!(body["service"]["image"], json!("web:2"));
    assert_eq!(body["service"]["environment"], json!({"FROM": "input"}));
    let args = [&files[..], &["down", "--rmi", "all"]].concat();
    home.run_with_input(&args, input).ended_with(0);
    let removed = daemon.seen("POST /v1/images/remove");
    let images: Vec<_> = removed.iter().map(|seen| &seen.body["images"][0]).collect();
    assert_eq!(images, ["db:1", "web:2"]);
}

#[test]
fn an_override_of_another_name_is_merged_and_a_second_one_told() {
    let home = Home::new();
    let work = |name: &str| home.work().join(name);
    std::fs::rename(work("stack.yaml"), work("compose.yaml")).unwrap();
    let image = |tag: &str| format!("services:\n  db: {{image: 'db:{tag}'}}\n");
    std::fs::write(work("docker-compose.override.yml"), image("old")).unwrap();
    let run = home.run(&["config", "--images"]).ended_with(0);
    assert_eq!(
        (run.out.as_str(), run.err.as_str()),
        ("db:old\nweb:1\n", "")
    );
    std::fs::write(work("compose.override.yml"), image("new")).unwrap();
    let run = home.run(&["config", "--images"]).ended_with(0);
    assert_eq!(run.out, "db:new\nweb:1\n");
    let told = "warning: docker-compose.override.yml is not read, for compose.override.yml comes \
                first: name the files with -f, or remove one\n";
    assert_eq!(run.err, told);
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
    home.run(&["config", "--hash", "nope"]).ended_with(15);
    home.run(&["config", "-q"]).ended_with(0);
}

/// Its `worker` lacks a file, and its `logs` asks for what no machine can have.
const UNFIT: &str = "\
name: shop
services:
  web: {image: 'web:1', build: .}
  worker: {image: 'worker:1', env_file: gone.env}
  logs: {image: 'logs:1', volumes: ['/var/run/docker.sock:/s']}
";

#[test]
fn services_that_nobody_asks_for_are_no_obstacle() {
    let home = Home::with(UNFIT);
    let daemon = refusing(&home);
    daemon
        .on("PUT /v1/stacks/shop", Answer::Lines(vec![done()]))
        .on("POST /v1/stacks/shop/build", Answer::Lines(vec![done()]))
        .on("POST /v1/images/pull", Answer::Lines(vec![done()]));
    let run = home.run(&["up", "-d", "web"]).ended_with(0);
    assert!(!run.err.contains("gone.env"), "{}", run.err);
    let body = daemon.wait_for("PUT /v1/stacks/shop").body;
    let services: Vec<_> = body["spec"]["services"]
        .as_object()
        .unwrap()
        .keys()
        .collect();
    assert_eq!(services, ["web"]);
    assert_eq!(body["spec"]["unresolved"], json!(["logs", "worker"]));
    home.run(&["run", "--no-deps", "web"]).ended_with(1);
    let body = daemon.wait_for("POST /v1/stacks/shop/run").body;
    assert_eq!(body["service"]["name"], json!("web"));
    let run = home.run(&["up", "-d"]).ended_with(15);
    for part in ["gone.env", "docker.sock"] {
        assert!(run.err.contains(part), "{}", run.err);
    }
    home.run(&["up", "-d", "worker"]).ended_with(15);
    home.run(&["run", "logs"]).ended_with(15);
}

#[test]
fn images_and_lists_need_no_environment() {
    let home = Home::with(UNFIT);
    let daemon = home.daemon();
    for call in ["images/pull", "images/push", "stacks/shop/build"] {
        daemon.on(&format!("POST /v1/{call}"), Answer::Lines(vec![done()]));
    }
    home.run(&["pull"]).ended_with(0);
    let body = daemon.wait_for("POST /v1/images/pull").body;
    assert_eq!(body["images"], json!(["logs:1", "web:1", "worker:1"]));
    home.run(&["build"]).ended_with(0);
    let body = daemon.wait_for("POST /v1/stacks/shop/build").body;
    assert_eq!(body["services"], json!(["web"]));
    home.run(&["push"]).ended_with(0);
    let body = daemon.wait_for("POST /v1/images/push").body;
    assert_eq!(body["images"], json!(["web:1"]));
    for list in ["--services", "--images", "--volumes", "--profiles"] {
        home.run(&["config", list]).ended_with(0);
    }
    // What would be shown or counted has to be there.
    for known in [&["config", "web"][..], &["config", "--hash", "web,logs"]] {
        home.run(known).ended_with(0);
    }
    for unknown in [&["config"][..], &["config", "--hash", "*"]] {
        let run = home.run(unknown).ended_with(15);
        assert!(run.err.contains("gone.env"), "{}", run.err);
    }
}

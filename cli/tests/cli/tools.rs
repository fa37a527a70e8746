//! The commands around a stack file: graph, schema, fmt, lint, convert, init.

use serde_json::{Value, json};

use crate::fake::{Answer, container};
use crate::home::Home;

#[test]
fn the_graph_is_shown_with_and_without_a_daemon() {
    let home = Home::new();
    let run = home.run(&["graph"]).ended_with(0);
    assert_eq!(
        run.out,
        "\
shop
└── web
    ├── image web:1
    ├── network default
    └── db  when started
        ├── image db:1
        └── network default
"
    );
    assert!(
        !home.path().join("run/stackd.sock").exists(),
        "it was not started"
    );
    let daemon = home.daemon();
    let mut web = container("web", "running");
    web["health"] = json!("healthy");
    daemon.containers(&[web, container("db", "exited")]);
    let run = home.run(&["graph", "--services"]).ended_with(0);
    assert!(
        run.out.contains("└── web  running (healthy)\n"),
        "{}",
        run.out
    );
    assert!(
        run.out.contains("db  when started  exited\n"),
        "{}",
        run.out
    );
    assert_eq!(daemon.seen("").len(), 1, "one call");
    // A daemon that cannot answer is no obstacle.
    daemon.on(
        "GET /v1/stacks/shop/containers",
        Answer::Json(500, json!({})),
    );
    home.run(&["graph"]).ended_with(0);
}

#[test]
fn the_graph_has_several_forms() {
    let home = Home::new();
    let run = home
        .run(&["graph", "--format", "json", "web"])
        .ended_with(0);
    let json: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(json["nodes"].as_array().unwrap().len(), 5);
    let run = home.run(&["graph", "--format", "json", "db"]).ended_with(0);
    let json: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(json["nodes"].as_array().unwrap().len(), 3);
    home.run(&["graph", "--format", "svg", "-o", "s.svg"])
        .ended_with(0);
    let svg = std::fs::read_to_string(home.work().join("s.svg")).unwrap();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    for (format, start) in [("dot", "digraph \"shop\" {"), ("mermaid", "flowchart LR\n")] {
        let run = home.run(&["graph", "--format", format]).ended_with(0);
        assert!(run.out.starts_with(start), "{}", run.out);
    }
}

#[test]
fn the_schema_is_json() {
    let home = Home::new();
    let run = home.run(&["schema"]).ended_with(0);
    let schema: Value = serde_json::from_str(&run.out).unwrap();
    assert!(schema["properties"]["services"]["description"].is_string());
    home.run(&["schema", "-o", "s.json"]).ended_with(0);
    assert_eq!(
        std::fs::read_to_string(home.work().join("s.json")).unwrap(),
        run.out
    );
}

#[test]
fn files_are_formatted_once() {
    let home = Home::with("name:   shop # mine\nservices:\n    a:\n        image: 'x:1'\n");
    let run = home.run(&["fmt", "--check"]).ended_with(1);
    assert_eq!(run.out, "stack.yaml\n");
    let run = home.run(&["fmt", "--diff"]).ended_with(0);
    assert!(run.out.contains("-name:   shop # mine\n"), "{}", run.out);
    assert!(run.out.contains("+    image: \"x:1\"\n"), "{}", run.out);
    home.run(&["fmt"]).ended_with(0);
    let text = std::fs::read_to_string(home.work().join("stack.yaml")).unwrap();
    assert_eq!(
        text,
        "name: shop # mine\nservices:\n  a:\n    image: \"x:1\"\n"
    );
    let run = home.run(&["fmt", "--check", "--diff"]).ended_with(0);
    assert_eq!((run.out.as_str(), run.err.as_str()), ("", ""));
    let run = home
        .run_with_input(&["fmt", "-"], b"a:   1\n")
        .ended_with(0);
    assert_eq!(run.out, "a: 1\n");
}

#[test]
fn what_cannot_be_formatted_stays() {
    let home = Home::with("a: [1\n");
    let run = home.run(&["fmt"]).ended_with(15);
    assert!(run.err.contains("stack.yaml:1:4"), "{}", run.err);
    std::fs::write(home.work().join("b.yaml"), "a: |+\n  x\n\n\nb:   1\n").unwrap();
    let run = home.run(&["fmt", "b.yaml"]).ended_with(1);
    assert!(run.err.contains("left as it is"), "{}", run.err);
    home.run(&["fmt", "none.yaml"]).ended_with(14);
}

#[test]
fn lints_are_found_silenced_and_put_right() {
    let home = Home::with("name: shop\nservices:\n  a:\n    image: x\n    ports: [22:22]\n");
    let run = home.run(&["lint"]).ended_with(1);
    for part in ["L0001", "L0017", "stack.yaml:4:12", "2 findings"] {
        assert!(run.err.contains(part), "{part} is not in {}", run.err);
    }
    let run = home
        .run(&["lint", "--format", "json", "--allow", "L0001"])
        .ended_with(1);
    let line: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(
        (&line["code"], &line["line"], &line["column"]),
        (&json!("L0017"), &json!(5), &json!(13))
    );
    home.run(&["lint", "--allow", "L9"]).ended_with(2);
    home.run(&["lint", "--fix", "--allow", "L0001"])
        .ended_with(0);
    let text = std::fs::read_to_string(home.work().join("stack.yaml")).unwrap();
    assert!(text.ends_with("ports: [\"22:22\"]\n"), "{text}");
    assert!(
        home.run(&["lint", "--list"])
            .ended_with(0)
            .out
            .lines()
            .count()
            > 15
    );
    std::fs::write(home.work().join("stack.yaml"), "services: 1\n").unwrap();
    home.run(&["lint"]).ended_with(15);
}

#[test]
fn docker_run_is_converted_there_and_back() {
    let home = Home::new();
    let words = [
        "convert", "docker", "run", "-d", "--rm", "--name", "web", "-p", "80:80", "nginx:1", "-c",
        "$x",
    ];
    let run = home.run(&words).ended_with(0);
    assert!(run.out.contains("  web:\n"), "{}", run.out);
    assert!(run.out.contains("- $$x\n"), "{}", run.out);
    assert!(run.err.contains("--rm has no counterpart"), "{}", run.err);
    let run = home
        .run_with_input(&["convert"], b"docker run \\\n  -e 'A=b c' x:1\n")
        .ended_with(0);
    assert!(run.out.contains("A: b c\n"), "{}", run.out);
    assert_eq!(
        home.run(&["convert", "docker run -e 'A=b c' x:1"])
            .ended_with(0)
            .out,
        run.out
    );
    let run = home
        .run(&["convert", "--to", "docker-run", "db"])
        .ended_with(0);
    assert!(
        run.out.contains("--name shop-db-1") && !run.out.contains("shop-web-1"),
        "{}",
        run.out
    );
    home.run(&["convert", "docker run x:1", "-o", "out.yaml"])
        .ended_with(0);
    let text = std::fs::read_to_string(home.work().join("out.yaml")).unwrap();
    assert!(text.contains("image: x:1\n"), "{text}");
    let run = home
        .run(&["convert", "web", "--to", "docker-run"])
        .ended_with(0);
    assert!(run.out.contains("--name shop-web-1"), "{}", run.out);
    home.run(&["convert", "docker run x:1", "--frob"])
        .ended_with(2);
    home.run(&["convert", "ls"]).ended_with(2);
    home.run(&["convert", "--to", "docker-run", "nope"])
        .ended_with(15);
}

#[test]
fn a_stack_file_is_written_once() {
    let home = Home::new();
    let run = home.run(&["init", "--template", "redis"]).ended_with(2);
    assert!(
        run.err.contains("there is a stack file already"),
        "{}",
        run.err
    );
    let folder = home.work().join("My App");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(
        folder.join("package.json"),
        r#"{"dependencies": {"pg": "8"}}"#,
    )
    .unwrap();
    let run = home.run(&["init", "My App"]).ended_with(0);
    assert!(run.err.contains("found package.json"), "{}", run.err);
    let file = folder.join("stack.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(
        text.contains("name: myapp\n") && text.contains("  postgres:\n"),
        "{text}"
    );
    let path = file.to_str().unwrap();
    for command in ["config", "lint", "fmt"] {
        let run = home.run(&["-f", path, command]).ended_with(0);
        assert!(!run.err.contains("W0"), "{}", run.err);
    }
    home.run(&["init", "My App"]).ended_with(2);
    home.run(&["init", "My App", "--template", "web", "--force"])
        .ended_with(0);
    assert!(std::fs::read_to_string(&file).unwrap().contains("nginx"));
    let run = home
        .run(&["init", "--stdout", "--template", "mysql", "-p", "x"])
        .ended_with(0);
    assert!(run.out.contains("name: x\n"), "{}", run.out);
    home.run(&["init", "--template", "nope", "--stdout"])
        .ended_with(2);
}

/// `config` shows what Compose would run; this says what will not run here.
#[test]
fn lint_finds_what_cannot_be_run() {
    let home = Home::with(
        "name: shop\nservices:\n  web:\n    image: web:1\n    network_mode: host\n  gpu:\n    \
         image: web:1\n    network_mode: host\n    profiles: [gpu]\n",
    );
    let run = home.run(&["lint"]).ended_with(15);
    assert!(run.err.contains("stack.yaml:5"), "{}", run.err);
    assert!(!run.err.contains("stack.yaml:8"), "{}", run.err);
    let run = home.run(&["--profile", "gpu", "lint"]).ended_with(15);
    assert!(run.err.contains("stack.yaml:8"), "{}", run.err);
}

//! `stack watch`

use std::io::{BufRead, BufReader};
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::fake::{Answer, Fake, container, done};
use crate::home::{Home, signal};

const UP: &str = "PUT /v1/stacks/shop";
const PLAN: &str = "POST /v1/stacks/shop/plan";
const SPEC: &str = "GET /v1/stacks/shop";
const EXEC: &str = "POST /v1/stacks/shop/exec";

const STACK: &str = "\
name: shop
services:
  web:
    build: .
    environment: {COLOUR: red}
    develop:
      watch: [{path: ./src, action: rebuild}]
";

/// A command that watches, and what it has said so far.
struct Watching {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Watching {
    fn begin(home: &Home, args: &[&str]) -> Watching {
        let mut child = home.spawn(args);
        let said = Arc::new(Mutex::new(String::new()));
        let (lines, to) = (BufReader::new(child.stderr.take().unwrap()), said.clone());
        std::thread::spawn(move || {
            for line in lines.lines() {
                let mut said = to.lock().unwrap();
                said.push_str(&line.unwrap());
                said.push('\n');
            }
        });
        Watching { child, said }
    }

    fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits until it has said something so often.
    #[track_caller]
    fn says(&self, text: &str, times: usize) {
        let began = Instant::now();
        while self.said().matches(text).count() < times {
            let said = self.said();
            assert!(began.elapsed() < Duration::from_secs(20), "{text}: {said}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ctrl-C, which is how it ends.
    #[track_caller]
    fn end(mut self) -> String {
        signal(&self.child, "INT");
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        self.said()
    }
}

fn project(stack: &str) -> (Home, Fake) {
    let home = Home::with(stack);
    std::fs::create_dir(home.work().join("src")).unwrap();
    std::fs::write(home.work().join("src/a"), "1").unwrap();
    let daemon = home.daemon();
    let empty = json!({"steps": [], "orphans": [], "unchanged": []});
    daemon
        .on(UP, Answer::Lines(vec![done()]))
        .on(PLAN, Answer::Json(200, empty))
        .on("GET /v1/images", Answer::Json(200, json!([])))
        .containers(&[container("web", "running")]);
    (home, daemon)
}

fn write(home: &Home, name: &str, text: &str) {
    std::fs::write(home.work().join(name), text).unwrap();
}

#[test]
fn a_save_of_the_stack_file_rebuilds_nothing() {
    let (home, daemon) = project(STACK);
    let watching = Watching::begin(&home, &["watch"]);
    watching.says("watching ", 1);
    write(&home, "stack.yaml", &format!("{STACK}# a remark\n"));
    watching.says("nothing to do", 1);
    watching.says("watching ", 2);
    // Mistakes are shown, and are no end; nobody asks the daemon about the old file.
    write(&home, "stack.yaml", &format!("{STACK} - bad"));
    watching.says("the old stack file stays in force", 1);
    watching.says("watching ", 3);
    let pattern = STACK.replace("action: rebuild", "action: rebuild, ignore: ['[a']");
    write(&home, "stack.yaml", &pattern);
    watching.says("the old rules stay in force", 1);
    watching.says("watching ", 4);
    write(&home, "stack.yaml", STACK);
    watching.says("watching ", 5);
    assert_eq!(daemon.seen(PLAN).len(), 3);
    // Whatever was sent by mistake would have come by now.
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(daemon.seen(UP).len(), 1, "{}", watching.said());
    write(&home, "src/a", "2");
    watching.says("rebuilt: a", 1);
    let said = watching.end();
    assert_eq!(daemon.seen(UP).len(), 2, "{said}");
}

#[test]
fn a_rebuild_is_one_of_what_is_in_force() {
    let (home, daemon) = project(STACK);
    let watching = Watching::begin(&home, &["watch"]);
    watching.says("watching ", 1);
    let spec = daemon.wait_for(UP).body["spec"].clone();
    daemon.on(SPEC, Answer::Json(200, spec));
    let step = json!({
        "action": {"type": "create", "service": "web", "number": 1, "name": "shop-web-1"},
        "reason": {"type": "missing"}, "after": [], "wait_for": [],
    });
    let plan = json!({"steps": [step], "orphans": [], "unchanged": []});
    daemon.on(PLAN, Answer::Json(200, plan));
    let blue = STACK
        .replace("red", "blue")
        .replace("build: .", "build: {context: ., args: {A: b}}");
    write(&home, "stack.yaml", &blue);
    // Nobody is there to be asked.
    watching.says("not applied", 1);
    watching.says("watching ", 2);
    write(&home, "src/a", "2");
    watching.says("rebuilt", 1);
    let said = watching.end();
    let orders = daemon.seen(UP);
    assert_eq!(orders.len(), 2, "{said}");
    let order = orders[1].body.to_string();
    assert!(order.contains("red") && !order.contains("blue"), "{order}");
    assert_eq!(orders[1].body["builds"]["web"]["args"], json!({}));
}

#[test]
fn files_that_are_not_there_yet_are_stack_files_too() {
    let (home, daemon) = project(STACK);
    let watching = Watching::begin(&home, &["watch", "--no-up"]);
    watching.says("watching ", 1);
    let with_env = STACK.replace("{COLOUR: red}", "{COLOUR: '${COLOUR:-red}'}");
    write(&home, "stack.yaml", &with_env);
    watching.says("watching ", 2);
    write(&home, ".env", "COLOUR=green\n");
    watching.says("watching ", 3);
    let asked = daemon.seen(PLAN).pop().unwrap().body.to_string();
    assert!(asked.contains("green"), "{asked}");
    write(
        &home,
        "stack.yaml",
        &format!("{STACK}include: [more.yaml]\n"),
    );
    watching.says("the old stack file stays in force", 1);
    watching.says("watching ", 4);
    write(&home, "more.yaml", "services: {db: {image: 'db:1'}}\n");
    watching.says("watching ", 5);
    let asked = daemon.seen(PLAN).pop().unwrap().body.to_string();
    assert!(asked.contains("db:1"), "{asked}");
    watching.end();
}

#[test]
fn a_command_runs_alone_where_the_files_are_mounted() {
    let stack = "\
name: shop
services:
  web:
    image: web:1
    volumes: [./src:/app]
    develop:
      watch: [{path: ./src, target: /app, action: sync+exec, exec: {command: [reload]}}]
";
    let (home, daemon) = project(stack);
    let exit = json!({"code": 0, "signal": null, "oom": false, "error": null});
    let stderr = b"one\ntwo".to_vec();
    daemon.on(EXEC, Answer::Exec { stderr, exit });
    for quiet in [false, true] {
        let args: &[&str] = match quiet {
            true => &["watch", "--quiet"],
            false => &["watch"],
        };
        let before = daemon.seen(EXEC).len();
        let ups = daemon.seen(UP).len();
        let watching = Watching::begin(&home, args);
        while daemon.seen(UP).len() == ups {
            std::thread::sleep(Duration::from_millis(10));
        }
        std::thread::sleep(Duration::from_millis(500));
        // It may not watch yet: another change then.
        let mut size = if quiet { 2 } else { 3 };
        while daemon.seen(EXEC).len() == before {
            assert!(size < 40, "nothing was run");
            write(&home, "src/a", &"x".repeat(size));
            size += 2;
            for _ in 0..300 {
                if daemon.seen(EXEC).len() > before {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        if !quiet {
            watching.says("web exec reload", 1);
        }
        std::thread::sleep(Duration::from_millis(300));
        let said = watching.end();
        let seen = &daemon.seen(EXEC)[before..];
        assert_eq!(seen.len(), 1, "{said}");
        assert_eq!(seen[0].body["args"], json!(["reload"]));
        assert_eq!(said.contains("web | one\nweb | two\n"), !quiet, "{said}");
        assert_eq!(said.contains("exec"), !quiet, "{said}");
    }
}

#[test]
fn what_cannot_be_watched_is_refused() {
    let rule = "    develop: {watch: [{path: ./src, action: rebuild}]}\n";
    let (home, _daemon) = project(&format!(
        "name: shop\nservices:\n  web:\n    image: web:1\n{rule}"
    ));
    let run = home.run(&["watch", "--no-up"]).ended_with(2);
    assert!(run.err.contains("has no `build`"), "{}", run.err);
    write(&home, "stack.yaml", STACK);
    let run = home.run(&["up", "--watch", "--no-build"]).ended_with(2);
    assert!(run.err.contains("--no-build"), "{}", run.err);
}

//! `stack config`, and what decides which files it reads.

use serde_json::json;

use crate::fake::{Answer, done, finished};
use crate::home::{Home, Run};

const RESOLVE: &str = "POST /v1/images/resolve";
const DIGEST: &str = "sha256:4a98ef4c0f9f1fdc0b27a099aa89f73e32a4979e9986591b7cfc3107b75c89b7";

#[test]
fn variables_and_the_environment() {
    let home = Home::with(
        "name: shop\nservices:\n  web:\n    image: web:${TAG:-1}\n    \
         command: [\"${SAY:?words}\", \"$$HOME\", \"${ON:+yes}\"]\nmodels:\n  m: {model: x}\n",
    );
    std::fs::write(home.work().join(".env"), "SAY='hello you'\n").unwrap();
    let run = home.run(&["config", "--variables"]).ended_with(0);
    let table = "\
NAME                REQUIRED            DEFAULT VALUE       ALTERNATE VALUE
ON                  false                                   yes
SAY                 true                                    \n\
TAG                 false               1                   \n";
    assert_eq!(run.out, table);
    let run = home
        .run(&["config", "--variables", "--format=json"])
        .ended_with(0);
    let all: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(
        all["TAG"],
        json!({"Name": "TAG", "DefaultValue": "1", "PresenceValue": "", "Required": false})
    );
    let run = home.run(&["config", "--environment"]).ended_with(0);
    let lines: Vec<&str> = run.out.lines().collect();
    assert!(lines.is_sorted(), "{}", run.out);
    assert!(lines.contains(&"COMPOSE_PROJECT_NAME=shop"), "{}", run.out);
    assert!(lines.contains(&"SAY=hello you"), "{}", run.out);
    assert!(
        lines.iter().any(|line| line.starts_with("PWD=/")),
        "{}",
        run.out
    );
    let models = ["config", "--models", "--no-interpolate"];
    assert_eq!(home.run(&models).ended_with(0).out, "x\n");
    home.run(&["config", "--models", "--images"]).ended_with(2);
}

#[test]
fn digests_come_from_registries() {
    let home = Home::with(
        "name: shop\nservices:\n  web: {image: web, environment: {A: b}}\n  \
         done: {image: \"x@sha256:0\"}\n  own: {build: .}\n",
    );
    let daemon = home.daemon();
    let found = json!([{"reference": "web", "name": "docker.io/library/web:latest",
                        "digest": DIGEST}]);
    daemon.on(RESOLVE, Answer::Json(200, found));
    let run = home
        .run(&["config", "--resolve-image-digests"])
        .ended_with(0);
    let pinned = format!("image: docker.io/library/web:latest@{DIGEST}");
    assert!(run.out.contains(&pinned), "{}", run.out);
    assert!(run.out.contains("A: b"), "{}", run.out);
    assert_eq!(daemon.wait_for(RESOLVE).body, json!({"images": ["web"]}));
    let run = home.run(&["config", "--lock-image-digests"]).ended_with(0);
    let text = format!("services:\n  done:\n    image: x@sha256:0\n  web:\n    {pinned}\n");
    assert_eq!(run.out, text);
    let failure = json!({"code": "image_not_found", "message": "no web", "exit_code": 1});
    daemon.on(RESOLVE, Answer::Json(500, failure));
    home.run(&["config", "--resolve-image-digests"])
        .ended_with(18);
}

#[test]
fn the_env_file_says_which_files_and_how_to_talk() {
    let home = Home::new();
    std::fs::create_dir(home.work().join("sub")).unwrap();
    let write = |name: &str, text: &str| std::fs::write(home.work().join(name), text).unwrap();
    write(
        "sub/one.yaml",
        "services: {one: {image: \"i:${A}-${B}\"}}\n",
    );
    write(
        "sub/two.yaml",
        "services: {two: {image: x, profiles: [p]}}\n",
    );
    write(
        ".env",
        "COMPOSE_FILE=sub/one.yaml;sub/two.yaml\nCOMPOSE_PATH_SEPARATOR=;\n\
         COMPOSE_PROFILES=q, p\nCOMPOSE_ANSI=always\nA=outer\n",
    );
    write("sub/.env", "A=inner\nB=inner\n");
    let run = home.run(&["config", "--images"]).ended_with(0);
    assert_eq!(run.out, "i:outer-inner\nx\n");
    let run = home.run(&["config", "--hash", "nope"]).ended_with(15);
    assert!(run.err.contains('\u{1b}'), "{}", run.err);
    let run = home
        .run(&["--ansi", "never", "config", "--hash", "nope"])
        .ended_with(15);
    assert!(!run.err.contains('\u{1b}'), "{}", run.err);
    let off = home
        .command(&["config", "--services"])
        .env("COMPOSE_DISABLE_ENV_FILE", "1")
        .output();
    assert_eq!(Run::of(off.unwrap()).ended_with(0).out, "db\nweb\n");
    let named = home.run(&["-f", "sub/one.yaml", "config", "--images"]);
    assert_eq!(named.ended_with(0).out, "i:inner-inner\n");
}

#[test]
fn variables_about_orphans_and_progress_count_in_the_env_file() {
    const UP: &str = "PUT /v1/stacks/shop";
    let home = Home::new();
    let daemon = home.daemon();
    let events = vec![finished("container", "shop-db-1", "started"), done()];
    daemon.on(UP, Answer::Lines(events));
    let write = |text: &str| std::fs::write(home.work().join(".env"), text).unwrap();
    write("COMPOSE_IGNORE_ORPHANS=true\nCOMPOSE_STATUS_STDOUT=1\n");
    let run = home.run(&["up", "-d"]).ended_with(0);
    assert_eq!(run.out, "container shop-db-1 started\n");
    let body = daemon.seen(UP).pop().unwrap().body;
    assert_eq!(
        (&body["ignore_orphans"], &body["remove_orphans"]),
        (&json!(true), &json!(false))
    );
    home.run(&["up", "-d", "--remove-orphans"]).ended_with(2);
    write("COMPOSE_REMOVE_ORPHANS=yes\nCOMPOSE_PROGRESS=quiet\n");
    let run = home.run(&["up", "-d"]).ended_with(0);
    assert!(!run.err.contains("shop-db-1"), "{}", run.err);
    assert_eq!(daemon.seen(UP).pop().unwrap().body["remove_orphans"], true);
}

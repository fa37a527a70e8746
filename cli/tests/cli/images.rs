//! `stack pull`, `load`, `images` and `plan`.

use serde_json::json;

use crate::fake::{Answer, container, done, finished};
use crate::home::Home;

#[test]
fn pull_asks_for_the_images_of_the_file() {
    let home = Home::new();
    let daemon = home.daemon();
    daemon.on(
        "POST /v1/images/pull",
        Answer::Lines(vec![finished("image", "web:1", "pulled"), done()]),
    );
    let run = home.run(&["pull"]).ended_with(0);
    assert!(run.err.contains("image     web:1 pulled"), "{}", run.err);
    let body = daemon.wait_for("POST /v1/images/pull").body;
    assert_eq!(
        body,
        json!({"images": ["db:1", "web:1"], "policy": "always", "ignore_failures": false})
    );
    let run = home
        .run(&["pull", "-q", "--policy", "missing", "web"])
        .ended_with(0);
    assert_eq!(run.err, "");
    let body = daemon.wait_for("POST /v1/images/pull").body;
    assert_eq!(
        (&body["images"], &body["policy"]),
        (&json!(["web:1"]), &json!("missing"))
    );
    home.run(&["pull", "--include-deps", "web"]).ended_with(0);
    assert_eq!(
        daemon.wait_for("POST /v1/images/pull").body["images"],
        json!(["db:1", "web:1"])
    );
}

#[test]
fn images_that_can_be_built_need_not_be_pulled() {
    let home = Home::with(
        "name: shop\nservices:\n  web: {image: app, build: .}\n  worker: {image: app}\n  \
         own: {build: .}\n  job: {image: shop-own}\n  db: {image: db}\n",
    );
    let daemon = home.daemon();
    let asked = |args: &[&str]| {
        daemon.on("POST /v1/images/pull", Answer::Lines(vec![done()]));
        home.run(args).ended_with(0);
        let body = daemon.wait_for("POST /v1/images/pull").body;
        (body["images"].clone(), body["buildable"].clone())
    };
    let all = asked(&["pull", "-q"]);
    assert_eq!(all, (json!(["app", "db"]), json!(["app"])));
    let others = asked(&["pull", "-q", "--ignore-buildable"]);
    assert_eq!(others, (json!(["db"]), json!(null)));
}

#[test]
fn a_secret_of_a_build_is_missed_by_whoever_builds() {
    let home = Home::with(
        "name: shop\nservices:\n  \
         web: {image: r.x/web, build: {context: ., secrets: [npmrc]}}\n\
         secrets: {npmrc: {environment: NOT_SET_HERE}}\n",
    );
    let daemon = home.daemon();
    daemon.on("POST /v1/images/pull", Answer::Lines(vec![done()]));
    home.run(&["pull", "-q"]).ended_with(0);
    for args in [&["build"][..], &["up", "-d", "--build"]] {
        let run = home.run(args).ended_with(15);
        for part in ["the secret `npmrc` has no content", "stack.yaml:3"] {
            assert!(run.err.contains(part), "{}", run.err);
        }
    }
    // It may be there already: the daemon knows.
    daemon.on("PUT /v1/stacks/shop", Answer::Lines(vec![done()]));
    home.run(&["up", "-d"]).ended_with(0);
    let body = daemon.wait_for("PUT /v1/stacks/shop").body;
    let why = body["builds"]["web"]["hindrance"].as_str().unwrap();
    assert!(why.starts_with("stack.yaml:3: the secret `npmrc`"), "{why}");
}

#[test]
fn pull_heeds_the_policies_of_the_file() {
    let home = Home::with(
        "name: shop\nservices:\n  a: {image: 'a:1', pull_policy: missing}\n  \
         b: {image: b, pull_policy: missing}\n  c: {image: c, pull_policy: never}\n  \
         d: {image: d, build: ., pull_policy: build}\n  \
         e: {image: e, platform: linux/arm64}\n  f: {image: 'f:1', pull_policy: missing}\n  \
         g: {image: 'f:1'}\n",
    );
    let daemon = home.daemon();
    let asked = |args: &[&str]| {
        daemon.on("POST /v1/images/pull", Answer::Lines(vec![done()]));
        home.run(args).ended_with(0);
        daemon.wait_for("POST /v1/images/pull").body
    };
    let body = asked(&["pull", "-q"]);
    assert_eq!(body["images"], json!(["a:1", "b", "e", "f:1"]));
    // `latest` may be another one by now, and `g` wants `f:1` anew.
    assert_eq!(body["kept"], json!(["a:1"]));
    assert_eq!(body["platforms"], json!({"e": "linux/arm64"}));
    let body = asked(&["pull", "-q", "--policy", "always"]);
    assert_eq!(body["images"], json!(["a:1", "b", "c", "d", "e", "f:1"]));
    assert_eq!(body["kept"], json!(null));
}

#[test]
fn an_image_for_several_platforms_is_not_pushed_for_one() {
    let own = match std::env::consts::ARCH {
        "aarch64" => "linux/arm64",
        _ => "linux/amd64",
    };
    let home = Home::with(&format!(
        "name: shop\nservices:\n  web: {{image: 'r.x/a', build: {{context: ., \
         platforms: [{own}, linux/s390x]}}}}\n"
    ));
    let daemon = home.daemon();
    daemon.on("POST /v1/stacks/shop/build", Answer::Lines(vec![done()]));
    let run = home.run(&["build"]).ended_with(0);
    assert!(run.err.contains("not for linux/s390x"), "{}", run.err);
    let run = home.run(&["build", "--push"]).ended_with(2);
    assert!(run.err.contains("linux/s390x"), "{}", run.err);
    assert_eq!(daemon.seen("POST /v1/stacks/shop/build").len(), 1);
}

#[test]
fn run_pulls_an_image_that_can_be_built_before_it_is_built() {
    let home = Home::with(
        "name: shop\nservices:\n  a: {image: 'r.x/a', build: ., pull_policy: always}\n  \
         b: {build: .}\n",
    );
    let daemon = home.daemon();
    let run = |args: &[&str]| {
        for call in ["images/pull", "stacks/shop/build", "stacks/shop/run"] {
            let failed = call.ends_with("run");
            let error = json!({"type": "failed", "code": "internal", "message": "enough",
                               "help": null, "exit_code": 1});
            let last = if failed { error } else { done() };
            daemon.on(&format!("POST /v1/{call}"), Answer::Lines(vec![last]));
        }
        home.run(args);
        daemon.wait_for("POST /v1/stacks/shop/run").body
    };
    // Nobody has it in a registry: what was built is what is run.
    let body = run(&["run", "--no-deps", "a"]);
    assert_eq!(body["pull"], json!("missing"));
    let pulled = daemon.wait_for("POST /v1/images/pull").body;
    assert_eq!(pulled["images"], json!(["r.x/a"]));
    assert_eq!(pulled["policy"], json!("always"));
    assert_eq!(pulled["ignore_failures"], json!(true));
    let built = daemon.wait_for("POST /v1/stacks/shop/build").body;
    assert_eq!(built["when"], json!("missing"));
    let pulls = daemon.seen("POST /v1/images/pull").len();
    for args in [
        &["run", "--no-deps", "b"][..],
        &["run", "--no-deps", "--build", "a"],
        &["run", "--no-deps", "--pull", "never", "a"],
    ] {
        run(args);
        assert_eq!(daemon.seen("POST /v1/images/pull").len(), pulls, "{args:?}");
    }
}

#[test]
fn an_agent_can_be_named_on_the_command_line() {
    let home = Home::with("name: shop\nservices:\n  web: {build: .}\n");
    let daemon = home.daemon();
    daemon.on("POST /v1/stacks/shop/build", Answer::Lines(vec![done()]));
    let mut command = home.command(&["build", "-q", "--ssh", "default"]);
    let ended = command.env("SSH_AUTH_SOCK", "/run/agent").output().unwrap();
    assert!(ended.status.success());
    let body = daemon.wait_for("POST /v1/stacks/shop/build").body;
    assert_eq!(
        body["builds"]["web"]["ssh"],
        json!({"default": "/run/agent"})
    );
}

#[test]
fn what_a_quiet_build_said_is_shown_when_it_fails() {
    let home = Home::with("name: shop\nservices:\n  web: {build: .}\n");
    let daemon = home.daemon();
    let said = json!({"type": "output", "name": "shop-web", "line": "ls: /nope: No such file"});
    let failed = json!({"type": "failed", "code": "build_failed", "message": "`RUN ls` failed",
                        "help": null, "exit_code": 1});
    daemon.on(
        "POST /v1/stacks/shop/build",
        Answer::Lines(vec![said.clone(), failed]),
    );
    let run = home.run(&["build", "-q"]).ended_with(17);
    let told = "shop-web | ls: /nope: No such file\nbuild_failed\n  × `RUN ls` failed\n";
    assert_eq!(run.err, told);
    daemon.on(
        "POST /v1/stacks/shop/build",
        Answer::Lines(vec![said, done()]),
    );
    assert_eq!(home.run(&["build", "-q"]).ended_with(0).err, "");
}

#[test]
fn an_image_that_cannot_be_had_has_its_own_code() {
    let home = Home::new();
    let failure = json!({"type": "failed", "code": "image_not_found", "message": "web:1 is not there",
                         "help": null, "exit_code": 1});
    home.daemon()
        .on("POST /v1/images/pull", Answer::Lines(vec![failure]));
    let run = home.run(&["pull"]).ended_with(18);
    assert_eq!(run.err, "image_not_found\n  × web:1 is not there\n");
}

#[test]
fn load_sends_an_absolute_path() {
    let home = Home::new();
    let daemon = home.daemon();
    daemon.on("POST /v1/images/load", Answer::Lines(vec![done()]));
    std::fs::write(home.work().join("web.tar"), "").unwrap();
    home.run(&["load", "web.tar"]).ended_with(0);
    let wanted = home.work().canonicalize().unwrap().join("web.tar");
    assert_eq!(
        daemon.wait_for("POST /v1/images/load").body,
        json!({"path": wanted})
    );
    home.run(&["load", "-i", "none.tar"]).ended_with(1);
}

#[test]
fn images_as_table_and_json() {
    let home = Home::new();
    let id = |n: u8| format!("sha256:{n:0>64}");
    let image = json!({"reference": "docker.io/library/web:1", "nameless": false, "id": id(7),
        "digest": "sha256:d", "size": 27_400_000, "unique": 0, "platform": "linux/amd64",
        "stored_ms": 0, "made": null, "labels": {}, "containers": [], "config": null});
    let mut web = container("web", "running");
    web["image_id"] = json!(id(7));
    let mut gone = container("db", "exited");
    gone["image"] = json!("localhost:5/db");
    gone["image_id"] = json!(id(8));
    home.daemon()
        .containers(&[web, gone])
        .on("GET /v1/images/all", Answer::Json(200, json!([image])));
    let run = home.run(&["images"]).ended_with(0);
    assert_eq!(
        run.out,
        "CONTAINER    REPOSITORY       TAG      PLATFORM      IMAGE ID       SIZE\n\
         shop-db-1    localhost:5/db   latest   -             000000000000   -\n\
         shop-web-1   web              1        linux/amd64   000000000000   27.4MB\n"
    );
    let run = home
        .run(&["images", "--format", "json", "web"])
        .ended_with(0);
    let list: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(list.as_array().map(Vec::len), Some(1));
    assert_eq!(list[0]["ContainerName"], "shop-web-1");
    assert_eq!(list[0]["Size"], 27_400_000);
    let run = home.run(&["images", "-q", "web"]).ended_with(0);
    assert_eq!(run.out, format!("{:0>64}\n", 7));
    home.run(&["images", "wbe"]).ended_with(2);
}

#[test]
fn a_plan_is_shown_and_may_decide_the_exit_code() {
    let home = Home::new();
    let daemon = home.daemon();
    let empty = json!({"steps": [], "orphans": [], "unchanged": ["shop-db-1", "shop-web-1"]});
    daemon.on("POST /v1/stacks/shop/plan", Answer::Json(200, empty));
    let run = home.run(&["plan", "--detailed-exitcode"]).ended_with(0);
    assert_eq!(run.out, "Nothing to do: 2 containers as wanted.\n");
    let step = json!({
        "action": {"type": "create", "service": "db", "number": 1, "name": "shop-db-1"},
        "reason": {"type": "missing"}, "after": [], "wait_for": [],
    });
    let plan = json!({"steps": [step], "orphans": ["shop-old-1"], "unchanged": []});
    daemon.on("POST /v1/stacks/shop/plan", Answer::Json(200, plan.clone()));
    let run = home.run(&["plan", "--detailed-exitcode"]).ended_with(2);
    assert!(
        run.out.starts_with("+ create   container shop-db-1"),
        "{}",
        run.out
    );
    assert!(run.err.contains("shop-old-1"), "{}", run.err);
    let run = home.run(&["plan", "--format", "json"]).ended_with(0);
    let same: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(same, plan);
}

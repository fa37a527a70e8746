//! `stack ps`, `ls`, `images`, `port` and the commands on what exists.

use serde_json::{Value, json};

use crate::fake::{Answer, container, done, finished};
use crate::home::Home;

const ACTION: &str = "POST /v1/stacks/shop/action";

#[test]
fn a_table_of_what_runs() {
    let home = Home::new();
    let mut web = container("web", "running");
    web["ports"] = json!([{"host_ip": "127.0.0.1", "host_port": 8080, "target": 80, "udp": false}]);
    let mut db = container("db", "exited");
    db["exit_code"] = json!(1);
    db["error"] = json!("out of\u{1b}[2J luck");
    home.daemon().containers(&[db, web]);
    let run = home.run(&["ps"]).ended_with(0);
    let lines: Vec<&str> = run.out.lines().collect();
    assert_eq!(lines.len(), 2, "{}", run.out);
    assert!(lines[0].starts_with("NAME"), "{}", run.out);
    assert!(lines[1].starts_with("shop-web-1   web:1"), "{}", run.out);
    assert!(lines[1].ends_with("127.0.0.1:8080->80/tcp"), "{}", run.out);
    assert_eq!(run.err, "");
    let all = home.run(&["ps", "-a"]).ended_with(0);
    assert!(all.out.contains("Exited (1)"), "{}", all.out);
    assert_eq!(all.err, "warning: shop-db-1: out of [2J luck\n");
    assert_eq!(
        home.run(&["ps", "--status", "exited", "--services"]).out,
        "db\n"
    );
    assert_eq!(home.run(&["port", "web", "80"]).out, "127.0.0.1:8080\n");
    assert_eq!(
        home.run(&["ps", "--filter", "status=exited", "--services"])
            .out,
        "db\n"
    );
    home.run(&["ps", "--filter", "name=x"]).ended_with(2);
    let run = home.run(&["port", "web", "81"]).ended_with(1);
    assert!(run.err.contains("port_not_published"), "{}", run.err);
}

#[test]
fn one_json_object_per_line() {
    let home = Home::new();
    home.daemon()
        .containers(&[container("db", "running"), container("web", "running")]);
    let run = home.run(&["ps", "--format", "json"]).ended_with(0);
    let list: Vec<Value> = run
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(list.len(), 2);
    assert_eq!(list[1]["Service"], "web");
    assert_eq!(list[1]["BootID"], "boot-web");
    assert_eq!(list[1]["Pid"], 77);
    let ids = home.run(&["ps", "-q", "web"]).ended_with(0);
    assert_eq!(ids.out.trim().len(), 64);
}

#[test]
fn a_name_is_enough_without_a_file() {
    let home = Home::new();
    home.daemon().containers(&[container("db", "running")]);
    std::fs::remove_file(home.work().join("stack.yaml")).unwrap();
    home.run(&["ps"]).ended_with(14);
    let run = home.run(&["-p", "shop", "ps", "-q"]).ended_with(0);
    assert_eq!(run.out.lines().count(), 1);
    let run = home.run(&["-p", "../etc", "ps"]).ended_with(2);
    assert!(run.err.contains("is not a project name"), "{}", run.err);
}

#[test]
fn a_service_that_is_not_there_is_told_with_those_that_are() {
    let home = Home::new();
    home.daemon().containers(&[container("old", "running")]);
    home.run(&["down", "wbe"]).ended_with(2);
    let run = home.run(&["stop", "wbe"]).ended_with(2);
    assert_eq!(
        run.err,
        "  × there is no service wbe\n  help: services are: db, old, web\n"
    );
}

#[test]
fn actions_and_down() {
    let home = Home::new();
    let daemon = home.daemon();
    let events = vec![finished("container", "shop-db-1", "stopped"), done()];
    daemon
        .containers(&[container("db", "running")])
        .on("POST /v1/stacks/shop/action", Answer::Lines(events.clone()))
        .on("POST /v1/stacks/shop/down", Answer::Lines(events));
    let run = home.run(&["stop", "-t", "3", "db"]).ended_with(0);
    assert!(
        run.err.ends_with("shop: 1 container stopped in 1.6s\n"),
        "{}",
        run.err
    );
    let body = daemon.wait_for("POST /v1/stacks/shop/action").body;
    assert_eq!(
        (&body["verb"], &body["timeout"]),
        (&json!("stop"), &json!(3))
    );
    home.run(&["kill", "-s", "HUP"]).ended_with(0);
    let body = daemon.wait_for("POST /v1/stacks/shop/action").body;
    assert_eq!(
        (&body["verb"], &body["signal"]),
        (&json!("kill"), &json!("HUP"))
    );
    home.run(&["down", "-v", "--remove-orphans"]).ended_with(0);
    let body = daemon.wait_for("POST /v1/stacks/shop/down").body;
    assert_eq!(body["volumes"], true);
    assert_eq!(body["remove_orphans"], true);
    assert_eq!(body["services_known"], json!(["db", "web"]));
    home.run(&["down", "--volume"]).ended_with(0);
    let body = daemon.wait_for("POST /v1/stacks/shop/down").body;
    assert_eq!(body["volumes"], true);
}

#[test]
fn down_tells_which_volumes_are_the_files_own() {
    let file = "name: shop\nservices: {db: {image: db, volumes: ['data:/d', 'kept:/k']}}\n\
                volumes: {data: , kept: {external: true}}\n";
    let home = Home::with(file);
    let daemon = home.daemon();
    daemon
        .containers(&[])
        .on("POST /v1/stacks/shop/down", Answer::Lines(vec![done()]));
    home.run(&["down", "-v"]).ended_with(0);
    let body = daemon.wait_for("POST /v1/stacks/shop/down").body;
    assert_eq!(body["volumes_known"], json!(["shop_data"]));
    std::fs::remove_file(home.work().join("stack.yaml")).unwrap();
    home.run(&["-p", "shop", "down", "-v"]).ended_with(0);
    let body = daemon.wait_for("POST /v1/stacks/shop/down").body;
    assert_eq!(body["volumes_known"], json!(null));
}

#[test]
fn down_leaves_volumes_that_no_enabled_service_uses() {
    let file = "name: shop\nservices:\n  web: {image: w, volumes: ['data:/d']}\n  \
                job: {image: j, volumes: ['data:/d', 'jobs:/j'], profiles: [work]}\n\
                volumes: {data: , jobs: , spare: }\n";
    let home = Home::with(file);
    let daemon = home.daemon();
    daemon
        .containers(&[])
        .on("POST /v1/stacks/shop/down", Answer::Lines(vec![done()]));
    let known = |args: &[&str]| {
        home.run(args).ended_with(0);
        let body = daemon.wait_for("POST /v1/stacks/shop/down").body;
        // Their containers go.
        assert_eq!(body["services_known"], json!(["job", "web"]));
        body["volumes_known"].clone()
    };
    assert_eq!(known(&["down", "-v"]), json!(["shop_data"]));
    let all = known(&["--profile", "work", "down", "-v"]);
    assert_eq!(all, json!(["shop_data", "shop_jobs"]));
    std::fs::write(home.work().join(".env"), "COMPOSE_PROFILES=work\n").unwrap();
    assert_eq!(known(&["down", "-v"]), all);
}

#[test]
fn a_key_of_the_file_means_its_volume_and_no_other() {
    let file = "name: shop\nservices: {db: {image: db, volumes: ['data:/d', 'own:/o', 'kept:/k']}}\n\
                volumes: {data: , own: {name: mine}, kept: {external: true, name: theirs}}\n";
    let home = Home::with(file);
    let daemon = home.daemon();
    let volumes = |names: &[&str]| {
        let all = names.iter().map(|name| json!({"name": name}));
        daemon.on("GET /v1/volumes", Answer::Json(200, all.collect()));
    };
    let gone = Answer::Json(200, Value::Null);
    for name in ["shop_data", "mine", "theirs", "plain", "shop_old"] {
        daemon.on(&format!("DELETE /v1/volumes/{name}"), gone.clone());
    }
    volumes(&["data", "shop_data", "mine", "theirs", "plain", "shop_old"]);
    let out = |word: &str| home.run(&["volume", "rm", word]).ended_with(0).out;
    assert_eq!(out("data"), "shop_data\n");
    assert_eq!(out("own"), "mine\n");
    assert_eq!(out("kept"), "theirs\n");
    // One that the file has no more, and full names.
    assert_eq!(out("old"), "shop_old\n");
    assert_eq!(out("plain"), "plain\n");
    assert_eq!(out("shop_data"), "shop_data\n");
    // What is gone is not another stack's volume.
    volumes(&["data"]);
    let run = home.run(&["volume", "rm", "data"]).ended_with(2);
    assert!(
        run.err.contains("there is no volume shop_data"),
        "{}",
        run.err
    );
    assert!(run.err.contains("from another folder"), "{}", run.err);
    home.run(&["volume", "rm", "-f", "data"]).ended_with(0);
}

#[test]
fn without_a_file_a_word_is_no_volume_of_another_stack() {
    let home = Home::new();
    let daemon = home.daemon();
    let all = json!([
        {"name": "data", "project": "blog"},
        {"name": "logs", "project": "blog"},
        {"name": "plain", "project": ""},
        {"name": "mine", "project": "shop"},
        {"name": "shop_old", "project": "shop"},
    ]);
    daemon.on("GET /v1/volumes", Answer::Json(200, all));
    for name in ["plain", "mine", "shop_old", "data"] {
        let call = format!("DELETE /v1/volumes/{name}");
        daemon.on(&call, Answer::Json(200, Value::Null));
    }
    let rm = |project: &str, word: &str| home.run(&["-p", project, "volume", "rm", word]);
    let spec = |volumes: Value| {
        let spec = json!({"name": "shop", "working_dir": "/", "files": [], "services": {},
            "networks": {}, "volumes": volumes});
        daemon.on("GET /v1/stacks/shop", Answer::Json(200, spec));
    };
    assert_eq!(rm("shop", "plain").ended_with(0).out, "plain\n");
    assert_eq!(rm("shop", "old").ended_with(0).out, "shop_old\n");
    let run = rm("shop", "data").ended_with(2);
    assert!(
        run.err.contains("there is no volume shop_data"),
        "{}",
        run.err
    );
    assert!(run.err.contains("say `-p blog`"), "{}", run.err);
    assert_eq!(rm("blog", "data").ended_with(0).out, "data\n");
    // What the last `up` brought says which volume is meant.
    let volume = |name: &str| json!({"name": name, "external": false, "size": null, "labels": {}});
    spec(json!({"data": volume("mine"), "plain": volume("gone")}));
    assert_eq!(rm("shop", "data").ended_with(0).out, "mine\n");
    let run = rm("shop", "plain").ended_with(2);
    assert!(run.err.contains("there is no volume gone"), "{}", run.err);
}

#[test]
fn lists_in_the_users_own_words() {
    let home = Home::new();
    let mut db = container("db", "running");
    db["labels"] = json!({"tier": "back"});
    home.daemon()
        .containers(&[db, container("old", "running")])
        .on(
            "GET /v1/volumes",
            Answer::Json(
                200,
                json!([
                    {"name": "shop_data", "project": "shop", "users": ["shop-db-1"]},
                    {"name": "shop_rest", "project": "shop"},
                    {"name": "other_data", "project": "other"},
                ]),
            ),
        );
    let out = |args: &[&str]| home.run(args).ended_with(0).out;
    assert_eq!(
        out(&[
            "ps",
            "--format",
            "{{.Name}} {{upper .State}} {{.Label \"tier\"}}."
        ]),
        "shop-db-1 RUNNING back.\nshop-old-1 RUNNING .\n"
    );
    assert_eq!(
        out(&[
            "ps",
            "--format",
            "table {{.Service}}\\t{{.RunningFor}}",
            "--orphans=false"
        ])
        .lines()
        .next(),
        Some("SERVICE   CREATED")
    );
    assert_eq!(out(&["ps", "--services", "--orphans=false"]), "db\n");
    let run = home.run(&["ps", "--format", "{{.Nmae}}"]).ended_with(2);
    assert!(run.err.contains("`Nmae` is not among"), "{}", run.err);
    assert_eq!(out(&["volumes", "-q"]), "shop_data\nshop_rest\n");
    assert_eq!(
        out(&["volumes", "--format", "{{.Name}}", "db"]),
        "shop_data\n"
    );
}

#[test]
fn stacks_are_listed_as_in_docker_compose() {
    let home = Home::new();
    home.daemon().on(
        "GET /v1/stacks",
        Answer::Json(
            200,
            json!([
                {"name": "shop", "states": {"exited": 1, "running": 2}, "files": ["/a/stack.yaml"]},
                {"name": "old", "states": {"exited": 3}, "files": []},
            ]),
        ),
    );
    let list = |args: &[&str]| -> Value {
        serde_json::from_str(&home.run(args).ended_with(0).out).unwrap()
    };
    assert_eq!(
        list(&["ls", "--format", "json"]),
        json!([{"Name": "shop", "Status": "running(2)", "ConfigFiles": "/a/stack.yaml"}])
    );
    let all = list(&["ls", "-a", "--format", "json"]);
    assert_eq!(all[0]["Status"], "exited(1), running(2)");
    assert_eq!(all[1]["Status"], "exited(3)");
    let none = list(&["ls", "--filter", "name=x", "--format", "json"]);
    assert_eq!(none, json!([]));
    assert_eq!(
        home.run(&["ls"]).out,
        "NAME   STATUS       CONFIG FILES\nshop   running(2)   /a/stack.yaml\n"
    );
}

#[test]
fn orphans_are_killed_when_that_is_asked_for() {
    let home = Home::new();
    let daemon = home.daemon();
    daemon
        .containers(&[container("db", "running"), container("old", "running")])
        .on("POST /v1/stacks/shop/action", Answer::Lines(vec![done()]));
    home.run(&["kill"]).ended_with(0);
    home.run(&["kill", "--remove-orphans"]).ended_with(0);
    let seen = daemon.seen("POST /v1/stacks/shop/action");
    assert_eq!(seen[0].body["services"], json!(["db"]));
    assert_eq!(seen[1].body["services"], json!([]));
}

#[test]
fn actions_without_names_are_for_what_the_file_enables() {
    let home = Home::with(
        "name: shop\nservices:\n  web: {image: w}\n  db: {image: d}\n  \
         job: {image: j, profiles: [work]}\n",
    );
    let daemon = home.daemon();
    let all = ["db", "job", "old", "web"].map(|service| container(service, "running"));
    daemon
        .containers(&all)
        .on(ACTION, Answer::Lines(vec![done()]));
    let asked = |args: &[&str]| {
        home.run(args).ended_with(0);
        let body = daemon.wait_for(ACTION).body;
        (body["services"].clone(), body["no_deps"].clone())
    };
    let enabled = (json!(["db", "web"]), json!(true));
    for verb in ["start", "stop", "restart", "kill", "rm", "pause", "unpause"] {
        assert_eq!(asked(&[verb]), enabled, "{verb}");
    }
    let (services, _) = asked(&["--profile", "work", "rm", "-fsv"]);
    assert_eq!(services, json!(["db", "job", "web"]));
    // By their names, and by the name of the stack alone.
    assert_eq!(asked(&["stop", "old", "job"]).0, json!(["old", "job"]));
    assert_eq!(asked(&["-p", "shop", "rm", "-s"]).0, json!([]));
    assert_eq!(asked(&["-p", "shop", "start"]).0, json!([]));
    // With nothing left over, it is for nobody and not for all.
    let calls = daemon.seen(ACTION).len();
    daemon.containers(&[container("old", "running")]);
    let run = home.run(&["rm", "-fsv"]).ended_with(0);
    let told = "stack shop has no containers of services that are enabled in the file\n";
    assert_eq!(run.err, told);
    let mut of_run = container("web", "exited");
    of_run["one_off"] = json!(true);
    daemon.containers(&[of_run, container("old", "exited")]);
    let run = home.run(&["start"]).ended_with(1);
    assert!(run.err.contains("no containers to start"), "{}", run.err);
    assert_eq!(daemon.seen(ACTION).len(), calls);
}

#[test]
fn images_go_with_the_stack() {
    let home = Home::new();
    let daemon = home.daemon();
    let gone = json!({"untagged": ["db:1"], "deleted": [], "bytes": 0});
    daemon
        .containers(&[container("old", "exited")])
        .on("POST /v1/stacks/shop/down", Answer::Lines(vec![done()]))
        .on("POST /v1/images/remove", Answer::Json(200, gone));
    home.run(&["down", "--rmi", "local"]).ended_with(0);
    assert!(daemon.seen("POST /v1/images/remove").is_empty());
    let run = home.run(&["down", "--rmi", "all"]).ended_with(0);
    let seen = daemon.seen("POST /v1/images/remove");
    assert_eq!(seen.len(), 3, "{}", run.err);
    assert!(run.err.contains("image old:1 removed"), "{}", run.err);
    home.run(&["down", "--rmi", "some"]).ended_with(2);
}

#[test]
fn images_of_services_that_are_not_enabled_go_too() {
    let home = Home::with(
        "name: shop\nservices:\n  web: {build: ., env_file: [gone.env]}\n  \
         job: {build: ., profiles: [work], devices: [/dev/sda]}\n  own: {build: ., image: 'own:1'}\n",
    );
    let daemon = home.daemon();
    let gone = json!({"untagged": ["x"], "deleted": [], "bytes": 0});
    daemon
        .containers(&[])
        .on("POST /v1/stacks/shop/down", Answer::Lines(vec![done()]))
        .on("POST /v1/images/remove", Answer::Json(200, gone));
    home.run(&["down", "--rmi", "local"]).ended_with(0);
    let seen = daemon.seen("POST /v1/images/remove");
    let images: Vec<_> = seen.iter().map(|seen| &seen.body["images"][0]).collect();
    assert_eq!(images, ["shop-job", "shop-web"]);
}

#[test]
fn nobody_waits_for_what_has_never_run() {
    let home = Home::new();
    let daemon = home.daemon();
    daemon.containers(&[container("db", "exited"), container("web", "created")]);
    let run = home.run(&["wait", "web"]).ended_with(2);
    assert!(run.err.contains("service web has not run"), "{}", run.err);
    // An `up` that starts it may have got no further.
    let ended = json!({"id": "1", "container": "shop-web-1", "service": "web", "exit_code": 7});
    daemon
        .containers(&[container("db", "running"), container("web", "created")])
        .on("GET /v1/stacks/shop/wait", Answer::Lines(vec![ended]));
    home.run(&["wait", "web"]).ended_with(7);
}

#[test]
fn a_daemon_of_another_version_is_told() {
    let home = Home::new();
    home.daemon().version("9.9.9").containers(&[]);
    let run = home.run(&["ps"]).ended_with(0);
    assert!(run.err.contains("stackd 9.9.9 is running"), "{}", run.err);
}

#[test]
fn a_closed_pipe_is_no_error() {
    let home = Home::new();
    let many: Vec<Value> = (0..5000).map(|_| container("db", "running")).collect();
    home.daemon().containers(&many);
    let mut child = home.spawn(&["ps", "-q"]);
    drop(child.stdout.take());
    let run = crate::home::Run::of(child.wait_with_output().unwrap());
    assert_eq!(run.err, "");
}

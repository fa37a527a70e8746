//! `stack volume` and `stack image`, and the streams that go to them.

use serde_json::{Value, json};

use crate::fake::{Answer, Fake, done};
use crate::home::Home;

/// `hello`, as gzip writes it.
const HELLO: [u8; 25] = [
    31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 203, 72, 205, 201, 201, 7, 0, 134, 166, 16, 54, 5, 0, 0, 0,
];

fn volumes(home: &Home) -> Fake {
    let daemon = home.daemon();
    let volume = |name: &str, labels: Value, users: &[&str]| {
        json!({"name": name, "path": format!("/v/{name}"), "labels": labels, "users": users,
               "created_ms": 1_700_000_000_000_u64})
    };
    let all = json!([
        volume("a", json!({"tier": "front", "team": "x"}), &["shop-web-1"]),
        volume("b", json!({"tier": "back"}), &[]),
    ]);
    daemon.on("GET /v1/volumes", Answer::Json(200, all));
    for name in ["a", "b"] {
        let call = format!("DELETE /v1/volumes/{name}");
        daemon.on(&call, Answer::Json(200, Value::Null));
    }
    daemon
}

#[test]
fn streams_may_be_compressed() {
    let home = Home::new();
    let daemon = volumes(&home);
    let call = "PUT /v1/volumes/a/archive";
    daemon.on(call, Answer::Json(200, Value::Null));
    for input in [&HELLO[..], b"hello"] {
        let run = home.run_with_input(&["volume", "import", "a"], input);
        run.ended_with(0);
        assert_eq!(&daemon.wait_for(call).bytes[..], b"hello");
    }
    for (input, advice) in [(&b"\xfd7zXZ\0"[..], "xz -d"), (b"BZh9", "bzip2 -d")] {
        let run = home.run_with_input(&["volume", "import", "a"], input);
        let said = run.ended_with(1).err;
        assert!(said.contains(advice), "{said}");
    }
    // What breaks off is not taken for a whole stream.
    let run = home.run_with_input(&["volume", "import", "a"], &HELLO[..15]);
    assert!(run.ended_with(1).err.contains("cannot read"));
}

#[test]
fn an_archive_may_come_through_a_pipe() {
    let home = Home::new();
    let daemon = home.daemon();
    daemon.on("POST /v1/images/load", Answer::Lines(vec![done()]));
    home.run_with_input(&["load"], b"archive").ended_with(0);
    let body = daemon.wait_for("POST /v1/images/load").body;
    assert!(body["path"].as_str().unwrap().starts_with('/'), "{body}");
}

#[test]
fn what_can_be_done_is_done_for_all_that_are_named() {
    let home = Home::new();
    let daemon = volumes(&home);
    let run = home.run(&["volume", "rm", "a", "none", "b"]).ended_with(2);
    assert_eq!(run.out, "a\nb\n");
    assert!(run.err.contains("there is no volume none"), "{}", run.err);
    let run = home.run(&["volume", "inspect", "none", "a"]).ended_with(2);
    let shown: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(shown[0]["Name"], "a");
    // Of one that is not there, nothing is shown.
    let run = home.run(&["volume", "inspect", "none"]).ended_with(2);
    assert_eq!(run.out, "");
    let image = json!({"reference": "docker.io/library/web:1", "id": "sha256:07"});
    let gone = json!({"untagged": ["docker.io/library/web:1"], "deleted": [], "bytes": 5});
    daemon
        .on("GET /v1/images/all", Answer::Json(200, json!([image])))
        .on("POST /v1/images/remove", Answer::Json(200, gone));
    let called = |name: &str| vec![json!(format!("docker.io/library/{name}"))];
    let names = vec![called("none"), called("web:1")];
    daemon.on("GET /v1/images/find", Answer::Turns(names));
    let run = home.run(&["image", "inspect", "none", "web:1"]);
    let shown: Value = serde_json::from_str(&run.ended_with(2).out).unwrap();
    assert_eq!(shown[0]["RepoTags"], json!(["web:1"]));
    let name = "docker.io/library/web:1";
    daemon.on("GET /v1/images/find", Answer::Json(200, json!(name)));
    home.run(&["image", "inspect", "web@sha256:08"])
        .ended_with(0);
    let asked = daemon.wait_for("GET /v1/images/find?image=web%40sha256%3A08");
    assert!(asked.call.ends_with("08"));
    let run = home.run(&["image", "rm", "web:1", "web:2"]).ended_with(0);
    assert_eq!(run.out, "Untagged: web:1\n".repeat(2));
    let asked = daemon.seen("POST /v1/images/remove");
    assert_eq!(asked[1].body["images"], json!(["web:2"]));
}

#[test]
fn an_import_makes_what_the_file_has() {
    let file = "name: shop\nservices:\n  db: {image: d, volumes: ['data:/d', 'all:/a']}\n  \
                web: {image: w, volumes: ['all:/a']}\n\
                volumes:\n  data: {labels: {keep: 'yes'}, driver_opts: {size: 8m}}\n  all:\n  \
                spare: {name: kept}\n  theirs: {external: true}\n  \
                dir: {driver_opts: {type: none, o: bind, device: .}}\n";
    let home = Home::with(file);
    let daemon = volumes(&home);
    let import = |key: &str, made: &str| {
        let archive = format!("PUT /v1/volumes/{made}/archive");
        daemon
            .on("POST /v1/volumes", Answer::Json(200, json!({"name": made})))
            .on(&archive, Answer::Json(200, Value::Null));
        home.run_with_input(&["volume", "import", key], b"tar")
            .ended_with(0);
        assert_eq!(&daemon.wait_for(&archive).bytes[..], b"tar");
        daemon.wait_for("POST /v1/volumes").body
    };
    let order = |name: &str, form: &str| json!({"name": name, "project": "shop", "labels": {}, "size": null, "form": form});
    let mut data = order("shop_data", "disk");
    data["labels"] = json!({"keep": "yes"});
    data["size"] = json!(8 << 20);
    assert_eq!(import("data", "shop_data"), data);
    assert_eq!(import("all", "shop_all"), order("shop_all", "tree"));
    assert_eq!(import("spare", "kept"), order("kept", "disk"));
    let made = daemon.seen("POST /v1/volumes").len();
    for (word, advice) in [
        ("theirs", "make it with `stack volume create theirs`"),
        ("dir", "unpack the stream there"),
        ("none", "`stack volume create none` makes it"),
    ] {
        let run = home.run_with_input(&["volume", "import", word], b"tar");
        let said = run.ended_with(2).err;
        assert!(said.contains(advice), "{said}");
    }
    // What is there is not made anew, and nothing is made for a file that is not.
    daemon.on("PUT /v1/volumes/a/archive", Answer::Json(200, Value::Null));
    home.run_with_input(&["volume", "import", "a"], b"tar")
        .ended_with(0);
    home.run(&["volume", "import", "-i", "none.tar", "data"])
        .ended_with(1);
    assert_eq!(daemon.seen("POST /v1/volumes").len(), made);
}

#[test]
fn filters_and_forms_are_dockers() {
    let home = Home::new();
    let daemon = volumes(&home);
    let out = |args: &[&str]| home.run(args).ended_with(0).out;
    assert_eq!(out(&["volume", "ls", "-qf", "dangling=1"]), "b\n");
    let either = ["volume", "ls", "-q", "-f", "name=a", "-f", "name=b"];
    assert_eq!(out(&either), "a\nb\n");
    let both = ["volume", "ls", "-q", "-f", "label=tier", "-f", "label=team"];
    assert_eq!(out(&both), "a\n");
    let form = "{{.Mountpoint}} {{.CreatedAt}} {{index .Labels \"tier\"}}";
    assert_eq!(
        out(&["volume", "inspect", "-f", form, "a"]),
        "/v/a 2023-11-14T22:13:20Z front\n/v/b 2023-11-14T22:13:20Z back\n"
    );
    let line = out(&["volume", "inspect", "--format", "json", "a"]);
    assert_eq!((line.lines().count(), line.starts_with('[')), (1, true));
    home.run(&["volume", "inspect", "-f", "{{.Nope}}", "a"])
        .ended_with(2);
    daemon.on("POST /v1/volumes/prune", Answer::Json(200, json!([])));
    let prune = ["volume", "prune", "-f", "--filter", "label!=keep"];
    home.run(&prune).ended_with(0);
    let body = daemon.wait_for("POST /v1/volumes/prune").body;
    assert_eq!(body["filter"]["without_labels"], json!(["keep"]));
    let image = |name: &str| {
        json!({"reference": format!("docker.io/library/{name}:1"), "id": format!("sha256:{name}"),
               "config": {"config": {"Env": ["A=1"]}}})
    };
    let all = json!([image("web"), image("db"), image("old")]);
    daemon.on("GET /v1/images/all", Answer::Json(200, all));
    let either = ["image", "ls", "--format", "{{.Repository}}"];
    let filters = ["-f", "reference=web", "-f", "reference=db"];
    assert_eq!(out(&[&either[..], &filters].concat()), "db\nweb\n");
    let found = json!("docker.io/library/db:1");
    daemon.on("GET /v1/images/find", Answer::Json(200, found));
    let form = ["image", "inspect", "-f", "{{index .RepoTags 0}}", "db:1"];
    assert_eq!(out(&form), "db:1\n");
}

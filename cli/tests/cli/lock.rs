//! `stack lock`, and the lock in use.

use serde_json::{Value, json};

use crate::fake::{Answer, Fake, done};
use crate::home::Home;

const RESOLVE: &str = "POST /v1/images/resolve";
const UP: &str = "PUT /v1/stacks/shop";

fn digest(n: u8) -> String {
    format!("sha256:{}", format!("{n:02x}").repeat(32))
}

/// The registry's answer: these references lead to digests of these numbers.
fn leads(daemon: &Fake, to: &[(&str, u8)]) {
    let found = to.iter().map(|(reference, n)| {
        json!({"reference": reference, "name": format!("docker.io/library/{reference}"),
               "digest": digest(*n)})
    });
    daemon.on(RESOLVE, Answer::Json(200, found.collect::<Value>()));
}

fn images(daemon: &Fake) -> [String; 2] {
    let body = daemon.seen(UP).pop().unwrap().body;
    ["db", "web"].map(|name| {
        let image = &body["spec"]["services"][name]["image"];
        image.as_str().unwrap().to_owned()
    })
}

#[test]
fn a_lock_is_made_kept_and_brought_up_to_date() {
    let home = Home::new();
    let daemon = home.daemon();
    leads(&daemon, &[("db:1", 1), ("web:1", 2)]);
    let run = home.run(&["lock"]).ended_with(0);
    assert!(
        run.err.contains("+ db:1 sha256:010101010101\n"),
        "{}",
        run.err
    );
    assert!(
        run.err.ends_with("stack.lock: 2 images, 2 changes\n"),
        "{}",
        run.err
    );
    let file = home.work().join("stack.lock");
    let text = std::fs::read_to_string(&file).unwrap();
    let entries = format!("  db:1: {}\n  web:1: {}\n", digest(1), digest(2));
    assert!(text.ends_with(&entries), "{text}");
    home.run(&["lock", "--check"]).ended_with(0);

    // Known images are not looked up again, but when asked for.
    leads(&daemon, &[("db:1", 7)]);
    let asked = daemon.seen(RESOLVE).len();
    let run = home.run(&["lock"]).ended_with(0);
    assert!(run.err.contains("nothing changed"), "{}", run.err);
    assert_eq!(daemon.seen(RESOLVE).len(), asked);
    home.run(&["lock", "--update", "db"]).ended_with(0);
    assert_eq!(
        daemon.seen(RESOLVE).pop().unwrap().body["images"],
        json!(["db:1"])
    );
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(
        text.contains(&digest(7)) && text.contains(&digest(2)),
        "{text}"
    );
    let run = home.run(&["lock", "--update", "dbb"]).ended_with(2);
    assert!(run.err.contains("services are: db, web"), "{}", run.err);
    home.run(&["lock", "db"]).ended_with(2);
}

#[test]
fn up_runs_what_is_locked() {
    let home = Home::new();
    let daemon = home.daemon();
    daemon.on(UP, Answer::Lines(vec![done()]));
    leads(&daemon, &[("db:1", 1), ("web:1", 2)]);
    let run = home.run(&["up", "-d", "--locked"]).ended_with(16);
    assert!(run.err.contains("there is no"), "{}", run.err);
    home.run(&["lock", "-q"]).ended_with(0);
    home.run(&["up", "-d", "--locked"]).ended_with(0);
    let pinned = [
        format!("db:1@{}", digest(1)),
        format!("web:1@{}", digest(2)),
    ];
    assert_eq!(images(&daemon), pinned);

    // Another tag is not locked: as written, with a warning, or not at all.
    let text = crate::home::STACK.replace("web:1", "web:2");
    std::fs::write(home.work().join("stack.yaml"), text).unwrap();
    let run = home.run(&["up", "-d"]).ended_with(0);
    assert!(
        run.err.contains("not in stack.lock: web:2 (web)"),
        "{}",
        run.err
    );
    assert_eq!(images(&daemon), [pinned[0].clone(), "web:2".to_owned()]);
    let before = daemon.seen(UP).len();
    let run = home.run(&["up", "-d", "--locked"]).ended_with(16);
    assert!(run.err.contains("for no service: web:1"), "{}", run.err);
    assert_eq!(daemon.seen(UP).len(), before);
    home.run(&["lock", "--check"]).ended_with(16);
    let run = home.run(&["config", "--locked"]).ended_with(16);
    assert_eq!(run.out, "");
}

#[test]
fn what_is_no_lock_is_refused() {
    let home = Home::new();
    let file = home.work().join("stack.lock");
    std::fs::write(&file, "version: 1\nimages:\n<<<<<<< mine\n  a: b\n").unwrap();
    for args in [["up", "-d"], ["lock", "-q"], ["lock", "--check"]] {
        let run = home.run(&args).ended_with(16);
        assert!(run.err.contains("is no lock: line"), "{}", run.err);
    }
}

#[test]
fn services_of_all_profiles_are_locked_and_builds_are_not() {
    let home = Home::with(
        "name: shop\nservices:\n  web: {image: web:1, build: .}\n  \
         job: {image: job, profiles: [tools]}\n  own: {build: .}\n  \
         fixed: {image: \"x@sha256:00\"}\n",
    );
    let daemon = home.daemon();
    leads(&daemon, &[("job", 3)]);
    home.run(&["lock", "-q"]).ended_with(0);
    assert_eq!(daemon.wait_for(RESOLVE).body["images"], json!(["job"]));
    home.run(&["lock", "--check"]).ended_with(0);
}

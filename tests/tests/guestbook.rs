//! Four services as people run them: nginx, an application, PostgreSQL and
//! Redis, on two networks.

use std::collections::BTreeSet;

use serde_json::Value;
use stack_tests::{Home, Project, eventually, free_port, get, post_form, try_get};

const SERVICES: [&str; 4] = ["app", "cache", "db", "web"];

/// The guestbook, up and healthy, and its address.
fn guestbook(home: &Home) -> (Project<'_>, String) {
    let port = free_port();
    let project = home.example("guestbook").env("GUESTBOOK_PORT", port);
    project.stack(&["up", "-d", "--wait"]).ok();
    (project, format!("http://127.0.0.1:{port}"))
}

fn sign(url: &str, name: &str) {
    let (status, body) = post_form(
        &format!("{url}/entries"),
        &[("name", name), ("text", "Hello")],
    );
    assert_eq!(status, 201, "{body}");
}

fn names(url: &str) -> Result<Vec<String>, String> {
    let (status, body) = try_get(&format!("{url}/entries"))?;
    if status != 200 {
        return Err(format!("{status}: {body}"));
    }
    let entries: Vec<Value> = serde_json::from_str(&body).map_err(|error| error.to_string())?;
    Ok(entries
        .iter()
        .filter_map(|e| e["name"].as_str().map(str::to_owned))
        .collect())
}

fn all_different(project: &Project<'_>, field: &str) {
    let values: BTreeSet<String> = SERVICES
        .iter()
        .map(|name| project.container(name)[field].to_string())
        .collect();
    assert_eq!(values.len(), SERVICES.len(), "{field}: {values:?}");
}

/// One stack for all of it: to bring it up takes longer than everything else.
#[test]
fn four_services_serve_are_isolated_and_outlive_what_is_killed() {
    let home = Home::new();
    let (project, url) = guestbook(&home);
    a_request_goes_through_all_services(&home, &project, &url);
    the_front_cannot_reach_the_database(&project);
    killing_the_daemons_harms_no_service(&home, &project, &url);
    the_database_comes_back_after_its_vm_was_killed(&home, &project, &url);
}

fn a_request_goes_through_all_services(home: &Home, project: &Project<'_>, url: &str) {
    sign(url, "Ada");
    assert_eq!(names(url), Ok(vec!["Ada".to_owned()]));

    // The page counts in Redis.
    assert!(get(url).1.contains("Seen 1 times"));
    assert!(get(url).1.contains("Seen 2 times"));
    let counted = project
        .stack(&["exec", "-T", "cache", "redis-cli", "get", "seen"])
        .ok();
    assert_eq!(counted.trim(), "2");
    let select = "SELECT name FROM entries";
    let psql = [
        "exec",
        "-T",
        "db",
        "psql",
        "-U",
        "guestbook",
        "-tAc",
        select,
        "guestbook",
    ];
    assert_eq!(project.stack(&psql).ok().trim(), "Ada");

    // Each service is a machine of its own.
    all_different(project, "BootID");
    all_different(project, "Pid");
    assert_eq!(home.vms().len(), SERVICES.len());
    let logs = project.stack(&["logs", "--no-color", "app"]).ok();
    assert!(logs.contains("entry 1 by Ada"), "{logs}");
}

fn the_front_cannot_reach_the_database(project: &Project<'_>) {
    let address = project.stack(&["exec", "-T", "db", "hostname", "-I"]).ok();
    let address = address
        .split_whitespace()
        .next()
        .expect("the database has an address");
    let connect = format!("exec 3<>/dev/tcp/{address}/5432");
    let try_from = |service: &str| {
        project.stack(&[
            "exec", "-T", service, "timeout", "5", "bash", "-c", &connect,
        ])
    };
    // The way is open for the one that is allowed to take it.
    try_from("app").ok();
    try_from("web").fails();
    project
        .stack(&["exec", "-T", "app", "getent", "hosts", "db"])
        .ok();
    project
        .stack(&["exec", "-T", "web", "getent", "hosts", "db"])
        .fails();
    project
        .stack(&["exec", "-T", "web", "getent", "hosts", "app"])
        .ok();
}

fn killing_the_daemons_harms_no_service(home: &Home, project: &Project<'_>, url: &str) {
    let boot_ids = || SERVICES.map(|name| project.field(name, "BootID"));
    let before = boot_ids();

    home.kill_all("stackd");
    sign(url, "Grace");
    // Any command brings the daemon back, and it knows its VMs.
    assert_eq!(boot_ids(), before);
    assert_eq!(project.field("db", "State"), "running");
    project.stack(&["exec", "-T", "db", "true"]).ok();
    project.stack(&["logs", "--tail", "1", "app"]).ok();

    home.kill_all("stack-netd");
    let seen = eventually("the network", 20, || names(url).ok());
    assert_eq!(seen, ["Grace", "Ada"]);
    sign(url, "Joan");
    assert_eq!(boot_ids(), before);
    assert_eq!(home.vms().len(), SERVICES.len());
}

fn the_database_comes_back_after_its_vm_was_killed(home: &Home, project: &Project<'_>, url: &str) {
    let before = project.container("db");
    let pid = before["Pid"]
        .as_i64()
        .expect("a running container has a process");
    let vm = home.vms().into_iter().find(|vm| i64::from(vm.pid) == pid);
    vm.expect("the process that `ps` shows is a VM of this home")
        .kill();

    let names = eventually("the entries", 90, || names(url).ok());
    assert_eq!(names, ["Joan", "Grace", "Ada"]);
    let after = project.container("db");
    assert_ne!(after["BootID"], before["BootID"]);
    assert_eq!(after["ID"], before["ID"]);
    sign(url, "Mary");
}

#[test]
fn a_named_volume_outlives_down_and_ends_with_down_volumes() {
    let home = Home::new();
    let project = home.example("guestbook");
    let psql = |sql: &str| {
        project.stack(&[
            "exec",
            "-T",
            "db",
            "psql",
            "-U",
            "guestbook",
            "-tAc",
            sql,
            "guestbook",
        ])
    };
    // Only the database: the others have no say in this.
    let up = || project.stack(&["up", "-d", "--wait", "db"]).ok();
    up();
    psql("CREATE TABLE kept AS SELECT 42 AS number").ok();
    project.stack(&["down"]).ok();
    assert!(home.vms().is_empty());
    up();
    assert_eq!(psql("SELECT number FROM kept").ok().trim(), "42");
    project.stack(&["down", "--volumes"]).ok();
    up();
    psql("SELECT number FROM kept")
        .fails()
        .says("does not exist");
}

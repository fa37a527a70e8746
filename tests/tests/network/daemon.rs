//! The network daemon is killed, and the daemon that watches it.

use std::time::Duration;

use stack_tests::{Home, eventually, free_port, try_get};

use crate::inside;

#[test]
fn the_network_outlives_its_daemon() {
    let home = Home::new();
    let port = free_port();
    let project = home.project(
        "outlive",
        &format!(
            r#"
services:
  web:
    image: busybox:1
    init: true
    command: ["sh", "-c", "mkdir -p /www; echo hi > /www/index.html; exec httpd -f -p 80 -h /www"]
    healthcheck: {{test: [CMD, wget, -q, -O, /dev/null, "http://127.0.0.1/"]}}
    ports: ["127.0.0.1:{port}:80", "127.0.0.1::80"]
  load:
    image: busybox:1
    init: true
    command: ["sh", "-c", "while :; do timeout 10 wget -q -O - http://web/ >> /tmp/got; done"]
    depends_on: {{web: {{condition: service_healthy}}}}
"#
        ),
    );
    project.stack(&["up", "-d", "--wait"]).ok();
    let url = format!("http://127.0.0.1:{port}/");
    let chosen = published(&project);
    let answers = || -> u64 {
        let text = inside(&project, "load", "cat /tmp/got 2>/dev/null | wc -l");
        text.trim().parse().unwrap()
    };
    eventually("traffic", 30, || (answers() > 0).then_some(()));

    // Alone, and with the daemon that would start it again.
    home.kill_all("stack-netd");
    eventually("the port after the network daemon was killed", 60, || {
        try_get(&url).ok()
    });
    let before = answers();
    eventually("traffic between the machines", 60, || {
        (answers() > before).then_some(())
    });
    assert_eq!(published(&project), chosen, "the same ports as before");

    home.kill_all("stackd");
    home.kill_all("stack-netd");
    std::thread::sleep(Duration::from_millis(50));
    // The next command starts the daemon, which finds the machines.
    eventually("the machines", 60, || {
        (project.field("web", "State") == "running").then_some(())
    });
    eventually("the port after both were killed", 60, || try_get(&url).ok());
    let before = answers();
    eventually("traffic between the machines", 60, || {
        (answers() > before).then_some(())
    });
    assert_eq!(published(&project), chosen, "the same ports as before");
    project.stack(&["down"]).ok();
    assert!(try_get(&url).is_err(), "nothing listens any more");
}

fn published(project: &stack_tests::Project<'_>) -> Vec<String> {
    let text = project.stack(&["port", "web"]).ok();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

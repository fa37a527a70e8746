//! Published ports: taken, swapped, of a range.

use std::net::TcpListener;

use stack_tests::{Home, free_port, get};

fn file(a: &str, b: &str) -> String {
    let service = |name: &str, ports: &str| {
        format!(
            r#"
  {name}:
    image: busybox:1
    init: true
    command: ["sh", "-c", "mkdir -p /www; echo {name} > /www/index.html; exec httpd -f -p 80 -h /www"]
    healthcheck: {{test: [CMD, wget, -q, -O, /dev/null, "http://127.0.0.1/"]}}
    ports: ["{ports}"]
"#
        )
    };
    format!("services:\n{}{}", service("a", a), service("b", b))
}

#[test]
fn ports_are_taken_swapped_and_named() {
    let home = Home::new();
    let (first, second) = (free_port(), free_port());
    let at = |port: u16| format!("127.0.0.1:{port}:80");
    let project = home.project("ports", &file(&at(first), &at(second)));
    project.stack(&["up", "-d", "--wait"]).ok();
    let page = |port: u16| get(&format!("http://127.0.0.1:{port}/")).1;
    assert_eq!(
        (page(first).as_str(), page(second).as_str()),
        ("a\n", "b\n")
    );

    // Two services swap their ports, and no machine is restarted.
    let boots = ["a", "b"].map(|name| project.field(name, "BootID"));
    let write = |a: &str, b: &str| {
        std::fs::write(project.dir().join("stack.yaml"), file(a, b)).unwrap();
    };
    write(&at(second), &at(first));
    project.stack(&["up", "-d", "--wait"]).ok();
    assert_eq!(
        (page(first).as_str(), page(second).as_str()),
        ("b\n", "a\n")
    );
    assert_eq!(boots, ["a", "b"].map(|name| project.field(name, "BootID")));

    // Who has a port is named: a process, and a container of another stack.
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().port();
    write(&at(taken), &at(first));
    let pid = std::process::id().to_string();
    project.stack(&["up", "-d"]).fails().says(&pid);
    write(&at(second), &at(first));
    project.stack(&["up", "-d"]).ok();
    let other = home.project(
        "other",
        &format!(
            "services: {{c: {{image: 'busybox:1', command: sleep 9, ports: ['{first}:80']}}}}\n"
        ),
    );
    other
        .stack(&["up", "-d"])
        .fails()
        .says("by container ports-b-1 of stack ports");
    other.stack(&["down"]).ok();

    // Of a range, one that is free; a reserved port says what to do.
    drop(holder);
    let range = format!("127.0.0.1:{first}-{}:80", first.saturating_add(30));
    write(&range, &at(first));
    project.stack(&["up", "-d", "--wait"]).ok();
    let said = project.stack(&["port", "a", "80"]).ok();
    let port: u16 = said.trim().rsplit(':').next().unwrap().parse().unwrap();
    assert!(port > first && port <= first.saturating_add(30), "{said}");
    assert_eq!(page(port), "a\n");
    project.stack(&["down"]).ok();
    assert!(
        TcpListener::bind(("127.0.0.1", first)).is_ok(),
        "the port is free"
    );
}

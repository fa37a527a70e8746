//! Changes of running services: in place, one after another, and back.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stack_tests::{Home, free_port, get, try_get};

/// A web server that answers with a word. What is in `more` follows it.
fn web(word: &str, port: u16, more: &str) -> String {
    format!(
        r#"services:
  web:
    image: busybox:1
    command: ["sh", "-c", "mkdir -p /www; echo {word} > /www/index.html; exec httpd -f -p 80 -h /www"]
    ports: ["127.0.0.1:{port}:80"]
    stop_grace_period: 1s
    healthcheck: {{test: [CMD, wget, -q, -O, /dev/null, "http://127.0.0.1/"], interval: 2s}}
{more}"#
    )
}

#[test]
fn a_running_machine_takes_what_it_can() {
    let home = Home::new();
    let (first, second) = (free_port(), free_port());
    let project = home.project("live", &web("hello", first, ""));
    project.stack(&["up", "-d", "--wait"]).ok();
    let boot = project.field("web", "BootID");
    let file = project.dir().join("stack.yaml");
    let more = "    mem_limit: 200m\n    cpus: 0.5\n    pids_limit: 77\n    restart: always\n    \
                extra_hosts: [\"db.local:10.9.8.7\"]\n    dns_search: [example.test]\n    \
                networks: {default: {aliases: [shop]}}\n";
    std::fs::write(&file, web("hello", second, more)).unwrap();
    let plan = project.stack(&["plan"]).ok();
    assert!(plan.contains("1 to update in place"), "{plan}");
    assert!(
        plan.contains(&format!("127.0.0.1:{first}:80 → 127.0.0.1:{second}:80")),
        "{plan}"
    );
    project.stack(&["up", "-d", "--wait"]).ok();
    assert_eq!(project.field("web", "BootID"), boot, "it was not restarted");
    assert_eq!(get(&format!("http://127.0.0.1:{second}/")).1, "hello\n");
    assert!(try_get(&format!("http://127.0.0.1:{first}/")).is_err());
    let inside = |command: &str| {
        project
            .stack(&["exec", "-T", "web", "sh", "-c", command])
            .ok()
    };
    let limits = inside("cd /sys/fs/cgroup; cat memory.max pids.max cpu.max");
    assert_eq!(limits, "209715200\n77\n50000 100000\n");
    assert!(inside("cat /etc/hosts").contains("10.9.8.7\tdb.local"));
    assert!(inside("cat /etc/resolv.conf").contains("search example.test"));
    assert_eq!(inside("wget -q -O - http://shop/"), "hello\n");
    let plan = project.stack(&["plan", "--detailed-exitcode"]).ok();
    assert!(plan.contains("Nothing to do"), "{plan}");

    // A port that somebody has: the error says who, and all stays as it was.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    std::fs::write(&file, web("hello", port, more)).unwrap();
    project
        .stack(&["up", "-d"])
        .fails()
        .says("already in use by");
    assert_eq!(get(&format!("http://127.0.0.1:{second}/")).1, "hello\n");
    assert_eq!(project.field("web", "BootID"), boot);

    // Less memory than it uses: the same.
    inside("dd if=/dev/zero of=/dev/shm/x bs=1M count=30 2>/dev/null");
    let less = more.replace("200m", "16m");
    std::fs::write(&file, web("hello", second, &less)).unwrap();
    project
        .stack(&["up", "-d"])
        .fails()
        .says("more than a limit of");
    assert!(inside("cat /sys/fs/cgroup/memory.max").starts_with("209715200"));
    assert_eq!(project.field("web", "BootID"), boot);
}

#[test]
fn nobody_notices_when_the_new_one_comes_first() {
    let home = Home::new();
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}/");
    let update = "    deploy: {update_config: {order: start-first, failure_action: rollback}}\n";
    let project = home.project("first", &web("one", port, update));
    project.stack(&["up", "-d", "--wait"]).ok();
    let file = project.dir().join("stack.yaml");

    let done = Arc::new(AtomicBool::new(false));
    let asking = std::thread::spawn({
        let (url, done) = (url.clone(), Arc::clone(&done));
        move || {
            let mut answers = Vec::new();
            while !done.load(Ordering::Relaxed) {
                answers.push(try_get(&url).map(|(_, body)| body));
                std::thread::sleep(Duration::from_millis(10));
            }
            answers
        }
    });
    std::fs::write(&file, web("two", port, update)).unwrap();
    project.stack(&["up", "-d"]).ok();
    assert_eq!(get(&url).1, "two\n");
    // One that is never healthy takes nothing over.
    let broken = web("three", port, update).replace("-p 80", "-p 81");
    let broken = broken.replace("interval: 2s", "interval: 300ms, retries: 1");
    std::fs::write(&file, broken).unwrap();
    project
        .stack(&["up", "-d"])
        .fails()
        .says("the stack was rolled back to what it was");
    assert_eq!(get(&url).1, "two\n");
    done.store(true, Ordering::Relaxed);
    let answers = asking.join().unwrap();
    assert!(answers.len() > 20, "{}", answers.len());
    for answer in answers {
        assert!(
            matches!(answer.as_deref(), Ok("one\n" | "two\n")),
            "{answer:?}"
        );
    }
    assert_eq!(project.containers().len(), 1);

    let history = project.stack(&["history"]).ok();
    assert!(history.contains("web: command"), "{history}");
    project.stack(&["rollback", "--wait", "1"]).ok();
    assert_eq!(get(&url).1, "one\n");
}

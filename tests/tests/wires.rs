//! Traffic from VM to VM goes on whatever dies beside or below it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::time::Duration;

use stack_tests::{Home, Project, eventually, free_port};

const STACK: &str = r#"
services:
  source:
    image: busybox:1
    init: true
    command: ["sleep", "100000"]
  sink:
    image: busybox:1
    init: true
    stop_grace_period: 0s
    restart: always
    command: ["nc", "-ll", "-p", "80", "-e", "sha256sum"]
    ports: ["127.0.0.1:PORT:80"]
"#;

/// `sh` in the source's container.
fn sh(project: &Project<'_>, script: &str) -> String {
    project
        .stack(&["exec", "-T", "source", "sh", "-c", script])
        .ok()
}

/// Sends what `/tmp/sent` holds to the sink and compares what both think of
/// it.
const SEND: &str = "sha256sum < /tmp/sent; timeout 100 nc sink 80 < /tmp/sent";

fn is_whole(said: &str) {
    let hashes: Vec<&str> = said.lines().collect();
    assert_eq!(hashes.len(), 2, "{said}");
    assert_eq!(hashes[0], hashes[1]);
}

fn begun(project: &Project<'_>) {
    let listens = "until nc sink 80 </dev/null >/dev/null 2>&1; do sleep 0.1; done";
    sh(project, listens);
}

/// The same by way of a published port, whose client ends its half first.
fn through_the_gateway(project: &Project<'_>, port: u16) {
    let file = project.dir().join("sent");
    let hash = format!(
        "head -c 20000000 /dev/urandom > {0}; sha256sum < {0}",
        file.display()
    );
    let hash = Command::new("sh").args(["-c", &hash]).output().unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let patience = Some(Duration::from_secs(60));
    stream.set_read_timeout(patience).unwrap();
    stream.set_write_timeout(patience).unwrap();
    let mut sent = stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        sent.write_all(&std::fs::read(file).unwrap()).unwrap();
        sent.shutdown(Shutdown::Write).unwrap();
    });
    project.stack(&["pause", "sink"]).ok();
    std::thread::sleep(Duration::from_secs(2));
    project.stack(&["unpause", "sink"]).ok();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    sender.join().unwrap();
    assert_eq!(said.as_bytes(), hash.stdout);
}

#[test]
fn a_transfer_survives_the_network_daemon_and_outlives_the_vm_at_its_end() {
    let home = Home::new();
    let port = free_port();
    let project = home.project("wires", &STACK.replace("PORT", &port.to_string()));
    project.stack(&["up", "-d", "--wait"]).ok();
    assert!(project.stack(&["doctor"]).ok().contains("vhost-user ("));
    begun(&project);
    sh(&project, "head -c 60000000 /dev/urandom > /tmp/sent");
    is_whole(&sh(&project, SEND));

    // The network daemon dies twice in the middle of a transfer.
    let transfer = project.begin(&["exec", "-T", "source", "sh", "-c", SEND]);
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(300));
        home.kill_all("stack-netd");
        eventually("another network daemon", 20, || {
            let processes = home.processes();
            let mut programs = processes.iter().map(|process| &process.program);
            programs
                .any(|program| program == "stack-netd")
                .then_some(())
        });
    }
    is_whole(&transfer.finish(120).ok());

    // The VM at the other end sleeps in the middle of one.
    let transfer = project.begin(&["exec", "-T", "source", "sh", "-c", SEND]);
    std::thread::sleep(Duration::from_millis(300));
    project.stack(&["pause", "sink"]).ok();
    std::thread::sleep(Duration::from_secs(2));
    project.stack(&["unpause", "sink"]).ok();
    is_whole(&transfer.finish(120).ok());
    through_the_gateway(&project, port);

    // The VM at the other end dies in the middle of one, and comes back.
    let pid = |service: &str| project.container(service)["Pid"].to_string();
    let (lost, other) = (pid("sink"), pid("source"));
    let transfer = project.begin(&["exec", "-T", "source", "sh", "-c", SEND]);
    std::thread::sleep(Duration::from_millis(300));
    for vm in home.vms() {
        if vm.pid.to_string() == lost {
            vm.kill();
        }
    }
    eventually("the VM's successor", 60, || {
        (pid("sink") != lost && pid("sink") != "0").then_some(())
    });
    drop(transfer);
    begun(&project);
    is_whole(&sh(&project, SEND));
    assert_eq!(pid("source"), other);
    project.stack(&["down"]).ok();
}

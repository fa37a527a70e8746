//! Services that do not run as they should.

use std::net::TcpListener;

use stack_tests::{Home, eventually, free_port};

use crate::one_service;

fn publishing(port: u16) -> String {
    format!(
        "{}    ports: ['127.0.0.1:{port}:80']\n",
        one_service("busybox:1")
    )
}

#[test]
fn its_port_is_in_use_by_a_process() {
    let home = Home::new();
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let project = home.project("port", &publishing(port));
    let own = format!("pid {}", std::process::id());
    project
        .stack(&["up", "-d"])
        .fails()
        .says(&port.to_string())
        .says("in use")
        .says(&own);
    assert!(home.vms().is_empty());

    drop(holder);
    project.stack(&["up", "-d", "--wait"]).ok();
}

#[test]
fn its_port_is_in_use_by_another_stack() {
    let home = Home::new();
    let port = free_port();
    let first = home.project("first", &publishing(port));
    first.stack(&["up", "-d", "--wait"]).ok();
    let second = home.project("second", &publishing(port));
    second
        .stack(&["up", "-d"])
        .fails()
        .says("in use")
        .says("first-box-1");
    assert_eq!(first.field("box", "State"), "running");
}

#[test]
fn its_program_is_not_in_the_image() {
    let home = Home::new();
    let file = "services:\n  box:\n    image: busybox:1\n    command: [no-such-program, -x]\n";
    let project = home.project("missing", file);
    project
        .stack(&["up", "-d"])
        .fails()
        .says("no-such-program")
        .says("box");
    assert_eq!(project.container("box")["ExitCode"], 127);
    eventually("the end of its VM", 10, || {
        home.vms().is_empty().then_some(())
    });
}

#[test]
fn it_ends_at_once() {
    let home = Home::new();
    let file = "services:\n  box:\n    image: busybox:1\n    \
                command: sh -c 'echo my last words; exit 3'\n";
    let project = home.project("short", file);
    project
        .stack(&["up", "-d", "--wait"])
        .fails()
        .says("3")
        .says("my last words");
    let ended = project.container("box");
    assert_eq!(ended["ExitCode"], 3);
    assert_eq!(ended["State"], "exited");
}

#[test]
fn its_health_check_never_passes() {
    let home = Home::new();
    let file = "services:\n  box:\n    image: busybox:1\n    \
                command: sh -c 'echo the culprit speaks; sleep 1000'\n    \
                healthcheck:\n      test: echo the probe says no; exit 9\n      \
                interval: 300ms\n      timeout: 10s\n      retries: 2\n";
    let project = home.project("sick", file);
    let failed = project
        .stack(&["up", "-d", "--wait"])
        .fails()
        .says("unhealthy")
        .says("the probe says no")
        .says("the culprit speaks");
    assert_eq!(failed.code, Some(20), "{failed}");
    assert_eq!(project.field("box", "Health"), "unhealthy");
}

#[test]
fn what_it_depends_on_fails() {
    let home = Home::new();
    let file = "services:\n  first:\n    image: busybox:1\n    command: sh -c 'exit 4'\n  \
                second:\n    image: busybox:1\n    command: sleep 1000\n    \
                depends_on:\n      first:\n        condition: service_completed_successfully\n";
    let project = home.project("depends", file);
    project.stack(&["up", "-d"]).fails().says("first").says("4");
    let second = project
        .containers()
        .into_iter()
        .find(|c| c["Service"] == "second");
    assert!(
        second.is_none_or(|c| c["State"] == "created"),
        "it was started all the same"
    );
}

#[test]
fn ctrl_c_while_it_boots() {
    let home = Home::new();
    let project = home.project("boot", &one_service("busybox:1"));
    project.stack(&["pull"]).ok();
    let up = project.begin(&["up", "-d", "--wait"]);
    eventually("its VM", 30, || (!home.vms().is_empty()).then_some(()));
    up.interrupt();
    let ended = up.finish(15);
    assert_eq!(ended.code, Some(130), "{ended}");

    // Whatever was half-made: `up` goes on from there, `down` takes it away.
    project.stack(&["up", "-d", "--wait"]).ok();
    assert_eq!(home.vms().len(), 1);
    project.stack(&["down"]).ok();
    eventually("the end of its VM", 10, || {
        home.vms().is_empty().then_some(())
    });
}

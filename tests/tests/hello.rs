//! One service from start to end.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use stack_tests::{Home, eventually, free_port, get, is_root, try_get};

#[test]
fn a_service_starts_answers_and_leaves_nothing_behind() {
    let home = Home::new();
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}/");
    let hello = home.example("hello").env("HELLO_PORT", port);
    hello.stack(&["up", "-d", "--wait"]).ok();

    let (status, body) = get(&url);
    assert_eq!(status, 200);
    assert!(body.contains("Hello from a virtual machine"), "{body}");

    let web = hello.container("web");
    assert_eq!(web["State"], "running");
    assert_eq!(web["Health"], "healthy");
    assert_eq!(web["Publishers"][0]["PublishedPort"], port);
    assert_eq!(web["Publishers"][0]["TargetPort"], 80);
    assert_eq!(home.vms().len(), 1);

    // The kernel in there is another one than ours.
    let boot_id = "/proc/sys/kernel/random/boot_id";
    let host = std::fs::read_to_string(boot_id).unwrap_or_default();
    let guest = hello.stack(&["exec", "-T", "web", "cat", boot_id]).ok();
    assert_ne!(guest.trim(), host.trim());
    assert_eq!(guest.trim(), web["BootID"]);

    hello.stack(&["down"]).ok();
    assert!(try_get(&url).is_err(), "the port still answers");
    assert!(hello.containers().is_empty());
    eventually("all that `down` should end", 5, || {
        home.processes()
            .iter()
            .all(|process| process.program == "stackd")
            .then_some(())
    });
    home.shut_down();
    eventually("the end of the daemon", 5, || {
        home.processes().is_empty().then_some(())
    });
}

#[test]
fn a_bind_mount_shows_changes_at_once_and_stays_read_only() {
    let home = Home::new();
    let port = free_port();
    let hello = home.example("hello").env("HELLO_PORT", port);
    hello.stack(&["up", "-d", "--wait"]).ok();
    std::fs::write(hello.dir().join("www/index.html"), "changed on the host").unwrap();
    let url = format!("http://127.0.0.1:{port}/");
    eventually("the new page", 5, || {
        (get(&url).1 == "changed on the host").then_some(())
    });
    hello
        .stack(&["exec", "-T", "web", "touch", "/www/new"])
        .fails()
        .says("read-only");
    assert!(!hello.dir().join("www/new").exists());
}

#[test]
fn up_again_changes_nothing_until_the_file_does() {
    let home = Home::new();
    let file = |message: &str| {
        format!(
            "services:\n  one:\n    image: busybox:1\n    init: true\n    command: sleep 1000\n    \
             environment:\n      MESSAGE: {message}\n"
        )
    };
    let project = home.project("again", &file("first"));
    project.stack(&["up", "-d", "--wait"]).ok();
    let before = project.field("one", "ID");
    let again = project.stack(&["up", "-d", "--wait"]);
    assert!(again.took < Duration::from_secs(3), "{again}");
    again.ok();
    assert_eq!(project.field("one", "ID"), before);

    std::fs::write(project.dir().join("stack.yaml"), file("second")).unwrap();
    project.stack(&["up", "-d", "--wait"]).ok();
    assert_ne!(project.field("one", "ID"), before);
    let message = project
        .stack(&["exec", "-T", "one", "sh", "-c", "echo $MESSAGE"])
        .ok();
    assert_eq!(message, "second\n");
}

#[test]
fn exec_passes_exit_codes_and_both_outputs_through() {
    let home = Home::new();
    let project = home.project(
        "exec",
        "services:\n  box:\n    image: busybox:1\n    command: sleep 1000\n",
    );
    project.stack(&["up", "-d", "--wait"]).ok();
    let both = project.stack(&[
        "exec",
        "-T",
        "box",
        "sh",
        "-c",
        "echo out; echo err >&2; exit 42",
    ]);
    assert_eq!(both.code, Some(42), "{both}");
    assert_eq!(both.stdout, "out\n");
    assert!(both.stderr.contains("err"), "{both}");
    let missing = project.stack(&["exec", "-T", "box", "no-such-program"]);
    assert_eq!(missing.code, Some(127), "{missing}");
}

#[test]
fn logs_keep_order_and_stay_after_the_end() {
    let home = Home::new();
    let project = home.project(
        "logs",
        "services:\n  talk:\n    image: busybox:1\n    \
         command: sh -c 'for n in $$(seq 500); do echo line $$n; done'\n",
    );
    project.stack(&["up", "-d"]).ok();
    eventually("its end", 30, || {
        (project.field("talk", "State") == "exited").then_some(())
    });
    let logs = project
        .stack(&["logs", "--no-log-prefix", "--no-color", "talk"])
        .ok();
    let wanted: String = (1..=500).map(|n| format!("line {n}\n")).collect();
    assert_eq!(logs, wanted);
    let tail = project
        .stack(&["logs", "--no-log-prefix", "--tail", "1", "talk"])
        .ok();
    assert_eq!(tail, "line 500\n");
}

#[test]
fn a_plain_user_can_do_all_of_it() {
    if !is_root() {
        eprintln!("skipped: the other tests of this run are by a plain user already");
        return;
    }
    // `nobody` may be shared with other services: a number of our own.
    let home = Home::new().as_user(64_738);
    let port = free_port();
    let hello = home.example("hello").env("HELLO_PORT", port);
    hello.stack(&["up", "-d", "--wait"]).ok();
    assert_eq!(get(&format!("http://127.0.0.1:{port}/")).0, 200);
    for process in home.processes() {
        let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid)).unwrap();
        assert!(
            status.contains("Uid:\t64738\t64738\t64738\t64738"),
            "{process:?}: {status}"
        );
    }
    hello.stack(&["down", "--volumes"]).ok();
    // Found before a machine is started.
    let closed = home.dir().join("closed");
    std::fs::create_dir(&closed).expect("a directory of root's");
    std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o700)).expect("its mode");
    let file = format!(
        "services:\n  box: {{image: 'busybox:1', volumes: ['{}:/h']}}\n",
        closed.display()
    );
    let refused = home.project("refused", &file).stack(&["up", "-d"]).fails();
    refused
        .says("closed: Permission denied")
        .says("who runs stackd");
}

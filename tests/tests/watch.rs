//! `stack watch` on a real VM: what changes on the host changes in the
//! service.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use stack_tests::{Home, Project, eventually};

const STACK: &str = r#"services:
  web:
    image: busybox:1
    user: "1000:1000"
    command: [sh, -c, "echo $$RANDOM-$$(cat /etc/restarting 2>/dev/null); exec sleep 100000"]
    init: true
    stop_grace_period: 1s
    develop:
      watch:
        - {path: ./src, action: sync, target: /app/src, initial_sync: true, ignore: ["*.tmp", cache]}
        - {path: ./conf, action: sync+exec, target: /app/conf, exec: {command: [sh, -c, "echo got $$(cat /app/conf) as $$(id -u) for $$WHO in $$PWD"], user: root, environment: [WHO=us], working_dir: /app}}
        - {path: ./restarting, action: sync+restart, target: /etc/restarting}
        - {path: ./again, action: restart}
  ends:
    image: busybox:1
    command: [sh, -c, "sleep 1; grep good /etc/state && exec sleep 100000"]
    init: true
    stop_grace_period: 1s
    develop: {watch: [{path: ./state, action: sync+restart, target: /etc/state}]}
"#;

fn inside(project: &Project<'_>, command: &str) -> String {
    let arguments = ["exec", "-T", "-u", "0", "web", "sh", "-c", command];
    project.stack(&arguments).stdout
}

#[test]
fn changes_arrive_in_the_service() {
    let home = Home::new();
    let project = home.project("watching", STACK);
    let on_host = |path: &str| project.dir().join(path);
    let write = |path: &str, text: &str| {
        let path = on_host(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("src/run.sh", "#!/bin/sh\n");
    fs::set_permissions(on_host("src/run.sh"), fs::Permissions::from_mode(0o750)).unwrap();
    write("src/cache/large", "not wanted");
    write("conf", "one");
    write("restarting", "1");
    write("again", "1");
    write("state", "bad");
    let watching = project.begin(&["watch"]);
    let arrives = |what: &str, command: &str, wanted: &str| {
        eventually(what, 60, || {
            (inside(&project, command) == wanted).then_some(())
        });
    };

    // From the start: mode and owner are right, what is ignored stays out.
    let look = "cd /app/src 2>/dev/null && stat -c '%a %u %g' run.sh && ls";
    arrives("initial sync", look, "750 1000 1000\nrun.sh\n");

    // Made, changed, renamed, deleted; a directory with what is in it.
    write("src/deep/er/a.txt", "1");
    arrives("a new tree", "cat /app/src/deep/er/a.txt", "1");
    write("src/deep/er/a.txt", "longer");
    arrives("a change", "cat /app/src/deep/er/a.txt", "longer");
    fs::rename(on_host("src/deep/er/a.txt"), on_host("src/b.txt")).unwrap();
    arrives(
        "a rename",
        "cat /app/src/b.txt; ls /app/src/deep/er",
        "longer",
    );
    fs::set_permissions(on_host("src/b.txt"), fs::Permissions::from_mode(0o666)).unwrap();
    arrives("a mode", "stat -c %a /app/src/b.txt", "666\n");
    write("src/x.tmp", "left out");
    fs::remove_dir_all(on_host("src/deep")).unwrap();
    arrives("a deletion", "ls /app/src", "b.txt\nrun.sh\n");
    std::os::unix::fs::symlink("b.txt", on_host("src/link")).unwrap();
    arrives("a link", "readlink /app/src/link", "b.txt\n");

    // What has ended is brought back by the change that mends it.
    eventually("its end", 30, || {
        (project.field("ends", "State") == "exited").then_some(())
    });
    write("state", "good");
    eventually("a service that runs again", 60, || {
        (project.field("ends", "State") == "running").then_some(())
    });
    project.stack(&["stop", "-t", "0", "ends"]).ok();
    project
        .stack(&["up", "--watch"])
        .fails()
        .says("another `stack watch`");

    // Many at once.
    for n in 0..300 {
        write(&format!("src/many/{}/{n}", n % 7), "x");
    }
    arrives("300 files", "find /app/src/many -type f | wc -l", "300\n");

    // A command after it; the service's own files are not touched silently.
    write("conf", "two");
    arrives("one file", "cat /app/conf", "two");
    inside(&project, "sleep 1.1; echo mine > /app/src/b.txt");
    write("src/b.txt", "theirs");
    arrives("an overwritten file", "cat /app/src/b.txt", "theirs");

    // The stack file, and other files with it.
    write("stack.yaml", &format!("{STACK}# changed\n"));
    write("src/with-it", "1");
    arrives("what came with it", "cat /app/src/with-it", "1");

    // A restart, after which copying goes on.
    let restarts = |file: &str| {
        let boot = project.field("web", "BootID");
        write(file, "2");
        eventually("a restart", 60, || {
            let now = project.container("web")["BootID"].clone();
            (now.is_string() && now != boot.as_str()).then_some(())
        });
    };
    restarts("restarting");
    restarts("again");
    write("src/b.txt", "after");
    arrives("a change after a restart", "cat /app/src/b.txt", "after");
    assert_eq!(
        inside(&project, "ls -d /app/src/many /.stack-sync 2>/dev/null"),
        "/app/src/many\n"
    );

    watching.interrupt();
    let finished = watching.finish(30);
    let said = "got two as 0 for us in /app";
    assert!(finished.stderr.contains(said), "{}", finished.stderr);
    assert!(
        finished
            .stderr
            .contains("b.txt had been changed in the container"),
        "{}",
        finished.stderr
    );
}

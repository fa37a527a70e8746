//! Files of the host and shared volumes, on real VMs.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use stack_tests::{Home, eventually};

/// The checker that runs in the guests.
const POSIX: &str = include_str!("../files/posix.py");
const INOTIFY: &str = include_str!("../files/inotify.py");
const PROGRAMS: &str = include_str!("../files/programs.sh");

fn two(volumes: &str, more: &str) -> String {
    let service = |name: &str| {
        format!(
            "  {name}:\n    image: python:3\n    init: true\n    command: sleep infinity\n    \
             stop_grace_period: 1s\n    volumes: {volumes}\n"
        )
    };
    format!("services:\n{}{}{more}", service("one"), service("two"))
}

#[test]
fn bind_mounts_and_volumes_keep_what_posix_promises_while_the_server_is_killed() {
    let home = Home::new();
    let file = two(
        "[ './data:/data', './tool:/tool:ro', 'vol:/v' ]",
        "volumes: { vol: {} }\n",
    );
    let project = home.project("posix", &file);
    for dir in ["data", "tool"] {
        std::fs::create_dir(project.dir().join(dir)).unwrap();
    }
    std::fs::write(project.dir().join("tool/posix.py"), POSIX).unwrap();
    project.stack(&["up", "-d"]).ok();
    let check = |service: &str, arguments: &[&str]| {
        let mut all = vec!["exec", "-T", service, "python3", "/tool/posix.py"];
        all.extend(arguments);
        let begun = project.begin(&all);
        // Nothing in it fails, or is done twice, for a server that dies.
        let (mut kills, mut server) = (0, None);
        while kills < 8 {
            let now = eventually("the file server", 10, || {
                let all = home.processes();
                let found = all.into_iter().find(|p| p.program == "stack-fsd-server");
                found.filter(|p| Some(p.pid) != server)
            });
            server = Some(now.pid);
            std::thread::sleep(std::time::Duration::from_millis(1300));
            now.kill();
            kills += 1;
        }
        let said = begun.finish(300).ok();
        assert!(said.ends_with("0 failed\n"), "{said}");
    };
    check("one", &["/data"]);
    check("two", &["/v", "volume"]);
}

#[test]
fn a_machine_that_is_alone_relies_on_what_it_knows_until_another_comes() {
    let home = Home::new();
    let service = |name: &str| {
        format!(
            "  {name}:\n    image: python:3\n    init: true\n    command: sleep infinity\n    \
             stop_grace_period: 1s\n    volumes: [ './data:/data', './tool:/tool:ro', 'vol:/v' ]\n"
        )
    };
    let end = "volumes: { vol: { external: true, name: vol } }\n";
    let project = home.project("alone", &format!("services:\n{}{end}", service("one")));
    for dir in ["data", "tool"] {
        std::fs::create_dir(project.dir().join(dir)).unwrap();
    }
    std::fs::write(project.dir().join("tool/posix.py"), POSIX).unwrap();
    std::fs::write(project.dir().join("tool/inotify.py"), INOTIFY).unwrap();
    project.stack(&["volume", "create", "vol"]).ok();
    project.stack(&["up", "-d"]).ok();
    let run =
        |service: &str, script: &str| project.stack(&["exec", "-T", service, "sh", "-c", script]);
    for arguments in ["/data", "/v volume"] {
        let said = run("one", &format!("python3 /tool/posix.py {arguments}")).ok();
        assert!(said.ends_with("0 failed\n"), "{said}");
    }
    // What the host does is seen after a moment: new, changed, gone.
    let at = project.dir().join("data/seen");
    let begun = project.begin(&[
        "exec",
        "-T",
        "one",
        "sh",
        "-c",
        "wait() { n=0; until eval \"$1\"; do n=$((n+1)); test $n -lt 100000 || exit 1; done; }; \
         touch /data/ready; wait 'test -e /data/seen'; wait 'test \"$(cat /data/seen)\" = two'; \
         wait '! test -e /data/seen'; echo end",
    ]);
    let ready = project.dir().join("data/ready");
    eventually("the service", 30, || ready.exists().then_some(()));
    for content in ["one", "two"] {
        std::fs::write(&at, content).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    std::fs::remove_file(&at).unwrap();
    assert_eq!(begun.finish(60).ok(), "end\n");
    // It is told of changes, so it need not ask: not even one that does not answer.
    let server = || {
        eventually("the file server", 10, || {
            let all = home.processes();
            all.into_iter().find(|p| p.program == "stack-fsd-server")
        })
    };
    std::fs::create_dir(project.dir().join("data/sub")).unwrap();
    let known = project.dir().join("data/sub/known");
    std::fs::write(&known, "12345").unwrap();
    // After 5 s it asks once more, and relies on the answer.
    let look = "stat -c %s known /v/here; test ! -e none";
    let script = format!(
        "echo 1 > /v/here; cd /data/sub; {look}; sleep 5.5; {look}; touch /data/told; \
         sleep 2; {look}"
    );
    let mut begun = project.begin(&["exec", "-T", "one", "sh", "-c", &script]);
    let told = project.dir().join("data/told");
    eventually("the service", 30, || told.exists().then_some(()));
    server().halt();
    let ends = (0..300).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        begun.has_ended()
    });
    server().go_on();
    assert!(ends, "it has asked the server");
    assert_eq!(begun.finish(10).ok(), "5\n2\n".repeat(3));
    // What belongs to whoever looks belongs to the next one, too.
    for user in ["1000", "0"] {
        let owner = [
            "exec",
            "-T",
            "-u",
            user,
            "one",
            "stat",
            "-c",
            "%u",
            "/data/sub/known",
        ];
        assert_eq!(project.stack(&owner).ok(), format!("{user}\n"));
    }
    run("one", &format!("cd /data/sub; sleep 2.5; {look}; {look}")).ok();
    // Nothing is lost with a server, either.
    server().kill();
    std::fs::write(&known, "123").unwrap();
    std::fs::write(project.dir().join("data/sub/none"), "").unwrap();
    run(
        "one",
        "cd /data/sub; n=0; until test $(stat -c %s known) = 3 -a -e none; do sleep 0.1; \
         n=$((n+1)); test $n -lt 100 || exit 1; done",
    )
    .ok();
    // The second machine changes what the first has just looked at.
    let both = format!("services:\n{}{}{end}", service("one"), service("two"));
    std::fs::write(project.dir().join("stack.yaml"), both).unwrap();
    run(
        "one",
        "echo 1 > /v/n; echo 1 > /data/n; cat /v/n /data/n; ls -l /v /data",
    )
    .ok();
    project.stack(&["up", "-d"]).ok();
    for n in 2..10 {
        let (writer, reader) = if n % 2 == 0 {
            ("two", "one")
        } else {
            ("one", "two")
        };
        run(
            writer,
            &format!("echo {n} > /v/n; echo {n} > /data/n; touch /v/new{n}"),
        )
        .ok();
        let seen = run(reader, &format!("cat /v/n /data/n; test -e /v/new{n}")).ok();
        assert_eq!(seen, format!("{n}\n{n}\n"));
    }
    for service in ["one", "two"] {
        // What watches a directory of the host is told what the host does there.
        let dir = project
            .dir()
            .join("data")
            .join(format!("watched-{service}"));
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("old"), "1").unwrap();
        let ready = project.dir().join(format!("data/watching-{service}"));
        let script =
            format!("python3 /tool/inotify.py /data/watched-{service} /data/watching-{service}");
        let begun = project.begin(&["exec", "-T", service, "sh", "-c", &script]);
        eventually("the service", 30, || ready.exists().then_some(()));
        std::fs::write(dir.join("old"), "12").unwrap();
        std::fs::write(dir.join("new"), "1").unwrap();
        // As editors save.
        std::fs::write(dir.join("old~"), "123").unwrap();
        std::fs::rename(dir.join("old~"), dir.join("old")).unwrap();
        std::fs::create_dir(dir.join("sub")).unwrap();
        std::fs::set_permissions(dir.join("old"), Permissions::from_mode(0o600)).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(500));
        std::fs::remove_file(dir.join("new")).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(500));
        std::fs::write(dir.join("end"), "").unwrap();
        let told = begun.finish(60).ok();
        for wanted in [
            "modify old",
            "close_write old",
            "create new",
            "modify new",
            "create old~",
            "moved_from old~",
            "moved_to old",
            "create sub",
            "attrib old",
            "delete new",
            "create end",
        ] {
            assert!(told.lines().any(|line| line == wanted), "{wanted}:\n{told}");
        }
    }
}

#[test]
fn locks_and_files_are_the_same_in_two_machines() {
    let home = Home::new();
    let project = home.project("shared", &two("[ 'vol:/v' ]", "volumes: { vol: {} }\n"));
    project.stack(&["up", "-d"]).ok();
    let run =
        |service: &str, script: &str| project.stack(&["exec", "-T", service, "sh", "-c", script]);
    run(
        "one",
        "echo first > /v/a; chown 12:34 /v/a; ln -s a /v/l; mkfifo /v/p",
    )
    .ok();
    let seen = run(
        "two",
        "cat /v/l; stat -c '%u:%g %F' /v/a /v/p; echo second >> /v/a",
    )
    .ok();
    assert_eq!(seen, "first\n12:34 regular file\n0:0 fifo\n");
    assert_eq!(run("one", "cat /v/a").ok(), "first\nsecond\n");

    let held = project.begin(&[
        "exec",
        "-T",
        "one",
        "flock",
        "/v/lock",
        "sh",
        "-c",
        "touch /v/held; while ! test -e /v/go; do sleep 0.1; done; echo one >> /v/order",
    ]);
    eventually("the lock", 20, || {
        run("two", "test -e /v/held")
            .code
            .eq(&Some(0))
            .then_some(())
    });
    run("two", "flock -n /v/lock true").fails();
    let waits = project.begin(&[
        "exec",
        "-T",
        "two",
        "flock",
        "/v/lock",
        "sh",
        "-c",
        "echo two >> /v/order",
    ]);
    run("two", "touch /v/go").ok();
    held.finish(60).ok();
    waits.finish(60).ok();
    assert_eq!(run("one", "cat /v/order").ok(), "one\ntwo\n");

    // A lock goes with its machine.
    let _lost = project.begin(&[
        "exec",
        "-T",
        "one",
        "flock",
        "/v/lock",
        "sh",
        "-c",
        "touch /v/again; sleep 1000",
    ]);
    eventually("the lock", 20, || {
        run("two", "test -e /v/again")
            .code
            .eq(&Some(0))
            .then_some(())
    });
    project.stack(&["kill", "one"]).ok();
    run("two", "flock -w 30 /v/lock true").ok();
}

#[test]
fn directories_are_locked_and_renamed_under_another_machine() {
    let home = Home::new();
    let file = two("[ './data:/data', 'vol:/v' ]", "volumes: { vol: {} }\n");
    let project = home.project("renames", &file);
    let team = project.dir().join("data/team");
    std::fs::create_dir_all(&team).unwrap();
    std::fs::set_permissions(&team, Permissions::from_mode(0o2755)).unwrap();
    project.stack(&["up", "-d"]).ok();
    let run =
        |service: &str, script: &str| project.stack(&["exec", "-T", service, "sh", "-c", script]);
    let there = |file: &str| {
        eventually(file, 20, || {
            let found = run("two", &format!("test -e {file}"));
            found.code.eq(&Some(0)).then_some(())
        });
    };
    run("one", "mkdir -p /v/work/sub").ok();
    let works = project.begin(&[
        "exec",
        "-T",
        "one",
        "sh",
        "-c",
        "cd /v/work/sub; exec 9>>/v/log 8<..; flock 8; touch /v/begun; \
         while ! test -e /v/go; do sleep 0.1; done; \
         echo text >&9; echo here > file; cat ../sub/file",
    ]);
    there("/v/begun");
    // A directory's lock holds here, too.
    run("two", "flock -n /v/work true").fails();
    run(
        "two",
        "mv /v/work /v/moved; mv /v/log /v/log.1; echo new > /v/log",
    )
    .ok();
    run("two", "flock -n /v/moved true").fails();
    let server = home.processes();
    let server = server.iter().find(|p| p.program == "stack-fsd-server");
    server.unwrap().kill();
    run("two", "touch /v/go").ok();
    assert_eq!(works.finish(60).ok(), "here\n");
    run("two", "flock -w 20 /v/moved true").ok();
    let seen = run("two", "cat /v/moved/sub/file /v/log.1 /v/log").ok();
    assert_eq!(seen, "here\ntext\nnew\n");
    // The user's own directory stays what it is.
    run("one", "chmod -R g+rwX /data").ok();
    let mode = std::fs::metadata(&team).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o2775);
    assert_eq!(run("two", "stat -c %a /data/team").ok(), "2775\n");
}

#[test]
fn a_disk_becomes_a_tree_when_a_second_service_comes() {
    let home = Home::new();
    let service = |name: &str| {
        format!(
            "  {name}:\n    image: busybox:1\n    init: true\n    command: sleep 1000\n    \
                 stop_grace_period: 1s\n    volumes: [ 'vol:/v' ]\n"
        )
    };
    let one = format!("services:\n{}volumes: {{ vol: {{}} }}\n", service("one"));
    let project = home.project("grows", &one);
    project.stack(&["up", "-d"]).ok();
    let form = |expected: &str| {
        let said = project.stack(&["volume", "inspect", "vol"]).ok();
        assert!(
            said.contains(&format!("\"Form\": \"{expected}\"")),
            "{said}"
        );
    };
    form("disk");
    let fill = "mkdir -p /v/d; echo content > /v/d/f; ln -s d/f /v/l; chown 7:8 /v/d/f; \
                chmod 4750 /v/d/f; ln /v/d/f /v/same; chown 9:8 /v; chmod 1770 /v";
    project.stack(&["exec", "-T", "one", "sh", "-c", fill]).ok();
    let both = format!(
        "services:\n{}{}volumes: {{ vol: {{}}, small: {{ driver_opts: {{ size: 64m }} }} }}\n",
        service("one"),
        service("two").replace("'vol:/v'", "'vol:/v', 'small:/s'")
    );
    std::fs::write(project.dir().join("stack.yaml"), both).unwrap();
    // Cut off in the middle of it: the VM that copies ends, the disk counts.
    let copier = || {
        let dirs = std::fs::read_dir(home.dir().join("home/run/vm")).into_iter();
        let mut dirs = dirs.flatten().flatten().filter(|dir| {
            let name = dir.file_name();
            name.to_string_lossy().starts_with('x')
        });
        dirs.any(|dir| dir.path().join("agent.sock").exists())
    };
    let begun = project.begin(&["up", "-d"]);
    eventually("the copying VM", 60, || copier().then_some(()));
    begun.kill();
    drop(begun.finish(10));
    // The first one is started again with its disk.
    eventually("its end", 10, || (!copier()).then_some(()));
    project.stack(&["stop", "one"]).ok();
    project.stack(&["up", "-d", "two"]).ok();
    form("tree");
    // The first one, which does not run, was made when it was a disk.
    let out = project.dir().join("out");
    let out = out.to_str().unwrap();
    project.stack(&["cp", "one:/v/d/f", out]).ok();
    assert_eq!(std::fs::read_to_string(out).unwrap(), "content\n");
    project.stack(&["up", "-d"]).ok();
    let look = "cat /v/l; stat -c '%h %u:%g %a' /v/d/f; stat -c '%u:%g %a' /v";
    let wanted = "content\n2 7:8 4750\n9:8 1770\n";
    for service in ["one", "two"] {
        let said = project
            .stack(&["exec", "-T", service, "sh", "-c", look])
            .ok();
        assert_eq!(said, wanted);
    }
    // Out and in again as a tar stream.
    let copy = project.dir().join("copy.tar");
    let path = copy.to_str().unwrap();
    let beside = project.begin(&["volume", "export", "-o", "beside.tar", "vol"]);
    project.stack(&["volume", "export", "-o", path, "vol"]).ok();
    beside.finish(60).ok();
    project
        .stack(&[
            "exec",
            "-T",
            "one",
            "sh",
            "-c",
            "rm -r /v/*; chown 0:0 /v; chmod 755 /v",
        ])
        .ok();
    project.stack(&["volume", "import", "-i", path, "vol"]).ok();
    let said = project.stack(&["exec", "-T", "two", "sh", "-c", look]).ok();
    assert_eq!(said, wanted);
    // What does not fit is told, and what did stays.
    project
        .shell(
            "dd if=/dev/urandom of=big bs=1M count=80 2>/dev/null; tar -cf big.tar stack.yaml big",
        )
        .ok();
    let full = project.stack(&["volume", "import", "-i", "big.tar", "small"]);
    full.fails().says("No space left").says("big");
    let left = project.shell("$STACK volume export small | tar -t").ok();
    assert!(left.contains("stack.yaml"), "{left}");
    project
        .stack(&["volume", "rm", "vol"])
        .fails()
        .says("is used by");
    project.stack(&["down", "-v"]).ok();
    assert_eq!(project.stack(&["volume", "ls", "-q"]).ok(), "");
}

#[test]
fn programs_run_from_shared_files() {
    let home = Home::new();
    let service = |name: &str| {
        format!(
            "  {name}:\n    image: busybox:1\n    init: true\n    command: sleep 1000000\n    \
             volumes: [ './data:/data', 'vol:/v' ]\n"
        )
    };
    let (one, two) = (service("one"), service("two"));
    let file = format!("services:\n{one}{two}volumes: {{ vol: {{}} }}\n");
    let project = home.project("programs", &file);
    std::fs::create_dir(project.dir().join("data")).unwrap();
    project.stack(&["up", "-d"]).ok();
    for dir in ["/data", "/v"] {
        let said = project.stack(&["exec", "-T", "one", "sh", "-c", PROGRAMS, "sh", dir]);
        assert_eq!(said.ok(), "0 of 90\n", "{dir}");
    }
    // Whoever holds the connections takes the machines along, which is said.
    home.kill_all("stack-fsd");
    let shown = || project.stack(&["ps", "-a", "--format", "json"]).ok();
    eventually("word of it", 30, || {
        let told = shown()
            .matches("its file server, stack-fsd, has ended")
            .count();
        (told == 2).then_some(())
    });
}

#[test]
fn a_guest_cannot_leave_what_is_shared_with_it() {
    let home = Home::new();
    let file = "services:\n  one:\n    image: busybox:1\n    init: true\n    command: sleep 1000\n    \
                stop_grace_period: 1s\n    volumes: [ './in:/in', './single/f:/f', './in:/ro:ro' ]\n";
    let project = home.project("escape", file);
    let dir = project.dir();
    for name in ["in", "single", "in/sub"] {
        std::fs::create_dir(dir.join(name)).unwrap();
    }
    std::fs::write(dir.join("secret"), "outside").unwrap();
    std::fs::write(dir.join("single/f"), "file").unwrap();
    std::fs::write(dir.join("single/neighbour"), "outside").unwrap();
    // What the host has made and the guest has not.
    std::os::unix::fs::symlink("../secret", dir.join("in/up")).unwrap();
    std::os::unix::fs::symlink("..", dir.join("in/dir")).unwrap();
    project.stack(&["up", "-d"]).ok();
    let run = |script: &str| project.stack(&["exec", "-T", "one", "sh", "-c", script]);
    for path in [
        "/in/up",
        "/in/dir/secret",
        "/in/../secret",
        "/in/sub/../../secret",
    ] {
        let said = run(&format!(
            "cat {path} 2>&1; ln -s ../../secret /in/mine; cat /in/mine 2>&1; rm /in/mine"
        ));
        let said = said.to_string();
        assert!(!said.contains("outside"), "{path}: {said}");
    }
    assert_eq!(run("cat /f").ok(), "file");
    run("ls / /in | grep neighbour").fails();
    run("echo x > /ro/no").fails();
    run("echo x > /in/yes").ok();
    assert!(!dir.join("in/no").exists());
    // A directory that becomes a link while it is used.
    let busy = project.begin(&[
        "exec",
        "-T",
        "one",
        "sh",
        "-c",
        "n=0; while [ $n -lt 300 ]; do cat /in/sub/secret 2>/dev/null; n=$((n+1)); done; echo end",
    ]);
    for _ in 0..400 {
        std::fs::rename(dir.join("in/sub"), dir.join("in/aside")).unwrap();
        std::os::unix::fs::symlink("..", dir.join("in/sub")).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(3));
        std::fs::remove_file(dir.join("in/sub")).unwrap();
        std::fs::rename(dir.join("in/aside"), dir.join("in/sub")).unwrap();
    }
    assert_eq!(busy.finish(120).ok(), "end\n");
    // A directory that has another name for a while.
    let (here, there) = (dir.join("in/here"), dir.join("in/there"));
    std::fs::create_dir(&here).unwrap();
    std::fs::write(here.join("f"), "below").unwrap();
    assert_eq!(run("cat /in/here/f").ok(), "below");
    std::fs::rename(&here, &there).unwrap();
    let wait = |path: &str| {
        let script = format!(
            "n=0; until cat {path} 2>/dev/null; do sleep 0.1; n=$((n+1)); test $n -lt 100 || exit 1; done"
        );
        assert_eq!(run(&script).ok(), "below");
    };
    wait("/in/there/f");
    std::fs::rename(&there, &here).unwrap();
    wait("/in/here/f");
    // An editor's way to save: the mount shows the new file.
    std::fs::write(dir.join("single/new"), "saved").unwrap();
    std::fs::rename(dir.join("single/new"), dir.join("single/f")).unwrap();
    assert_eq!(run("cat /f").ok(), "saved");
}

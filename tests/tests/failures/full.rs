//! A disk that is full: it is told, nothing half-done stays, and everything
//! goes on when there is room.

use std::io::Write;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use stack_tests::{Home, Project, eventually, is_root};

use crate::one_service;

/// A home on a disk of its own; `None` for whoever cannot make one.
fn on_a_small_disk(size: &str) -> Option<Home> {
    if !is_root() {
        eprintln!("skipped: a small disk can be made by root only");
        return None;
    }
    let options = format!("size={size},mode=0700");
    // The mount is in a namespace that this thread shares with the processes
    // it starts.
    let home = Home::with(|dir| {
        unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
        let none = None::<&Path>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("private");
        let small = dir.join("home");
        std::fs::create_dir(&small).expect("a mount point");
        let options = Some(options.as_str());
        mount(
            Some("tmpfs"),
            &small,
            Some("tmpfs"),
            MsFlags::empty(),
            options,
        )
        .expect("a tmpfs");
    });
    Some(home)
}

#[test]
fn an_image_that_does_not_fit() {
    // Enough for the daemon's own files, not for PostgreSQL.
    let Some(home) = on_a_small_disk("64m") else {
        return;
    };
    let project = home.project("disk", &one_service("postgres:15"));
    project
        .stack(&["up", "-d"])
        .fails()
        .says("space")
        .says("postgres:15");
    assert!(home.vms().is_empty());

    // What did not fit is given back: something smaller goes.
    let small = home.project("small", &one_service("busybox:1"));
    eventually("room for a small image", 15, || {
        (small.stack(&["up", "-d", "--wait"]).code == Some(0)).then_some(())
    });
}

/// Takes all the room on the disk that a home is on but for so many bytes.
fn fill(project: &Project<'_>, file: &mut std::fs::File, left: u64) {
    let pages = project.shell("stat -f -c %a ../../home").ok();
    let pages: u64 = pages.trim().parse().expect("a number");
    // To the last byte, when nothing is to be left.
    let end = (pages + 1).saturating_sub(left >> 12);
    for _ in 0..end {
        if file.write_all(&[1; 4096]).is_err() {
            return;
        }
    }
}

/// A job is over, and what it wrote is still in its machine's memory.
#[test]
fn it_is_full_when_a_job_has_ended() {
    let Some(home) = on_a_small_disk("120m") else {
        return;
    };
    let home = home.env("STACK_TEMPLATES", "off");
    let file = "services:\n  job:\n    image: busybox:1\n    volumes: ['data:/data']\n    \
                command: sh -c 'dd if=/dev/urandom of=/dev/shm/d bs=1M count=4 2>/dev/null; \
                md5sum < /dev/shm/d; until [ -e /dev/shm/go ]; do sleep 0.1; done; \
                cat /dev/shm/d > $$(mktemp /data/fXXXXXX)'\nvolumes: {data: {}}\n";
    let project = home.project("tail", file);
    project.stack(&["up", "-d"]).ok();
    let sum = eventually("the sum", 60, || {
        let logs = project.stack(&["logs", "--no-log-prefix", "job"]).ok();
        logs.contains('-').then_some(logs)
    });
    let filler = home.dir().join("home/filler");
    let mut room = std::fs::File::create(&filler).expect("room");
    fill(&project, &mut room, 0);
    project
        .stack(&["exec", "-T", "job", "touch", "/dev/shm/go"])
        .ok();
    let shown = || project.stack(&["ps", "-a", "--format", "json"]).ok();
    eventually("word of it", 30, || {
        shown().contains("halted, because the disk").then_some(())
    });
    assert_eq!(project.container("job")["ExitCode"], 0, "its job is done");
    // A machine that nobody waits for would have been ended by then.
    std::thread::sleep(std::time::Duration::from_secs(12));
    assert_eq!(home.vms().len(), 1);
    drop(room);
    std::fs::remove_file(&filler).expect("the filler");
    let end = eventually("its end", 60, || {
        home.vms().is_empty().then(|| project.container("job"))
    });
    assert_eq!(end["ExitCode"], 0, "{end}");
    assert!(!shown().contains("lost"), "{}", shown());
    let read = [
        "run",
        "--rm",
        "-T",
        "job",
        "sh",
        "-c",
        "cat /data/f* | md5sum",
    ];
    assert_eq!(project.stack(&read).ok(), sum);

    // Whoever cannot wait hears what that costs.
    project.stack(&["up", "-d"]).ok();
    eventually("the second sum", 60, || {
        let logs = project.stack(&["logs", "--no-log-prefix", "job"]).ok();
        (logs.lines().count() == 2).then_some(())
    });
    let mut room = std::fs::File::create(&filler).expect("room");
    fill(&project, &mut room, 0);
    project
        .stack(&["exec", "-T", "job", "touch", "/dev/shm/go"])
        .ok();
    eventually("word of it", 30, || {
        shown().contains("halted, because the disk").then_some(())
    });
    project.stack(&["kill", "job"]).ok();
    assert!(shown().contains("is lost"), "{}", shown());
}

#[test]
fn it_fills_up_under_everything_that_runs() {
    let Some(home) = on_a_small_disk("200m") else {
        return;
    };
    // Not the room, but the writing is the matter here.
    let home = home.env("STACK_TEMPLATES", "off");
    let file = "services:\n  box:\n    image: busybox:1\n    init: true\n    \
                command: sh -c 'n=0; while sleep 0.05; do n=$$((n+1)); echo line $$n; done'\n    \
                stop_grace_period: 0s\n    volumes: ['data:/data']\nvolumes: {data: {}}\n";
    let project = home.project("full", file);
    project.stack(&["up", "-d"]).ok();
    let other = home.project("other", &one_service("busybox:1"));
    let daemons = || {
        let pids = home.processes().into_iter();
        let pids = pids.filter(|process| process.program == "stack-netd");
        pids.map(|process| process.pid).collect::<Vec<_>>()
    };
    let ran = daemons();
    let inside = |script: &str| project.stack(&["exec", "-T", "box", "sh", "-c", script]);
    inside("dd if=/dev/urandom of=/big bs=1M count=24; sync").ok();
    inside("dd if=/dev/urandom of=/data/big bs=1M count=12; sync").ok();
    let filler = home.dir().join("home/filler");
    let mut file = std::fs::File::create(&filler).expect("room");
    let fill = |file: &mut std::fs::File, left| fill(&project, file, left);
    // Nothing is made by half.
    fill(&mut file, 6 << 20);
    project
        .stack(&["commit", "box", "new:1"])
        .fails()
        .says("space");
    other.stack(&["up", "-d"]).fails().says("no space left");
    assert!(other.containers().is_empty());
    let machines = || home.vms().iter().map(|vm| vm.pid).collect::<Vec<_>>();
    let before = machines();
    project
        .stack(&["run", "--rm", "-T", "box", "true"])
        .fails()
        .says("data cannot be copied, to be shared");
    assert_eq!(machines(), before, "nobody is stopped in vain");
    inside("true").ok();

    // Output waits, a machine that cannot write is halted, and who looks is told.
    fill(&mut file, 0);
    let write =
        "dd if=/dev/urandom of=/data/f bs=1M count=8 2>/dev/null && sync && md5sum < /data/f";
    let written = project.begin(&["exec", "-T", "box", "sh", "-c", write]);
    let shown = |text| {
        let shown = project.stack(&["ps", "--format", "json"]).ok();
        shown.contains(text).then_some(())
    };
    let told = || shown("the disk of the host is full").is_some();
    eventually("word of it", 30, || shown("halted, because the disk"));
    // Nobody waits for an answer that cannot come.
    inside("true").fails().says("is halted").says("free some");

    std::fs::remove_file(&filler).expect("the filler");
    drop(file);
    let sum = written.finish(60).ok();
    let again = inside("md5sum < /data/f").ok();
    assert_eq!(again, sum);
    eventually("an end of the message", 30, || (!told()).then_some(()));
    project.stack(&["image", "inspect", "new:1"]).fails();
    other.stack(&["up", "-d"]).ok();
    // No line is missing.
    let logs = project.stack(&["logs", "--no-log-prefix", "box"]).ok();
    let count = logs.lines().count();
    let wanted: String = (1..=count).map(|n| format!("line {n}\n")).collect();
    assert!(count > 20 && logs == wanted, "{logs}");

    // What waits when a service ends gets some time; then it is told.
    let mut file = std::fs::File::create(&filler).expect("room");
    fill(&mut file, 0);
    eventually("word of it", 30, || told().then_some(()));
    project.stack(&["stop", "box"]).ok();
    let shown = project.stack(&["ps", "-a", "--format", "json"]).ok();
    // Its output, or what it had not written: it may be halted by then.
    assert!(shown.contains("is lost"), "{shown}");
    // Nobody ends for want of a log.
    let run = daemons();
    assert!(!ran.is_empty() && ran.iter().all(|netd| run.contains(netd)));
}

#[test]
fn a_build_waits_for_room() {
    let Some(home) = on_a_small_disk("700m") else {
        return;
    };
    let home = home
        .env("STACK_TEMPLATES", "off")
        .env("STACK_BUILDER_IMAGE", "buildah:1");
    let file = "services:\n  box:\n    build:\n      dockerfile_inline: |\n        FROM busybox:1\n        \
                RUN dd if=/dev/urandom of=/big bs=1M count=48 && sync\n";
    let small = "services:\n  box:\n    build: {dockerfile_inline: 'FROM busybox:1'}\n";
    // The builder is there, with the base image.
    home.project("small", small).stack(&["build"]).ok();
    let project = home.project("built", file);
    let filler = home.dir().join("home/filler");
    let mut file = std::fs::File::create(&filler).expect("room");
    fill(&project, &mut file, 16 << 20);
    let building = project.begin(&["build"]);
    let is_full = || project.shell("stat -f -c %a ../../home").ok() == "0\n";
    eventually("a full disk", 120, || is_full().then_some(()));
    // It is looked at every second whether there is room.
    std::thread::sleep(std::time::Duration::from_secs(5));
    std::fs::remove_file(&filler).expect("the filler");
    drop(file);
    let built = building.finish(300);
    built.says("the builder is halted").ok();
}

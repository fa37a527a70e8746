//! `kill -9` in the middle of what makes, sends and deletes images: what is
//! there afterwards is whole, and nothing else is left.

use std::time::{Duration, Instant};

use stack_tests::{Begun, Fault, FaultyRegistry, Home, Project, eventually};

use super::SLEEPER;

/// Files that nobody would ever use again.
fn remains(home: &Home) -> Vec<String> {
    let data = home.dir().join("home/data");
    let names = |dir: &str| -> Vec<String> {
        let entries = std::fs::read_dir(data.join(dir)).into_iter().flatten();
        entries
            .flatten()
            .map(|entry| format!("{dir}/{}", entry.file_name().to_string_lossy()))
            .collect()
    };
    let mut all = names("images/tmp");
    for dir in ["disks", "volumes"] {
        let partial = names(dir).into_iter().filter(|n| n.ends_with(".partial"));
        all.extend(partial);
    }
    all
}

/// Lets the command go on for a moment and kills the daemon under it. It may
/// have been faster.
fn cut(home: &Home, begun: Begun, after: Duration) -> bool {
    std::thread::sleep(after);
    home.kill_all("stackd");
    let ended = begun.finish(60);
    assert!(ended.code.is_some(), "{ended}");
    ended.code == Some(0)
}

/// All bytes of an image are what its digests say.
fn is_whole(project: &Project<'_>, image: &str) {
    project
        .shell(&format!("\"$STACK\" save {image} > /dev/null"))
        .ok();
}

#[test]
fn a_kill_leaves_whole_images_and_nothing_else() {
    let home = Home::new();
    let registry = FaultyRegistry::new(Fault::Stall);
    let image = registry.image("busybox:1");
    let project = home.project("cut", &SLEEPER.replace("busybox:1", &image));

    // A pull, half of a layer here.
    let pull = project.begin(&["pull"]);
    eventually("a layer on its way", 30, || {
        (registry.stalled() > 0).then_some(())
    });
    assert!(!cut(&home, pull, Duration::ZERO));
    registry.set(Fault::None);
    project.stack(&["up", "-d"]).ok();
    assert_eq!(remains(&home), Vec::<String>::new());

    // A commit: the service goes on, whoever is killed.
    let write = "dd if=/dev/urandom of=/big bs=1M count=96 2>&1; sync";
    project
        .stack(&["exec", "-T", "app", "sh", "-c", write])
        .ok();
    // Looked for often: a fast machine has it for a moment only.
    let began = |commit: &mut Begun| {
        let until = Instant::now() + Duration::from_secs(30);
        while remains(&home).is_empty() && !commit.has_ended() {
            assert!(Instant::now() < until, "there is no layer");
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    let mut commit = project.begin(&["commit", "app", "made:1"]);
    began(&mut commit);
    let done = cut(&home, commit, Duration::ZERO);
    project.stack(&["exec", "-T", "app", "true"]).ok();
    assert_eq!(remains(&home), Vec::<String>::new());
    match project.stack(&["image", "inspect", "made:1"]).code {
        Some(0) => is_whole(&project, "made:1"),
        _ => assert!(!done, "it was said to be there"),
    }
    let mut commit = project.begin(&["commit", "app", "made:1"]);
    began(&mut commit);
    commit.kill();
    drop(commit.finish(10));
    project.stack(&["exec", "-T", "app", "true"]).ok();
    project.stack(&["commit", "app", "made:1"]).ok();

    // Save and push: what has the name is whole.
    let file = project.dir().join("made.tar");
    for after in [40, 200] {
        let _ = std::fs::remove_file(&file);
        let save = project.begin(&["save", "-o", "made.tar", "made:1"]);
        let done = cut(&home, save, Duration::from_millis(after));
        assert_eq!(file.exists(), done);
        // The daemon is there again: what follows is the command's own time.
        project.stack(&["image", "inspect", "made:1"]).ok();
        let save = project.begin(&["save", "-o", "made.tar", "made:1"]);
        std::thread::sleep(Duration::from_millis(after));
        save.kill();
        drop(save.finish(10));
        let names = std::fs::read_dir(project.dir()).into_iter().flatten();
        assert_eq!(names.count(), 1 + usize::from(file.exists()));
    }
    let address = stack_tests::registry();
    let host = address.split("://").last().unwrap_or_default();
    let name = format!("{host}/team/cut:1");
    project.stack(&["image", "tag", "made:1", &name]).ok();
    let push = project.begin(&["push", "--image", &name]);
    cut(&home, push, Duration::from_millis(300));
    project.stack(&["push", "--image", &name]).ok();
    let read = format!("skopeo copy -q --src-tls-verify=false docker://{name} dir:copied");
    project.shell(&read).ok();

    // A prune: what it has not deleted can still be used.
    project.stack(&["image", "rm", &name]).ok();
    let prune = project.begin(&["image", "prune", "--all", "--force"]);
    if !cut(&home, prune, Duration::from_millis(30)) {
        let there = project.stack(&["image", "ls", "-q", "made"]).ok();
        if !there.is_empty() {
            is_whole(&project, "made:1");
        }
    }
    is_whole(&project, &image);
    project.stack(&["exec", "-T", "app", "true"]).ok();
    project.stack(&["image", "prune", "--all", "--force"]).ok();
    assert_eq!(remains(&home), Vec::<String>::new());
}

//! What comes back when things are deleted: in a machine, and on the host.

use serde_json::Value;
use stack_tests::{Home, eventually};

use super::{SLEEPER, blocks, size};

const MIB: u64 = 1 << 20;

fn usage(project: &stack_tests::Project<'_>, kind: &str) -> Value {
    let lines = project.stack(&["system", "df", "--format", "json"]).ok();
    let mut all = lines
        .lines()
        .map(|l| serde_json::from_str::<Value>(l).unwrap());
    all.find(|line| line["Type"] == kind).expect("no such kind")
}

#[test]
fn what_a_service_deletes_is_free_on_the_host() {
    let home = Home::new();
    let file = format!("{SLEEPER}    volumes: [\"data:/data\"]\nvolumes: {{data: {{}}}}\n");
    let project = home.project("discard", &file);
    project.stack(&["up", "-d"]).ok();
    let volume = home.dir().join("home/data/volumes/discard_data.ext4");
    let before = (blocks(&home, "data/disks"), size(&volume));
    // Nothing that could be taken for zeros.
    let write = "for f in /big /data/big; do dd if=/dev/urandom of=$f bs=1M count=200; done; sync";
    project
        .stack(&["exec", "-T", "app", "sh", "-c", write])
        .ok();
    let full = (blocks(&home, "data/disks"), size(&volume));
    assert!(full.0 > before.0 + 190 * MIB, "{before:?} {full:?}");
    assert!(full.1 > before.1 + 190 * MIB, "{before:?} {full:?}");
    project
        .stack(&["exec", "-T", "app", "sh", "-c", "rm /big /data/big; sync"])
        .ok();
    eventually("the space", 30, || {
        let now = (blocks(&home, "data/disks"), size(&volume));
        (now.0 < before.0 + 20 * MIB && now.1 < before.1 + 20 * MIB).then_some(())
    });
    // The disk of a container goes with it.
    let id = project.field("app", "ID");
    let disk = home.dir().join(format!("home/data/disks/{id}.ext4"));
    assert!(disk.exists());
    project.stack(&["down", "-v"]).ok();
    assert!(!disk.exists() && !volume.exists());
}

#[test]
fn prune_says_what_goes_and_takes_nothing_that_is_needed() {
    let home = Home::new();
    let project = home.project("prune", SLEEPER);
    project.stack(&["up", "-d"]).ok();
    // In use: it stays, with a name or by force without.
    project
        .stack(&["image", "rm", "busybox:1"])
        .fails()
        .says("in use by container prune-app-1");
    project
        .stack(&["image", "tag", "busybox:1", "other:1"])
        .ok();
    project.stack(&["image", "rm", "other:1"]).ok();
    let gone = project.stack(&["system", "prune", "--all", "--force"]).ok();
    assert!(
        !gone.contains("prune-app-1") && !gone.contains("busybox"),
        "{gone}"
    );
    project.stack(&["exec", "-T", "app", "true"]).ok();
    assert_eq!(usage(&project, "containers")["Active"], 1);
    assert_eq!(usage(&project, "images")["Reclaimable"], 0);

    // A name that leads elsewhere: the old image is needed by the container.
    project.stack(&["image", "rm", "--force", "busybox:1"]).ok();
    let shown = project.stack(&["image", "ls"]).ok();
    assert!(shown.contains("<none>"), "{shown}");
    project.stack(&["restart"]).ok();
    project.stack(&["exec", "-T", "app", "true"]).ok();

    project.stack(&["stop"]).ok();
    let dry = project.stack(&["system", "prune", "-a", "--dry-run"]).ok();
    assert!(
        dry.contains("prune-app-1") && dry.contains("image"),
        "{dry}"
    );
    project
        .stack(&["system", "prune"])
        .fails()
        .says("there is nobody to ask")
        .says("--force");
    assert_eq!(project.containers().len(), 1);
    let size = usage(&project, "images")["Size"].as_u64().unwrap();
    assert!(size > 0);
    project.stack(&["system", "prune", "-a", "--force"]).ok();
    assert!(project.containers().is_empty());
    assert_eq!(blocks(&home, "data/images/layers"), 0);
    let listed = project.stack(&["image", "ls", "-q"]).ok();
    assert_eq!(listed.trim(), "");
    // And all of it comes again.
    project.stack(&["up", "-d"]).ok();
    project.stack(&["exec", "-T", "app", "true"]).ok();
}

#[test]
fn what_a_kill_left_is_gone_at_the_next_start() {
    let home = Home::new();
    let project = home.project("swept", SLEEPER);
    project.stack(&["up", "-d"]).ok();
    let id = project.field("app", "ID");
    home.kill_all("stackd");
    let (data, lost) = (home.dir().join("home/data"), "0".repeat(64));
    for left in [
        format!("disks/{lost}.ext4"),
        "disks/x.1-2.partial".to_owned(),
        format!("logs/{lost}.log.1"),
        format!("images/layers/{lost}.erofs"),
        "images/tmp/layer-x".to_owned(),
    ] {
        std::fs::write(data.join(left), "x").unwrap();
    }
    project.stack(&["ps"]).ok();
    for gone in ["disks", "logs", "images/layers", "images/tmp"] {
        let names = std::fs::read_dir(data.join(gone)).unwrap().flatten();
        let names: Vec<String> = names
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        assert!(
            !names
                .iter()
                .any(|name| name.contains(&lost) || name.contains("partial")),
            "{gone}: {names:?}"
        );
    }
    assert!(data.join(format!("disks/{id}.ext4")).exists());
    project.stack(&["exec", "-T", "app", "true"]).ok();
}

#[test]
fn pruning_beside_ups_breaks_none() {
    let home = Home::new();
    let project = home.project("busy", SLEEPER);
    let pruner = home.project("pruner", SLEEPER);
    std::thread::scope(|scope| {
        let pruning = scope.spawn(|| {
            for _ in 0..30 {
                pruner
                    .stack(&["system", "prune", "-a", "--force", "--volumes"])
                    .ok();
            }
        });
        for _ in 0..3 {
            project.stack(&["up", "-d", "--wait"]).ok();
            project.stack(&["exec", "-T", "app", "true"]).ok();
            project.stack(&["down"]).ok();
        }
        pruning.join().unwrap();
    });
}

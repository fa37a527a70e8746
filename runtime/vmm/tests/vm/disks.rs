//! Disks and shares: what is where, and what survives.

use std::path::Path;

use stack_protocol::config::{File, Mount, MountSource, VmConfig};
use stack_protocol::log::Stream;
use stack_vmm::disk;

use crate::harness::{LIMIT, Machine, assets, qemu, service};
use stack_vmm::Backend;

fn mount(target: &str, source: MountSource) -> Mount {
    Mount {
        target: target.to_owned(),
        source,
        read_only: false,
        subpath: String::new(),
    }
}

fn volume(serial: &str) -> MountSource {
    MountSource::Disk {
        serial: serial.to_owned(),
        copy_image_content: true,
    }
}

fn stored(script: &str, mounts: Vec<Mount>) -> VmConfig {
    let mut config = service(script);
    config.root.scratch = Some("scratch".to_owned());
    VmConfig { mounts, ..config }
}

#[tokio::test]
async fn volumes_are_filled_once_and_survive_a_crash() {
    let Some(assets) = assets() else { return };
    let machine = Machine::new(assets)
        .disk("scratch", disk::create_scratch)
        .disk("vol", disk::create_volume);
    let script = "ls -A /data; cat /data/inner/deep; rm /data/from-image; \
                  echo kept > /data/new; echo layer > /var/written; sync; echo end; sleep 1000";
    let mut vm = machine
        .run(stored(script, vec![mount("/data", volume("vol"))]))
        .await;
    vm.logged(4).await;
    assert_eq!(
        vm.lines(Stream::Stdout),
        ["from-image", "inner", "deep", "end"]
    );
    vm.process.kill();
    tokio::time::timeout(LIMIT, qemu().wait(&vm.process))
        .await
        .unwrap();
    drop(vm);

    // What was removed stays removed: the image is copied once.
    let script = "ls -A /data; cat /data/new /var/written; exit 0";
    let mut vm = machine
        .run(stored(script, vec![mount("/data", volume("vol"))]))
        .await;
    vm.exited().await;
    assert_eq!(vm.lines(Stream::Stdout), ["inner", "new", "kept", "layer"]);
    vm.shutdown().await;

    // Unmounted in order: there is nothing to recover.
    for disk in &machine.spec.disks[1..] {
        let dump = std::process::Command::new("/usr/sbin/dumpe2fs")
            .arg("-h")
            .arg(&disk.path)
            .output()
            .unwrap();
        let dump = String::from_utf8_lossy(&dump.stdout).into_owned();
        assert!(dump.contains("has_journal"), "{dump}");
        assert!(!dump.contains("needs_recovery"), "{dump}");
    }

    // Emptied is not new; a part of it can be shown; read-only is.
    let part = Mount {
        subpath: "a/b".to_owned(),
        ..mount("/part", volume("vol"))
    };
    let fixed = Mount {
        read_only: true,
        ..mount("/fixed", volume("vol"))
    };
    let script = "rm -r /data/*; ls -A /data | wc -l; echo x > /part/file; cat /data/a/b/file; \
                  ls /fixed; touch /fixed/no 2>&1";
    let mounts = vec![mount("/data", volume("vol")), part, fixed];
    let mut vm = machine.run(stored(script, mounts)).await;
    vm.exited().await;
    let lines = vm.lines(Stream::Stdout);
    // `a` was made for the part, before the service started, and goes with
    // the rest.
    assert_eq!(lines[0], "0", "{lines:?}");
    assert!(
        lines.last().unwrap().contains("Read-only file system"),
        "{lines:?}"
    );
    vm.shutdown().await;
}

#[tokio::test]
async fn shares_read_and_write() {
    let Some(assets) = assets() else { return };
    let host = tempfile::tempdir().unwrap();
    for dir in ["rw", "ro", "one"] {
        std::fs::create_dir(host.path().join(dir)).unwrap();
        std::fs::write(host.path().join(dir).join("from-host"), "host\n").unwrap();
    }
    let share = |name: &str| MountSource::Share {
        tag: stack_files::TAG.to_owned(),
        name: name.to_owned(),
        copy_image_content: false,
        foreign: false,
    };
    let machine = Machine::new(assets)
        .share(&host.path().join("rw"), false)
        .share(&host.path().join("ro"), true)
        .share(&host.path().join("one/from-host"), false);
    let script = "cat /rw/from-host /ro/from-host /etc/one.conf; echo guest > /rw/from-guest; \
                  mkdir /rw/sub; mv /rw/from-guest /rw/sub/; ln -s from-host /rw/link; \
                  touch /ro/no 2>/dev/null || echo refused; echo more >> /etc/one.conf; \
                  touch /again/no 2>/dev/null || echo refused; cat /again/link";
    let config = VmConfig {
        mounts: vec![
            mount("/rw", share("0")),
            mount("/ro", share("1")),
            mount("/etc/one.conf", share("2")),
            Mount {
                read_only: true,
                ..mount("/again", share("0"))
            },
        ],
        ..service(script)
    };
    let mut vm = machine.run(config).await;
    assert_eq!(vm.exited().await.code, 0, "{:?}", vm.lines(Stream::Stderr));
    let expected = ["host", "host", "host", "refused", "refused", "host"];
    assert_eq!(vm.lines(Stream::Stdout), expected);
    let read = |path: &str| std::fs::read_to_string(host.path().join(path)).unwrap();
    assert_eq!(read("rw/sub/from-guest"), "guest\n");
    assert_eq!(read("one/from-host"), "host\nmore\n");
    assert_eq!(
        std::fs::read_link(host.path().join("rw/link")).unwrap(),
        Path::new("from-host")
    );
    vm.shutdown().await;
}

#[tokio::test]
async fn read_only_root_tmpfs_and_files() {
    let Some(assets) = assets() else { return };
    let secret = File {
        path: "/run/secrets/key".to_owned(),
        content: vec![0, 159, 146, 150],
        mode: 0o440,
        uid: 101,
        gid: 103,
    };
    let tmpfs = MountSource::Tmpfs {
        size: Some(1 << 20),
        mode: Some(0o700),
        options: vec!["uid=7".to_owned()],
    };
    let script = "touch /no 2>/dev/null || echo refused; stat -c '%a %u' /cache; \
                  head -c 2000000 /dev/zero > /cache/big 2>/dev/null || echo full; \
                  stat -c '%a %u %g %s' /run/secrets/key; touch /run/secrets/key 2>/dev/null; \
                  df -m /dev/shm | tail -n 1 | awk '{print $2}'; pwd; cat /etc/hosts | tail -n 1; \
                  cat /etc/resolv.conf; ls /dev";
    let mut config = service(script);
    config.root.read_only = true;
    config.mounts = vec![mount("/cache", tmpfs)];
    config.files = vec![secret];
    config.hosts = vec![("10.9.8.7".to_owned(), "other".to_owned())];
    config.nameservers = vec!["10.0.0.1".to_owned()];
    config.search = vec!["example.org".to_owned()];
    config.shm_size = Some(16 << 20);
    config.process.cwd = "/made/for/me".to_owned();
    let mut vm = Machine::new(assets).run(config).await;
    vm.exited().await;
    let lines = vm.lines(Stream::Stdout);
    let expected = [
        "refused",
        "700 7",
        "full",
        "440 101 103 4",
        "16",
        "/made/for/me",
        "10.9.8.7\tother",
        "nameserver 10.0.0.1",
        "search example.org",
    ];
    assert_eq!(lines[..expected.len()], expected);
    let devices = [
        "fd", "full", "fuse", "kmsg", "mqueue", "net", "null", "ptmx", "pts", "random", "shm",
        "stderr", "stdin", "stdout", "tty", "urandom", "zero",
    ];
    assert_eq!(lines[expected.len()..], devices);
    vm.shutdown().await;
}

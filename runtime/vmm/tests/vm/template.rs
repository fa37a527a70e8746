//! A VM restored from a template is as good as one that booted.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use stack_protocol::config::{Interface, Mount, MountSource, VmConfig};
use stack_protocol::log::Stream;
use stack_protocol::message::Outcome;
use stack_vmm::{Qemu, disk};
use tempfile::TempDir;

use crate::harness::{Assets, LIMIT, Machine, Vm, assets, service};

/// Backend with a cache of its own; `None` where QEMU cannot save a template.
pub(crate) async fn backend() -> Option<(TempDir, Qemu)> {
    let cache = tempfile::Builder::new()
        .prefix("t")
        .tempdir()
        .expect("a directory");
    let qemu = crate::harness::backend(cache.path());
    let version = qemu.probe().await.expect("QEMU").version;
    crate::machine::learn(cache.path());
    let major: u32 = version
        .split('.')
        .next()
        .expect("a version")
        .parse()
        .expect("a number");
    if major < 9 {
        eprintln!("skipped: QEMU {version} has no mapped-ram");
        return None;
    }
    Some((cache, qemu))
}

fn machine(assets: &Assets) -> Machine {
    let mut machine = Machine::new(assets)
        .disk("scratch", disk::create_scratch)
        .disk("vol", disk::create_volume);
    let shared = machine.dir.path().join("shared");
    std::fs::create_dir(&shared).expect("a directory");
    std::fs::write(
        shared.join("name"),
        machine.dir.path().display().to_string(),
    )
    .expect("a file");
    machine.spec.template = true;
    machine
        .nic("02:aa:00:00:00:01")
        .nic("02:aa:00:00:00:02")
        .share(&shared, false)
}

fn config(script: &str) -> VmConfig {
    let interface = |n: u8| Interface {
        mac: format!("02:aa:00:00:00:0{n}"),
        device: None,
        name: format!("eth{}", n - 1),
        ipv4: Some(([10, n, 0, 2].into(), 24)),
        gateway4: None,
        ipv6: None,
        gateway6: None,
        mtu: 1500,
    };
    let mount = |target: &str, source| Mount {
        target: target.to_owned(),
        source,
        read_only: false,
        subpath: String::new(),
    };
    let volume = MountSource::Disk {
        serial: "vol".to_owned(),
        copy_image_content: true,
    };
    let share = MountSource::Share {
        tag: stack_files::TAG.to_owned(),
        name: "0".to_owned(),
        copy_image_content: false,
        foreign: false,
    };
    let mut config = VmConfig {
        interfaces: vec![interface(1), interface(2)],
        mounts: vec![mount("/data", volume), mount("/shared", share)],
        ..service(script)
    };
    config.root.scratch = Some("scratch".to_owned());
    config
}

/// The only saved state there is, once it is there.
pub(crate) async fn made(cache: &Path) -> PathBuf {
    let begin = Instant::now();
    while begin.elapsed() < LIMIT {
        let files = std::fs::read_dir(cache.join("templates"))
            .into_iter()
            .flatten();
        let mut files = files.flatten().map(|entry| entry.path());
        if let Some(file) = files.find(|path| path.is_file()) {
            return file;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no template was made");
}

/// It was restored, not booted.
pub(crate) async fn is_restored(vm: &Vm) -> bool {
    vm.sh("cat /proc/cmdline")
        .await
        .0
        .contains("stack.template")
}

const REPORT: &str = "cat /proc/sys/kernel/random/boot_id; head -c 16 /dev/urandom | md5sum; \
    cat /sys/class/net/eth0/address /sys/class/net/eth1/address; \
    ip -o -4 addr show dev eth1 | awk '{print $4}'; cat /shared/name; echo; ls -A /data; \
    df -k / | awk 'NR==2 {print ($2 > 500000)}'; date +%s; echo kept > /data/kept; sync; sleep 1000";

#[tokio::test]
async fn restored_vms_differ_in_what_must_differ() {
    let Some(assets) = assets() else { return };
    let Some((cache, qemu)) = backend().await else {
        return;
    };
    let first = machine(assets);
    let vm = first.boot_with(&qemu).await;
    assert_eq!(vm.configure(config("sleep 1000")).await, Outcome::Ok);
    assert!(!is_restored(&vm).await);
    vm.shutdown().await;
    let file = made(cache.path()).await;
    assert!(std::fs::metadata(&file).unwrap().len() > 0);

    // Two at once, of machines that did not exist when it was made.
    let (one, two) = (machine(assets), machine(assets));
    let mut vms = [one.boot_with(&qemu).await, two.boot_with(&qemu).await];
    let mut reports = Vec::new();
    for vm in &mut vms {
        assert_eq!(vm.configure(config(REPORT)).await, Outcome::Ok);
        vm.logged(10).await;
        assert!(is_restored(vm).await);
        reports.push(vm.lines(Stream::Stdout));
    }
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    for (report, machine) in reports.iter().zip([&one, &two]) {
        let shared = machine.dir.path().display().to_string();
        let expected = [
            "02:aa:00:00:00:01",
            "02:aa:00:00:00:02",
            "10.2.0.2/24",
            &shared,
            "from-image",
            "inner",
            "1",
        ];
        assert_eq!(report[2..9], expected, "{report:?}");
        let clock: u64 = report[9].parse().unwrap();
        assert!(now.abs_diff(clock) < 30, "{clock}, and it is {now}");
    }
    assert_ne!(reports[0][0], reports[1][0], "the boot id");
    assert_ne!(reports[0][1], reports[1][1], "random bytes");

    // What was written is there after the next restore.
    let [vm, other] = vms;
    vm.shutdown().await;
    other.shutdown().await;
    let mut vm = one.boot_with(&qemu).await;
    assert_eq!(
        vm.configure(config("cat /data/kept; exit 5")).await,
        Outcome::Ok
    );
    assert_eq!(vm.exited().await.code, 5);
    assert_eq!(vm.lines(Stream::Stdout), ["kept"]);
    vm.shutdown().await;
}

#[tokio::test]
async fn a_broken_template_is_not_used_twice() {
    let Some(assets) = assets() else { return };
    let Some((cache, qemu)) = backend().await else {
        return;
    };
    let mut machine = Machine::new(assets);
    machine.spec.template = true;
    let vm = machine.boot_with(&qemu).await;
    assert_eq!(vm.configure(service("sleep 1000")).await, Outcome::Ok);
    let file = made(cache.path()).await;
    vm.shutdown().await;
    std::fs::write(&file, "not what QEMU wrote").unwrap();
    let vm = machine.boot_with(&qemu).await;
    assert_eq!(vm.configure(service("sleep 1000")).await, Outcome::Ok);
    assert!(!is_restored(&vm).await);
    assert!(!file.exists());
    vm.shutdown().await;
}

//! Starting and ending the VM's process.

use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use stack_protocol::config::VmConfig;
use stack_protocol::log::Stream;
use stack_protocol::message::{Command, Outcome};
use stack_vmm::{Backend, Disk, Error, Qemu, disk};

use crate::harness::{Machine, assets, qemu, service};

#[tokio::test]
async fn shutdown_is_quick() {
    let Some(assets) = assets() else { return };
    let machine = Machine::new(assets)
        .disk("scratch", disk::create_scratch)
        .disk("vol", disk::create_volume);
    let mut config = service("trap '' TERM; echo > /data; echo ready; while :; do sleep 1; done");
    config.root.scratch = Some("scratch".to_owned());
    let mut vm = machine.run(config).await;
    vm.logged(1).await;
    let start = Instant::now();
    vm.request(Command::Shutdown).await;
    qemu().wait(&vm.process).await;
    let took = start.elapsed();
    eprintln!("shutdown took {took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert!(!qemu().alive(&vm.process));
}

/// Neither the kernel nor the agent is busy while nothing happens.
#[tokio::test]
async fn an_idle_vm_is_quiet() {
    let Some(assets) = assets() else {
        return;
    };
    let config = VmConfig {
        memory_limit: Some(64 << 20),
        ..service("echo ready; exec sleep 1000")
    };
    let mut vm = Machine::new(assets).run(config).await;
    vm.logged(1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    for connected in [true, false] {
        if !connected {
            vm.disconnect();
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let before = cpu_ticks(vm.process.pid);
        tokio::time::sleep(Duration::from_secs(2)).await;
        let used = cpu_ticks(vm.process.pid) - before;
        // Hundredths of a second: an eighth of one processor.
        assert!(used < 25, "connected {connected}: {used}");
    }
}

fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let fields = stat.rsplit_once(')').expect("a name").1;
    let numbers = fields.split_whitespace().skip(11).take(2);
    numbers.map(|n| n.parse::<u64>().expect("a number")).sum()
}

/// A QEMU without `microvm`: PCI devices on another machine.
#[tokio::test]
async fn the_other_machine_works_too() {
    let Some(assets) = assets() else { return };
    if cfg!(not(target_arch = "x86_64")) {
        return;
    }
    let cache = tempfile::tempdir().unwrap();
    crate::harness::backend(cache.path()).probe().await.unwrap();
    let file = cache.path().join("probe.json");
    let known = std::fs::read_to_string(&file).unwrap();
    assert!(known.contains("\"microvm\":true"), "{known}");
    std::fs::write(
        &file,
        known.replace("\"microvm\":true", "\"microvm\":false"),
    )
    .unwrap();
    let other = Qemu::new(cache.path()).trying(&assets.kernel, &assets.initramfs);
    assert!(!other.probe().await.unwrap().microvm);

    let machine = Machine::new(assets).disk("scratch", disk::create_scratch);
    let mut vm = machine.boot_with(&other).await;
    let mut config = service("ls /sys/bus/pci/devices | wc -l; exit 3");
    config.root.scratch = Some("scratch".to_owned());
    assert_eq!(vm.configure(config).await, Outcome::Ok);
    assert_eq!(vm.exited().await.code, 3);
    let devices: u32 = vm.lines(Stream::Stdout)[0].parse().unwrap();
    assert!(devices >= 5, "{devices}");
    vm.shutdown().await;
}

#[tokio::test]
async fn the_process_is_alone() {
    let Some(assets) = assets() else { return };
    // A descriptor that is inherited unless someone takes care.
    let (kept, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    rustix::io::fcntl_setfd(&kept, rustix::io::FdFlags::empty()).unwrap();
    let inode = rustix::fs::fstat(&kept).unwrap().st_ino;
    let vm = Machine::new(assets).boot().await;
    let pid = vm.process.pid;
    let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let inherited = fds.flatten().any(|fd| {
        std::fs::metadata(fd.path())
            .is_ok_and(|meta| meta.ino() == inode && meta.mode() & libc::S_IFMT == libc::S_IFSOCK)
    });
    assert!(!inherited);
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .collect();
    // Fields 5 and 6: its own process group and session.
    assert_eq!(
        (fields[2], fields[3]),
        (pid.to_string().as_str(), pid.to_string().as_str())
    );
    vm.shutdown().await;
}

#[tokio::test]
async fn a_start_that_fails_says_why_and_leaves_nothing() {
    let Some(assets) = assets() else { return };
    let machine = Machine::new(assets).disk("vol", disk::create_volume);
    let first = machine.boot().await;

    // The volume is in use.
    let mut second = Machine::new(assets);
    second.spec.disks.push(machine.spec.disks[1].clone());
    let error = start(&second).await;
    assert!(matches!(error, Error::DiskLocked(_)), "{error:?}");
    drop(first);

    let mut missing = Machine::new(assets);
    let path = missing.dir.path().join("none.img");
    missing.spec.disks.push(Disk {
        path,
        serial: "none".to_owned(),
        read_only: false,
    });
    assert!(
        start(&missing)
            .await
            .to_string()
            .contains("none.img is missing")
    );

    let mut alone = Machine::new(assets);
    alone.spec.files = Some(alone.spec.dir.join("files"));
    let said = start(&alone).await.to_string();
    assert!(said.contains("the file server is not there"), "{said}");

    let mut huge = Machine::new(assets);
    huge.spec.memory = 1 << 50;
    assert!(matches!(start(&huge).await, Error::Memory { .. }));

    let mut many = Machine::new(assets);
    for n in 0..40 {
        let disk = Disk {
            serial: format!("disk{n}"),
            ..many.spec.disks[0].clone()
        };
        many.spec.disks.push(disk);
    }
    assert!(start(&many).await.to_string().contains("a VM has room for"));
}

/// The error; no process with this VM's directory is left.
async fn start(machine: &Machine) -> Error {
    std::fs::create_dir_all(&machine.spec.dir).expect("a directory");
    let error = qemu()
        .start(&machine.spec)
        .await
        .expect_err("it must not start");
    let dir = machine.spec.dir.display().to_string();
    for process in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let args = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let args = String::from_utf8_lossy(&args).into_owned();
        assert!(!args.contains(&dir), "left behind: {args}");
    }
    error
}

//! `x-stack.machine` and the size of the root disk, down to the VM.

use stack_api::spec::{Boot, MachineSpec};

use crate::world::{World, service};

#[tokio::test]
async fn a_machine_gets_what_the_service_asks_for() {
    let world = World::new().await;
    let dir = tempfile::tempdir().unwrap();
    let kernel = dir.path().join("vmlinux");
    std::fs::write(&kernel, "").unwrap();
    let mut own = service("own", &["serve"], &[]);
    own.cpus = Some(1.0);
    own.memory = Some(256 << 20);
    own.machine = MachineSpec {
        kernel: Some(kernel.clone()),
        vcpus: Some(7),
        memory: Some(700 << 20),
        boot: Some(Boot::Cold),
    };
    let plain = service("plain", &["serve"], &[]);
    let mut part = service("part", &["serve"], &[]);
    part.cpus = Some(1.5);
    world
        .up(&world.stack(vec![own, plain, part]))
        .await
        .unwrap();
    let specs = world.fake().specs();
    let of = |name: &str| specs.iter().find(|spec| spec.name == name).unwrap();
    let (own, plain) = (of("shop-own-1"), of("shop-plain-1"));
    let processors = std::thread::available_parallelism().unwrap().get() as u32;
    assert_eq!(of("shop-part-1").cpus, 2.min(processors));
    assert_eq!(own.kernel, kernel);
    assert_eq!((own.cpus, own.memory), (7, 700 << 20));
    assert!(!own.template && plain.template);
    assert_ne!(plain.kernel, kernel);
    assert_eq!(plain.memory, 1 << 30);
}

#[tokio::test]
async fn a_kernel_that_is_not_there_is_told() {
    let world = World::new().await;
    let mut web = service("web", &["serve"], &[]);
    web.machine.kernel = Some("/no/such/vmlinux".into());
    let error = world.up(&world.stack(vec![web])).await.unwrap_err();
    assert_eq!(error.code, "kernel_missing");
    assert!(
        error.message.contains("/no/such/vmlinux"),
        "{}",
        error.message
    );
}

#[tokio::test]
async fn a_root_disk_is_as_large_as_it_is_to_be() {
    let world = World::new().await;
    let mut small = service("small", &["serve"], &[]);
    small.root_size = Some(100 << 20);
    world
        .up(&world.stack(vec![small, service("web", &["serve"], &[])]))
        .await
        .unwrap();
    let size = |service: &str| {
        let scratch = world.daemon.paths.scratch(&world.container(service).id);
        std::fs::metadata(scratch).unwrap().len()
    };
    assert_eq!(size("small"), 100 << 20);
    assert_eq!(size("web"), 64 << 30);
}

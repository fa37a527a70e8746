//! A machine that lacks something.

use stack_tests::Home;

use crate::one_service;

#[test]
fn qemu_is_missing() {
    let home = Home::new().env("STACK_QEMU", "/nonexistent/qemu");
    let project = home.project("qemu", &one_service("busybox:1"));
    project
        .stack(&["up", "-d"])
        .fails_with(21)
        .says("qemu")
        .says("install");
}

#[test]
fn the_kernel_is_missing() {
    let home = Home::new();
    let empty = home.dir().join("assets");
    std::fs::create_dir(&empty).unwrap();
    let home = home.env("STACK_ASSETS", empty.as_os_str());
    let project = home.project("kernel", &one_service("busybox:1"));
    project
        .stack(&["up", "-d"])
        .fails_with(21)
        .says("vmlinux is missing")
        .says("make");
}

#[test]
fn more_memory_is_asked_for_than_there_is() {
    let home = Home::new();
    let file = format!("{}    mem_limit: 900g\n", one_service("busybox:1"));
    let project = home.project("memory", &file);
    project
        .stack(&["up", "-d"])
        .fails_with(23)
        .says("not enough memory")
        .says("mem_limit");
    assert!(home.vms().is_empty());
}

//! A machine that lacks something.

use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use stack_tests::{Home, eventually, is_root};

use crate::one_service;

#[test]
fn qemu_is_missing() {
    let home = Home::new().env("STACK_QEMU", "/nonexistent/qemu");
    let project = home.project("qemu", &one_service("busybox:1"));
    project
        .stack(&["up", "-d"])
        .fails()
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
        .fails()
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
        .fails()
        .says("not enough memory")
        .says("mem_limit");
    assert!(home.vms().is_empty());
}

#[test]
fn the_disk_is_full() {
    if !is_root() {
        eprintln!("skipped: a small disk can be made by root only");
        return;
    }
    // Enough for the daemon's own files, not for PostgreSQL. The mount is in
    // a namespace that this thread shares with the processes it starts.
    let home = Home::with(|dir| {
        unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
        let none = None::<&Path>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("private");
        let small = dir.join("home");
        std::fs::create_dir(&small).expect("a mount point");
        let size = Some("size=64m,mode=0700");
        mount(Some("tmpfs"), &small, Some("tmpfs"), MsFlags::empty(), size).expect("a tmpfs");
    });
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

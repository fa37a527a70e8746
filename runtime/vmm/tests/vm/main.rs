//! Real micro-VMs through the public API: boot, service, exec, health,
//! disks, shares, and what happens when something dies.
//!
//! They need QEMU, `mkfs.erofs`, `mkfs.ext4`, a static busybox, and the
//! guest's kernel and initramfs (`make kernel initramfs`, or `STACK_ASSETS`).
//! What is missing is printed and the tests pass; `STACK_REQUIRE_VM=1` makes
//! it a failure.

mod boot;
mod disks;
mod exec;
mod files;
mod harness;
mod health;
mod isolation;
mod link;
mod machine;
mod network;
mod service;
mod template;
mod vhost;

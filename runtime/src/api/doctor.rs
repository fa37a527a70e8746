//! `GET /v1/doctor`: what works here.

use axum::Json;
use axum::extract::State;
use stack_api::request::Check;

use stack_vmm::{AnyBackend, Qemu};

use super::App;
use crate::host;

pub(super) async fn doctor(State(app): State<App>) -> Json<Vec<Check>> {
    let daemon = app.daemon;
    let mut checks = Vec::new();
    match &daemon.backend {
        AnyBackend::Qemu(qemu) => {
            vmm(qemu, &mut checks).await;
            checks.push(templates(qemu, daemon.assets.templates));
        }
        AnyBackend::Fake(_) => {
            checks.push(check("backend", "warning", "fake: no VM is run".into()))
        }
    }
    checks.push(check(
        "kernel",
        "ok",
        daemon.assets.kernel.display().to_string(),
    ));
    checks.push(check(
        "vminit",
        "ok",
        daemon.assets.initramfs.display().to_string(),
    ));
    checks.push(check(
        "netd",
        "ok",
        daemon.assets.netd.display().to_string(),
    ));
    checks.push(disk(&daemon.paths.data));
    checks.push(memory());
    Json(checks)
}

async fn vmm(qemu: &Qemu, checks: &mut Vec<Check>) {
    match qemu.probe().await {
        Ok(probe) => {
            checks.push(check(
                "qemu",
                "ok",
                format!("{} {}", probe.binary.display(), probe.version),
            ));
            let slow = probe.accelerator == "tcg";
            let mut accel = check(
                "accelerator",
                if slow { "warning" } else { "ok" },
                format!("{} ({})", probe.accelerator, probe.reason),
            );
            if slow {
                accel.help =
                    Some("VMs are emulated, several times slower: use a machine with KVM".into());
            }
            checks.push(accel);
            checks.push(check(
                "network",
                "ok",
                format!("{} ({})", probe.transport, probe.transport_reason),
            ));
        }
        Err(error) => {
            let mut failed = check("qemu", "error", error.to_string());
            failed.help = error.help();
            checks.push(failed);
        }
    }
}

fn templates(qemu: &Qemu, used: bool) -> Check {
    let (count, bytes) = qemu.templates();
    let found = match (used, count) {
        (false, _) => "not used (STACK_TEMPLATES=off): every VM boots".to_owned(),
        (true, 0) => "none saved yet: VMs boot".to_owned(),
        (true, _) => format!("{count} saved, {} MiB", bytes >> 20),
    };
    check("templates", "ok", found)
}

fn check(name: &str, status: &str, found: String) -> Check {
    Check {
        name: name.to_owned(),
        status: status.to_owned(),
        found,
        help: None,
    }
}

fn disk(path: &std::path::Path) -> Check {
    match host::disk_free(path) {
        Some(free) => {
            let status = if free < 2 << 30 { "warning" } else { "ok" };
            check(
                "disk",
                status,
                format!("{:.1} GiB free in {}", gib(free), path.display()),
            )
        }
        None => check(
            "disk",
            "error",
            format!("{} cannot be examined", path.display()),
        ),
    }
}

fn memory() -> Check {
    let memory = host::memory();
    let status = if memory.available < 1 << 30 {
        "warning"
    } else {
        "ok"
    };
    let (available, total) = (gib(memory.available), gib(memory.total));
    check(
        "memory",
        status,
        format!("{available:.1} of {total:.1} GiB available"),
    )
}

fn gib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

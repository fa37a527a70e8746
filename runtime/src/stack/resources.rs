//! Is there room for the plan? Asked before anything is touched.

use stack_api::event::ApiError;
use stack_api::request::Up;
use stack_api::spec::{PortSpec, ServiceSpec, StackSpec};
use stack_planner::plan::{Action, Plan};
use stack_vmm::AnyBackend;

use super::Outcome;
use crate::daemon::{Daemon, reserved};
use crate::host;
use crate::progress::Progress;

/// What a VM takes at least: kernel, agent and a small service.
const LEAST_MEMORY: u64 = 96 << 20;
/// What a container takes at least: its scratch disk's own structures.
const LEAST_DISK: u64 = 24 << 20;

/// Refuses a plan that cannot work; warns of one that may not.
///
/// # Errors
/// A service wants more memory than there is, or the disk is full.
pub(super) fn check(daemon: &Daemon, request: &Up, plan: &Plan, progress: &Progress) -> Outcome {
    let (mut starts, mut creates, mut limits) = (0, 0, 0);
    let memory = host::memory();
    for step in &plan.steps {
        match &step.action {
            Action::Start { service, .. } => {
                let wanted = &request.spec.services[service];
                let limit = wanted.machine.memory.or(wanted.memory);
                let limit = limit.unwrap_or(LEAST_MEMORY);
                if limit > memory.available {
                    return Err(too_much(
                        &format!("service {service}"),
                        limit,
                        memory.available,
                    ));
                }
                starts += 1;
                limits += limit;
            }
            Action::Create { .. } | Action::CreateBeside { .. } | Action::Recreate { .. } => {
                creates += 1;
            }
            _ => {}
        }
    }
    if starts * LEAST_MEMORY > memory.available {
        let what = format!("starting {starts} micro-VMs");
        return Err(too_much(&what, starts * LEAST_MEMORY, memory.available));
    }
    if limits > memory.available {
        progress.warn(format!(
            "the memory limits of what is started add up to {} MiB, {} MiB are available",
            limits >> 20,
            memory.available >> 20
        ));
    }
    let dir = &daemon.paths.data;
    if let Some(free) = host::disk_free(dir)
        && free < creates * LEAST_DISK
    {
        return Err(ApiError::new(
            "disk_full",
            format!(
                "no space left: {} MiB are free in {}, {creates} new containers need {} MiB",
                free >> 20,
                dir.display(),
                (creates * LEAST_DISK) >> 20
            ),
        )
        .help("free some space, then run the command again: nothing was changed"));
    }
    Ok(())
}

/// Refuses ports that this user may not bind, before anything is fetched.
///
/// # Errors
/// A service that is started or changed publishes one.
pub(super) fn check_ports(daemon: &Daemon, spec: &StackSpec, plan: &Plan) -> Outcome {
    let begun = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Create { service, .. }
        | Action::CreateBeside { service, .. }
        | Action::Recreate { service, .. }
        | Action::Update { service, .. }
        | Action::Start { service, .. } => Some(&spec.services[service]),
        _ => None,
    });
    may_publish(daemon, begun)
}

/// Refuses ports of `services` that this user may not bind.
///
/// # Errors
/// A service publishes one.
pub(super) fn may_publish<'a>(
    daemon: &Daemon,
    services: impl IntoIterator<Item = &'a ServiceSpec>,
) -> Outcome {
    let first_free = host::first_free_port();
    let made_up = matches!(daemon.backend, AnyBackend::Fake(_));
    if made_up || host::may_bind_reserved(&daemon.assets.netd) {
        return Ok(());
    }
    for service in services {
        let mut ports = service.ports.iter();
        if let Some(port) = ports.find(|port| is_reserved(port, first_free)) {
            return Err(reserved(&service.name, port));
        }
    }
    Ok(())
}

/// None of the host's ports that would do is free to all.
fn is_reserved(port: &PortSpec, first_free: u16) -> bool {
    let last = port.published_end.or(port.published);
    last.is_some_and(|last| last != 0 && last < first_free)
}

fn too_much(what: &str, needed: u64, available: u64) -> ApiError {
    ApiError::new(
        "memory",
        format!(
            "not enough memory: {what} needs {} MiB, {} MiB are available",
            needed >> 20,
            available >> 20
        ),
    )
    .help("stop something, or lower `mem_limit`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_that_ends_among_the_free_ones_will_do() {
        let port = |first, last| PortSpec {
            host_ip: None,
            published: first,
            published_end: last,
            target: 80,
            udp: false,
            labels: Vec::new(),
        };
        assert!(is_reserved(&port(Some(80), None), 1024));
        assert!(is_reserved(&port(Some(80), Some(1023)), 1024));
        assert!(!is_reserved(&port(Some(80), Some(1024)), 1024));
        assert!(!is_reserved(&port(Some(80), None), 80));
        assert!(!is_reserved(&port(None, None), 1024));
    }
}

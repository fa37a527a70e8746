//! Is there room for the plan? Asked before anything is touched.

use stack_api::event::ApiError;
use stack_api::request::Up;
use stack_api::spec::{PortSpec, ServiceSpec, StackSpec};
use stack_planner::plan::{Action, Plan};
use stack_vmm::AnyBackend;

use super::Outcome;
use crate::daemon::{Daemon, reserved};
use crate::host::{self, Memory};
use crate::progress::Progress;

/// What a VM takes at least: kernel, agent and a small service.
const LEAST_MEMORY: u64 = 96 << 20;
/// What a container takes at least: its scratch disk's own structures.
const LEAST_DISK: u64 = 24 << 20;

/// Refuses a plan that cannot work; warns of one that may not.
///
/// # Errors
/// A service wants more memory than the host has, or the disk is full.
pub(super) fn check(daemon: &Daemon, request: &Up, plan: &Plan, progress: &Progress) -> Outcome {
    let (mut starts, mut creates, mut freed) = (Vec::new(), 0, 0);
    let held = |name: &str| {
        let handles = daemon.handles(Some(&request.spec.name));
        let old = handles.iter().find(|h| h.container().name == name);
        let pid = old.and_then(|handle| handle.container().pid);
        pid.map_or(0, host::resident)
    };
    for step in &plan.steps {
        match &step.action {
            Action::Start { service, .. } => {
                let wanted = &request.spec.services[service];
                let limit = wanted.machine.memory.or(wanted.memory);
                starts.push((service.as_str(), limit.unwrap_or(LEAST_MEMORY)));
            }
            Action::Create { .. } | Action::CreateBeside { .. } => creates += 1,
            Action::Recreate { name, .. } => {
                creates += 1;
                freed += held(name);
            }
            Action::Stop { name, .. } => freed += held(name),
            _ => {}
        }
    }
    let mut memory = host::memory();
    memory.available = memory.available.saturating_add(freed);
    if let Some(warning) = fits(memory, &starts)? {
        progress.warn(warning);
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

/// `starts`: services and the most that a VM of each will take. Gives a warning.
///
/// A VM takes memory as it uses it: what is less than the host has may well
/// be there by then.
fn fits(memory: Memory, starts: &[(&str, u64)]) -> Result<Option<String>, ApiError> {
    if let Some((service, limit)) = starts.iter().find(|(_, limit)| *limit > memory.total) {
        let what = format!("service {service}");
        return Err(too_much(&what, *limit, memory.total, "the host has"));
    }
    let least = starts.len() as u64 * LEAST_MEMORY;
    if least > memory.available {
        let what = format!("starting {} micro-VMs", starts.len());
        return Err(too_much(&what, least, memory.available, "available are"));
    }
    let limits = starts
        .iter()
        .fold(0_u64, |sum, (_, limit)| sum.saturating_add(*limit));
    Ok((limits > memory.available).then(|| {
        format!(
            "the memory limits of what is started add up to {} MiB, {} MiB are available",
            limits >> 20,
            memory.available >> 20
        )
    }))
}

fn too_much(what: &str, needed: u64, there: u64, is: &str) -> ApiError {
    ApiError::new(
        "memory",
        format!(
            "not enough memory: {what} needs {} MiB, {is} {} MiB",
            needed >> 20,
            there >> 20
        ),
    )
    .help("stop something, or lower `mem_limit`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_host_can_never_hold_is_refused() {
        let memory = Memory {
            total: 16 << 30,
            available: 6 << 30,
        };
        let warning = fits(memory, &[("db", 8 << 30)]).unwrap();
        assert_eq!(
            warning.as_deref(),
            Some("the memory limits of what is started add up to 8192 MiB, 6144 MiB are available")
        );
        assert_eq!(fits(memory, &[("db", 5 << 30), ("web", 1 << 30)]), Ok(None));
        let error = fits(memory, &[("db", 17 << 30)]).unwrap_err();
        assert_eq!(
            error.message,
            "not enough memory: service db needs 17408 MiB, the host has 16384 MiB"
        );
        let many = vec![("web", LEAST_MEMORY); 65];
        assert!(fits(memory, &many).is_err());
    }

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

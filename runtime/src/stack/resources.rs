//! Is there room for the plan? Asked before anything is touched.

use stack_api::event::ApiError;
use stack_api::request::Up;
use stack_planner::plan::{Action, Plan};

use super::Outcome;
use crate::daemon::Daemon;
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

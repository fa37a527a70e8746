//! Waiting for what another service, or the user, needs.

use std::sync::Arc;

use stack_api::container::{Container, Health, State};
use stack_api::event::ApiError;
use stack_api::spec::{Condition, StackSpec};

use super::settle;
use crate::container::{Handle, NEVER_RAN, Record};

/// Errors that say what this machine cannot do, or has too little of: the service is
/// not to blame.
const OF_THE_MACHINE: [&str; 10] = [
    "boot_timeout",
    "disk_full",
    "memory",
    "no_such_address",
    "port_in_use",
    "port_reserved",
    "qemu",
    "qemu_missing",
    "tool_missing",
    "vm_failed",
];

/// Who has been restarted so often, without a start by hand in between, and was never
/// healthy, will not be: with the pauses in between that is after a minute or two.
const ENOUGH: u32 = 10;

/// Waits until a container has reached the condition.
///
/// # Errors
/// It cannot reach it any more.
pub async fn reached(handle: &Arc<Handle>, condition: Condition) -> Result<(), ApiError> {
    until(handle, condition, false).await
}

/// Starts a container and waits until it has come to that.
///
/// # Errors
/// It cannot be started, or that was called off.
pub async fn started(handle: &Arc<Handle>) -> Result<(), ApiError> {
    handle.start();
    until(handle, Condition::ServiceStarted, true).await
}

/// `begun`: its start has been asked for.
async fn until(
    handle: &Arc<Handle>,
    condition: Condition,
    mut begun: bool,
) -> Result<(), ApiError> {
    let mut changes = handle.changes();
    loop {
        let verdict = {
            let record = changes.borrow_and_update();
            begun |= record.container.state.is_live();
            match is_called_off(&record, begun) {
                true => Some(Err(called_off(&record.container))),
                false => judge(handle, &record, condition),
            }
        };
        match verdict {
            Some(result) => return result,
            None => {
                if changes.changed().await.is_err() {
                    return Err(ApiError::new("gone", "the container was removed"));
                }
            }
        }
    }
}

/// Its start is not wanted any more, and nothing came of it.
fn is_called_off(record: &Record, begun: bool) -> bool {
    let container = &record.container;
    let settled = match container.state {
        State::Created => begun,
        State::Exited => record.called_off,
        _ => false,
    };
    settled && !record.wanted
}

fn called_off(container: &Container) -> ApiError {
    let message = format!("{} was stopped while it was starting", container.name);
    ApiError::new("service_failed", message)
}

fn judge(handle: &Handle, record: &Record, condition: Condition) -> Option<Result<(), ApiError>> {
    let container = &record.container;
    let name = &container.name;
    // One that was asked to start while its last run ended begins in a moment.
    let over = !container.state.is_live() && container.state != State::Created && !record.wanted;
    let failed = |what: String| Some(Err(failure(container, &what)));
    let unhealthy = || match &*handle.probe.borrow() {
        Some(probe) => format!(
            "{name} is unhealthy: its last health check ended with {}: {}",
            probe.code,
            last_line(&probe.output)
        ),
        None => format!("{name} is unhealthy"),
    };
    match condition {
        Condition::ServiceCompletedSuccessfully if over => match container.exit_code {
            Some(0) => Some(Ok(())),
            code => failed(format!(
                "{name} did not complete successfully: exit {}",
                code.unwrap_or(-1)
            )),
        },
        Condition::ServiceCompletedSuccessfully => None,
        // Nothing would ever come of it, and others wait for this stack.
        _ if container.state == State::Paused => Some(Err(paused(container))),
        Condition::ServiceStarted if container.state == State::Running => Some(Ok(())),
        // It was quick: it has run, which is all that was asked for.
        Condition::ServiceStarted
            if over && container.state == State::Exited && container.error.is_none() =>
        {
            Some(Ok(()))
        }
        Condition::ServiceHealthy if container.state == State::Running => match container.health {
            Some(Health::Healthy) => Some(Ok(())),
            Some(Health::Unhealthy) => failed(unhealthy()),
            Some(Health::Starting) => None,
            None => failed(format!(
                "{name} has no health check, so it can never be healthy"
            )),
        },
        Condition::ServiceHealthy
            if container.state == State::Restarting && record.attempts >= ENOUGH =>
        {
            failed(format!(
                "{name} has ended {} times before it was healthy, last with exit code {}",
                record.attempts,
                container.exit_code.unwrap_or(-1)
            ))
        }
        _ if over => failed(format!(
            "{name} ended with exit code {}",
            container.exit_code.unwrap_or(-1)
        )),
        _ => None,
    }
}

/// Do others wait for the end of this service?
fn is_job(spec: &StackSpec, service: &str) -> bool {
    let mut awaited = spec
        .services
        .values()
        .filter_map(|other| other.depends_on.get(service));
    awaited.any(|needed| needed.condition == Condition::ServiceCompletedSuccessfully)
}

/// What `--wait` waits for: the good end of what others need the end of,
/// whatever its health check said meanwhile, and that all else is up.
pub(super) async fn ready(spec: Option<&StackSpec>, handle: &Arc<Handle>) -> Result<(), ApiError> {
    match spec.is_some_and(|spec| is_job(spec, &handle.container().service)) {
        true => reached(handle, Condition::ServiceCompletedSuccessfully).await,
        false => up(handle).await,
    }
}

/// It is up: healthy where there is a check, else running,
/// and not for a moment only.
pub(super) async fn up(handle: &Arc<Handle>) -> Result<(), ApiError> {
    let check = handle.record().blueprint.config.healthcheck.is_some();
    if check {
        return reached(handle, Condition::ServiceHealthy).await;
    }
    reached(handle, Condition::ServiceStarted).await?;
    let mut changes = handle.changes();
    let ends = changes.wait_for(|record| record.container.state != State::Running);
    let ended = tokio::select! {
        biased;
        _ = ends => true,
        () = settle::settled(handle) => false,
    };
    if ended {
        // Its exit code is known when its VM has gone.
        let _ = changes
            .wait_for(|record| record.container.state != State::Stopping)
            .await;
    }
    let container = handle.container();
    if container.state != State::Running && container.exit_code.is_some_and(|code| code != 0) {
        let what = format!(
            "{} ended with exit code {}",
            container.name,
            container.exit_code.unwrap_or(-1)
        );
        return Err(failure(&container, &what));
    }
    Ok(())
}

fn last_line(output: &str) -> &str {
    output
        .lines()
        .rfind(|line| !line.trim().is_empty())
        .unwrap_or("it printed nothing")
}

/// What a container still lacks, for the user; `None`: nothing.
pub(super) fn not_up(handle: &Handle) -> Option<String> {
    let container = handle.container();
    let name = &container.name;
    let probe = handle.probe.borrow();
    match (container.state, container.health) {
        (State::Running, None | Some(Health::Healthy)) => None,
        (State::Running, Some(_)) => Some(match &*probe {
            Some(probe) => format!(
                "{name} is not healthy (its last health check ended with {}: {})",
                probe.code,
                last_line(&probe.output)
            ),
            None => format!("{name} is not healthy yet"),
        }),
        (State::Restarting | State::Starting, _) if container.restarts > 0 => Some(format!(
            "{name} is restarted again and again ({} times, last exit code {})",
            container.restarts,
            container
                .exit_code
                .map_or("unknown".to_owned(), |code| code.to_string()),
        )),
        (state, _) => Some(format!("{name} is {}", state.as_str())),
    }
}

/// The same for what [`ready`] waits for.
pub(super) fn not_ready(spec: Option<&StackSpec>, handle: &Handle) -> Option<String> {
    let container = handle.container();
    let is_job = spec.is_some_and(|spec| is_job(spec, &container.service));
    match container.state {
        State::Running if is_job => Some(format!("{} has not completed yet", container.name)),
        // Its end was a good one, or the reason for another error.
        State::Exited => None,
        _ => not_up(handle),
    }
}

fn paused(container: &Container) -> ApiError {
    ApiError::new("paused", format!("{} is paused", container.name))
        .help(format!("go on with `stack unpause {}`", container.service))
}

fn failure(container: &Container, what: &str) -> ApiError {
    let Some(error) = &container.error else {
        return ApiError::new("service_failed", what).help(look_into_logs(container));
    };
    let code = container.error_code.as_deref();
    let code = code.filter(|code| OF_THE_MACHINE.contains(code));
    let code = code.unwrap_or("service_failed");
    // Its program was not reached, so there is neither an exit code of its
    // own nor output; the error says what to do.
    if container.exit_code == Some(NEVER_RAN) {
        let known = format!("service {}: ", container.service);
        let error = error.strip_prefix(&known).unwrap_or(error);
        let what = format!("{} could not be started: {error}", container.name);
        return ApiError::new(code, what);
    }
    let mut told = ApiError::new(code, format!("{what}: {error}")).help(look_into_logs(container));
    if let Some(code @ (126 | 127)) = container.exit_code {
        told.exit_code = code;
    }
    told
}

fn look_into_logs(container: &Container) -> String {
    format!("see what it said with `stack logs {}`", container.service)
}

/// What a replica is now, in the words of `up`.
pub(super) fn status(container: &Container) -> &'static str {
    match (container.state, container.health) {
        (State::Running, Some(Health::Healthy)) => "healthy",
        (state, _) => state.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_lacks_is_no_failure_of_a_service() {
        let failed = |code: &str| {
            let mut container = ended(128, Some("service web: no"));
            container.error_code = Some(code.to_owned());
            failure(&container, "shop-web-1 ended with exit code 128").code
        };
        assert_eq!(failed("qemu_missing"), "qemu_missing");
        assert_eq!(failed("disk_full"), "disk_full");
        // A file or a mount of its own.
        assert_eq!(failed("bind"), "service_failed");
    }

    fn ended(exit_code: i32, error: Option<&str>) -> Container {
        Container {
            name: "shop-web-1".to_owned(),
            service: "web".to_owned(),
            state: State::Exited,
            exit_code: Some(exit_code),
            error: error.map(str::to_owned),
            ..Container::default()
        }
    }

    #[test]
    fn what_never_ran_has_no_exit_code_and_no_logs() {
        let mut port = ended(128, Some("service web: port 80 is already in use by nginx"));
        port.error_code = Some("port_in_use".to_owned());
        let told = failure(&port, "shop-web-1 ended with exit code 128");
        assert_eq!(told.code, "port_in_use");
        assert_eq!(
            told.message,
            "shop-web-1 could not be started: port 80 is already in use by nginx"
        );
        assert_eq!(told.help, None);
    }

    #[test]
    fn what_ran_is_told_with_its_exit_code_and_logs() {
        let told = failure(&ended(128, None), "shop-web-1 ended with exit code 128");
        assert_eq!(told.message, "shop-web-1 ended with exit code 128");
        assert!(told.help.is_some_and(|help| help.contains("logs web")));
        let missing = ended(127, Some("no such program: rake"));
        let told = failure(&missing, "shop-web-1 ended with exit code 127");
        assert_eq!(told.exit_code, 127);
        assert!(told.message.ends_with("127: no such program: rake"));
    }

    #[test]
    fn a_job_that_is_over_is_not_running() {
        assert_eq!(status(&ended(0, None)), "exited");
    }
}

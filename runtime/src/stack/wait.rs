//! Waiting for what another service, or the user, needs.

use std::sync::Arc;
use std::time::Duration;

use stack_api::container::{Health, State};
use stack_api::event::ApiError;
use stack_api::spec::Condition;

use crate::container::{Handle, Record};

/// Waits until a container has reached the condition.
///
/// # Errors
/// It cannot reach it any more.
pub async fn reached(handle: &Arc<Handle>, condition: Condition) -> Result<(), ApiError> {
    let mut changes = handle.changes();
    loop {
        let verdict = judge(handle, &changes.borrow_and_update(), condition);
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

fn judge(handle: &Handle, record: &Record, condition: Condition) -> Option<Result<(), ApiError>> {
    let container = &record.container;
    let name = &container.name;
    let over = !container.state.is_live() && container.state != State::Created;
    let failed = |what: String| Some(Err(failure(record, &what)));
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
        Condition::ServiceStarted if container.state == State::Running => Some(Ok(())),
        // It was quick: it has run, which is all that was asked for.
        Condition::ServiceStarted
            if container.state == State::Exited && container.error.is_none() =>
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
        _ if over => failed(format!(
            "{name} ended with exit code {}",
            container.exit_code.unwrap_or(-1)
        )),
        _ => None,
    }
}

/// A service without a health check that ends within this time after its
/// start has not come up.
const SETTLE: Duration = Duration::from_millis(300);

/// What `--wait` waits for: healthy where there is a check, else running,
/// and not for a moment only.
pub(super) async fn up(handle: &Arc<Handle>) -> Result<(), ApiError> {
    let check = handle.record().blueprint.config.healthcheck.is_some();
    if check {
        return reached(handle, Condition::ServiceHealthy).await;
    }
    reached(handle, Condition::ServiceStarted).await?;
    let mut changes = handle.changes();
    let ends = changes.wait_for(|record| record.container.state != State::Running);
    if tokio::time::timeout(handle.settled_in(SETTLE), ends)
        .await
        .is_ok()
    {
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
        return Err(failure(&handle.record(), &what));
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
        (state, _) => Some(format!("{name} is {}", state.as_str())),
    }
}

fn failure(record: &Record, what: &str) -> ApiError {
    let container = &record.container;
    let code = match &container.error {
        Some(error) if error.contains("already in use") => "port_in_use",
        _ => "service_failed",
    };
    let mut error = match &container.error {
        Some(error) => ApiError::new(code, format!("{what}: {error}")),
        None => ApiError::new(code, what),
    };
    if let (Some(_), Some(code @ (126 | 127))) = (&container.error, container.exit_code) {
        error.exit_code = code;
    }
    error.help = Some(format!(
        "see what it said with `stack logs {}`",
        container.service
    ));
    error
}

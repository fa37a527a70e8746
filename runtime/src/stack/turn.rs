//! The lock of a stack, as an operation with a client takes it.

use std::sync::Arc;
use std::time::Duration;

use stack_api::event::ApiError;
use tokio::sync::OwnedMutexGuard;

use super::Outcome;
use crate::container::Handle;
use crate::daemon::Daemon;
use crate::progress::Progress;

/// Whoever waits longer is told what for.
const SILENT: Duration = Duration::from_secs(2);

/// The stack's lock.
pub(super) async fn take(
    daemon: &Daemon,
    project: &str,
    progress: &Progress,
) -> OwnedMutexGuard<()> {
    let turn = daemon.operation(project).lock_owned();
    tokio::pin!(turn);
    tokio::select! {
        biased;
        turn = &mut turn => return turn,
        () = tokio::time::sleep(SILENT) => {}
    }
    progress.warn(format!(
        "waiting for another operation on stack {project} to end"
    ));
    turn.await
}

/// Carries something out to its end with the stack's lock, though the client goes. What
/// may take long in it is [`while_wanted`].
///
/// # Errors
/// It has failed.
pub(super) async fn to_the_end(
    turn: OwnedMutexGuard<()>,
    work: impl Future<Output = Outcome> + Send + 'static,
) -> Outcome {
    let all = async move {
        let _one = turn;
        work.await
    };
    let done = tokio::spawn(all).await;
    done.map_err(|error| ApiError::new("internal", error.to_string()))?
}

/// Wishes that these stop at once: before the stack's lock is waited for,
/// because whoever has it may be waiting for them.
pub(super) fn stop_at_once(handles: &[Arc<Handle>]) {
    for handle in handles {
        if handle.container().state.is_live() {
            handle.stop(Some(0));
        }
    }
}

/// Waits, as long as there is a client: a step of a plan goes on without one,
/// and keeps the stack's lock.
///
/// # Errors
/// The client has gone, or `what` has failed.
pub(super) async fn while_wanted<T>(
    progress: &Progress,
    what: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    tokio::select! {
        biased;
        result = what => result,
        () = progress.closed() => {
            Err(ApiError::new("cancelled", "nobody waits for it any more"))
        }
    }
}

//! How long an operation waits for services (`--wait-timeout`), whatever it waits
//! for: what they depend on, their hooks, their health.

use std::sync::Arc;
use std::time::Duration;

use stack_api::event::ApiError;
use stack_api::spec::StackSpec;
use tokio::time::Instant;

use super::wait;
use crate::container::Handle;

const CODE: &str = "wait_timeout";

/// When waiting ends, and how long it was to take; without one it goes on.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Limit(Option<(Instant, u64)>);

impl Limit {
    /// From now on. No seconds are no limit, as with Docker Compose.
    pub(super) fn new(seconds: Option<u64>) -> Limit {
        let at = |seconds| Instant::now().checked_add(Duration::from_secs(seconds));
        let seconds = seconds.filter(|seconds| *seconds > 0);
        Limit(seconds.and_then(|seconds| Some((at(seconds)?, seconds))))
    }

    /// Waits. What is waited for is dropped when the time is over.
    ///
    /// # Errors
    /// It has failed, or the time is over.
    pub(super) async fn within<T>(
        self,
        what: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        let Some((at, seconds)) = self.0 else {
            return what.await;
        };
        let outcome = tokio::time::timeout_at(at, what).await;
        outcome.unwrap_or_else(|_| {
            let message = format!("not everything was ready within {seconds} s");
            Err(ApiError::new(CODE, message).help("see `stack ps` and `stack logs`"))
        })
    }
}

/// The time was over: nothing has failed.
pub(super) fn is_over(error: &ApiError) -> bool {
    error.code == CODE
}

/// Says of which containers it was waited for, if it was for want of time.
pub(super) fn told<'a>(
    error: ApiError,
    spec: Option<&StackSpec>,
    handles: impl Iterator<Item = &'a Arc<Handle>>,
) -> ApiError {
    if !is_over(&error) {
        return error;
    }
    let late: Vec<String> = handles
        .filter_map(|handle| wait::not_ready(spec, handle))
        .collect();
    if late.is_empty() {
        return error;
    }
    let message = format!("{}: {}", error.message, late.join("; "));
    ApiError { message, ..error }
}

//! Answers: errors with their status, and streams of JSON lines.

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt};
use serde::Serialize;
use stack_api::event::{ApiError, Event};

use crate::progress::{Events, Progress};

/// An error as an answer.
#[derive(Debug)]
pub(super) struct Failure(pub ApiError);

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Failure {
        Failure(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = match self.0.code.as_str() {
            "not_found" | "no_such_service" | "no_such_network" => StatusCode::NOT_FOUND,
            "not_running" => StatusCode::CONFLICT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, axum::Json(self.0)).into_response()
    }
}

/// What looks at many files, where nobody else waits for it.
pub(super) async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| ApiError::new("internal", error.to_string()))?
}

/// JSON lines.
pub(super) fn lines<T: Serialize + Send + 'static>(
    stream: impl Stream<Item = T> + Send + 'static,
) -> Response {
    let body = stream.map(|item| {
        let mut line = serde_json::to_vec(&item).map_err(std::io::Error::other)?;
        line.push(b'\n');
        Ok::<Bytes, std::io::Error>(line.into())
    });
    (
        [(header::CONTENT_TYPE, "application/x-ndjson")],
        Body::from_stream(body),
    )
        .into_response()
}

/// Runs an operation and answers with its events. When the client goes, the
/// operation is dropped: drivers of containers that were made go on.
pub(super) fn events<F, Fut>(operation: F) -> Response
where
    F: FnOnce(Progress) -> Fut,
    Fut: Future<Output = Result<(), ApiError>> + Send + 'static,
{
    let (progress, events) = Progress::new();
    let running = operation(progress.clone());
    tokio::spawn(async move {
        tokio::select! {
            result = running => progress.end(result),
            () = progress.closed() => tracing::info!("the client has gone: operation cancelled"),
        }
    });
    lines(unbounded(events))
}

fn unbounded(mut from: Events) -> impl Stream<Item = Event> {
    futures_util::stream::poll_fn(move |context| from.poll_recv(context))
}

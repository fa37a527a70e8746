//! `POST /v1/stacks/{name}/build` and `/v1/builder`.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use stack_api::build::{Build, PruneBuilder};

use super::App;
use super::answer::{Failure, events};
use crate::stack;

/// `POST /v1/builder/prune`: bytes that were freed.
pub(super) async fn prune(
    State(app): State<App>,
    Json(PruneBuilder {}): Json<PruneBuilder>,
) -> Result<Json<u64>, Failure> {
    Ok(Json(stack::prune_builder(&app.daemon).await?))
}

pub(super) async fn build(State(app): State<App>, Json(request): Json<Build>) -> Response {
    events(|progress| stack::build(app.daemon, request, progress))
}

//! Routes of a stack's history.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use stack_api::history::{Entry, Rollback};

use super::App;
use super::answer::{Failure, events};
use crate::stack;

/// `GET /v1/stacks/{name}/history`
pub(super) async fn history(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<Vec<Entry>>, Failure> {
    Ok(Json(stack::entries(&app.daemon, &name)?))
}

/// `POST /v1/stacks/{name}/rollback`
pub(super) async fn rollback(
    State(app): State<App>,
    Path(name): Path<String>,
    Json(request): Json<Rollback>,
) -> Response {
    events(|progress| stack::rollback(app.daemon, name, request, progress))
}

/// `POST /v1/stacks/{name}/rollback/plan`
pub(super) async fn plan(
    State(app): State<App>,
    Path(name): Path<String>,
    Json(request): Json<Rollback>,
) -> Result<Json<stack_planner::plan::Plan>, Failure> {
    Ok(Json(stack::plan_rollback(&app.daemon, &name, &request)?))
}

//! `POST /v1/stacks/{name}/build`

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use stack_api::build::Build;

use super::App;
use super::answer::events;
use crate::stack;

pub(super) async fn build(State(app): State<App>, Json(request): Json<Build>) -> Response {
    events(|progress| stack::build(app.daemon, request, progress))
}

//! `POST /v1/stacks/{name}/run`

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use stack_api::run::Run;

use super::App;
use super::answer::events;
use crate::stack;

pub(super) async fn run(State(app): State<App>, Json(request): Json<Run>) -> Response {
    events(|progress| stack::run(app.daemon, request, progress))
}

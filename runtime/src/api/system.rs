//! Routes about the disk.

use axum::Json;
use axum::extract::State;
use stack_api::system::{Prune, Pruned, Usage};

use super::App;
use super::answer::{Failure, on_a_thread};
use crate::space;

/// `GET /v1/system/usage`
pub(super) async fn usage(State(app): State<App>) -> Result<Json<Vec<Usage>>, Failure> {
    let usage = on_a_thread(move || space::usage(&app.daemon));
    Ok(Json(usage.await?))
}

/// `POST /v1/system/prune`
pub(super) async fn prune(
    State(app): State<App>,
    Json(order): Json<Prune>,
) -> Result<Json<Pruned>, Failure> {
    Ok(Json(space::prune(&app.daemon, &order).await?))
}

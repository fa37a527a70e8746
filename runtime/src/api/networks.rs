//! Routes of networks.

use axum::Json;
use axum::extract::{Path, State};
use stack_api::network::NetworkInfo;
use stack_api::spec::NetworkSpec;

use super::App;
use super::answer::Failure;
use crate::stack;

/// `GET /v1/networks`
pub(super) async fn list(State(app): State<App>) -> Result<Json<Vec<NetworkInfo>>, Failure> {
    Ok(Json(stack::list_networks(&app.daemon)?))
}

/// `POST /v1/networks`
pub(super) async fn create(
    State(app): State<App>,
    Json(wanted): Json<NetworkSpec>,
) -> Result<Json<NetworkInfo>, Failure> {
    Ok(Json(stack::create_network(&app.daemon, &wanted)?))
}

/// `GET /v1/networks/{name}`
pub(super) async fn inspect(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<NetworkInfo>, Failure> {
    Ok(Json(stack::inspect_network(&app.daemon, &name)?))
}

/// `DELETE /v1/networks/{name}`
pub(super) async fn remove(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<()>, Failure> {
    Ok(Json(stack::remove_network(&app.daemon, &name).await?))
}

/// `POST /v1/networks/prune`
pub(super) async fn prune(State(app): State<App>) -> Result<Json<Vec<String>>, Failure> {
    Ok(Json(stack::prune_networks(&app.daemon).await?))
}

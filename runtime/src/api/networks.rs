//! Routes of networks.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use stack_api::network::{CaptureQuery, Connect, Disconnect, NetStats, NetworkInfo};
use stack_api::spec::NetworkSpec;

use super::App;
use super::answer::{Failure, events};
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

/// `GET /v1/stacks/{name}/net`
pub(super) async fn stats(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<NetStats>, Failure> {
    Ok(Json(stack::net_stats(&app.daemon, &name).await?))
}

/// `GET /v1/stacks/{name}/capture`
pub(super) async fn capture(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(query): Query<CaptureQuery>,
) -> Result<Response, Failure> {
    let frames = stack::capture(&app.daemon, &name, &query).await?;
    let kind = [(header::CONTENT_TYPE, "application/x-pcapng")];
    Ok((kind, Body::from_stream(frames)).into_response())
}

/// `POST /v1/networks/{name}/connect`
pub(super) async fn connect(
    State(app): State<App>,
    Path(name): Path<String>,
    Json(request): Json<Connect>,
) -> Response {
    events(|progress| stack::connect(app.daemon, name, request, progress))
}

/// `POST /v1/networks/{name}/disconnect`
pub(super) async fn disconnect(
    State(app): State<App>,
    Path(name): Path<String>,
    Json(request): Json<Disconnect>,
) -> Response {
    events(|progress| stack::disconnect(app.daemon, name, request, progress))
}

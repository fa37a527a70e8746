//! Routes of images.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use stack_api::event::ApiError;
use stack_api::request::{ImageInfo, Load, Pull, Resolve, Resolved};

use super::App;
use super::answer::{Failure, events};
use crate::stack;

/// `GET /v1/images`
pub(super) async fn list(State(app): State<App>) -> Result<Json<Vec<ImageInfo>>, Failure> {
    let images = app
        .daemon
        .images
        .list()
        .map_err(|error| ApiError::new("images", error.to_string()))?;
    let infos = images.into_iter().map(|image| ImageInfo {
        reference: image.reference,
        id: image.id,
        digest: image.digest,
        size: image.size,
        platform: image.platform,
        created_ms: image.created_ms,
    });
    Ok(Json(infos.collect()))
}

/// `POST /v1/images/pull`
pub(super) async fn pull(State(app): State<App>, Json(request): Json<Pull>) -> Response {
    events(|progress| stack::pull(app.daemon, request, progress))
}

/// `POST /v1/images/resolve`
pub(super) async fn resolve(Json(request): Json<Resolve>) -> Result<Json<Vec<Resolved>>, Failure> {
    Ok(Json(stack::resolve(request).await?))
}

/// `POST /v1/images/load`
pub(super) async fn load(State(app): State<App>, Json(request): Json<Load>) -> Response {
    events(|progress| stack::load(app.daemon, request, progress))
}

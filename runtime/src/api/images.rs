//! Routes of images.

use std::io::{self, Write};

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use stack_api::event::ApiError;
use stack_api::image::{Commit, Committed, Details, Find, Prune, Push, Remove, Removed, Save, Tag};
use stack_api::request::{ImageInfo, Load, Pull, Resolve, Resolved};
use tokio::sync::mpsc;

use super::App;
use super::answer::{Failure, events};
use crate::{space, stack};

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

/// `GET /v1/images/all`
pub(super) async fn all(State(app): State<App>) -> Result<Json<Vec<Details>>, Failure> {
    Ok(Json(space::details(&app.daemon)?))
}

/// `GET /v1/images/find`
pub(super) async fn find(
    State(app): State<App>,
    Query(query): Query<Find>,
) -> Result<Json<String>, Failure> {
    let found = app.daemon.images.find_image(&query.image);
    Ok(Json(found.map_err(stack::image_error)?))
}

/// `POST /v1/images/tag`
pub(super) async fn tag(
    State(app): State<App>,
    Json(order): Json<Tag>,
) -> Result<Json<String>, Failure> {
    let tagged = app.daemon.images.tag(&order.image, &order.name).await;
    Ok(Json(tagged.map_err(stack::image_error)?))
}

/// `POST /v1/images/remove`
pub(super) async fn remove(
    State(app): State<App>,
    Json(order): Json<Remove>,
) -> Result<Json<Removed>, Failure> {
    Ok(Json(space::remove_images(&app.daemon, order).await?))
}

/// `POST /v1/images/prune`
pub(super) async fn prune(
    State(app): State<App>,
    Json(order): Json<Prune>,
) -> Result<Json<Removed>, Failure> {
    Ok(Json(space::prune_images(&app.daemon, &order).await?))
}

/// `POST /v1/images/push`
pub(super) async fn push(State(app): State<App>, Json(request): Json<Push>) -> Response {
    events(|progress| stack::push(app.daemon, request, progress))
}

/// `POST /v1/stacks/{name}/commit`
pub(super) async fn commit(
    State(app): State<App>,
    Path(name): Path<String>,
    Json(order): Json<Commit>,
) -> Result<Json<Committed>, Failure> {
    // A container that stands still must go on, whoever goes away.
    let work = tokio::spawn(stack::commit(app.daemon, name, order));
    let done = work.await;
    let done = done.map_err(|error| ApiError::new("internal", error.to_string()))?;
    Ok(Json(done?))
}

/// Bytes that go into the stream at once.
const PIECE: usize = 256 << 10;

/// The writing end of an answer's body.
struct Stream {
    to: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let piece = std::mem::take(&mut self.piece);
        if piece.is_empty() {
            return Ok(());
        }
        let sent = self.to.blocking_send(Ok(piece.into()));
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// `GET /v1/images/save`
pub(super) async fn save(
    State(app): State<App>,
    Query(query): Query<Save>,
) -> Result<Response, Failure> {
    let images: Vec<String> = query.images.split(',').map(str::to_owned).collect();
    let store = app.daemon.images.clone();
    // What cannot be is an error of the call; what comes later cuts it off.
    store.check_savable(&images).map_err(stack::image_error)?;
    let (to, from) = mpsc::channel(4);
    tokio::spawn(async move {
        let stream = Stream {
            to: to.clone(),
            piece: Vec::with_capacity(PIECE),
        };
        if let Err(error) = store.save(&images, stream).await {
            let error = io::Error::other(error.to_string());
            // The client may be the one that has gone.
            let _ = to.send(Err(error)).await;
        }
    });
    let body = futures_util::stream::unfold(from, |mut from| async move {
        from.recv()
            .await
            .map(|piece: io::Result<Bytes>| (piece, from))
    });
    let headers = [(header::CONTENT_TYPE, "application/x-tar")];
    Ok((headers, Body::from_stream(body)).into_response())
}

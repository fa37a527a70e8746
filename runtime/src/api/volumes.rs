//! Routes of volumes.

use std::collections::BTreeSet;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use stack_api::volume::{CreateVolume, PruneVolumes, VolumeInfo, Volumes};
use stack_protocol::config::Builtin;

use super::App;
use super::answer::{Failure, on_a_thread};
use super::archive;

/// `GET /v1/volumes`
pub(super) async fn list(
    State(app): State<App>,
    Query(wanted): Query<Volumes>,
) -> Result<Json<Vec<VolumeInfo>>, Failure> {
    let list = move || app.daemon.volume_infos(&wanted);
    Ok(Json(on_a_thread(list).await?))
}

/// `POST /v1/volumes`
pub(super) async fn create(
    State(app): State<App>,
    Json(wanted): Json<CreateVolume>,
) -> Result<Json<VolumeInfo>, Failure> {
    Ok(Json(app.daemon.create_volume(&wanted)?))
}

/// `DELETE /v1/volumes/{name}`
pub(super) async fn remove(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<()>, Failure> {
    Ok(Json(app.daemon.remove_volume_named(&name).await?))
}

/// `POST /v1/volumes/prune`
pub(super) async fn prune(
    State(app): State<App>,
    Json(order): Json<PruneVolumes>,
) -> Result<Json<Vec<VolumeInfo>>, Failure> {
    let removed = app.daemon.prune_volumes(order, &BTreeSet::new()).await?;
    Ok(Json(removed))
}

/// `GET /v1/volumes/{name}/archive`
pub(super) async fn export(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Response, Failure> {
    let reach = app.daemon.reach_volume(&name, false).await?;
    let builtin = Builtin::Pack {
        path: reach.path().to_owned(),
        name: String::new(),
        follow: false,
        one_file_system: true,
        outside: true,
        top: true,
    };
    archive::stream(archive::Access::Volume(reach), builtin).await
}

/// `PUT /v1/volumes/{name}/archive`
pub(super) async fn import(
    State(app): State<App>,
    Path(name): Path<String>,
    body: Body,
) -> Result<(), Failure> {
    let reach = app.daemon.reach_volume(&name, true).await?;
    let builtin = Builtin::Unpack {
        path: reach.path().to_owned(),
        tree: false,
        contents: true,
        owners: true,
        directories: true,
        outside: true,
        lasting: false,
    };
    archive::take(archive::Access::Volume(reach), builtin, body).await
}

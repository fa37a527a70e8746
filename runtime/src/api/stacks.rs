//! Routes of stacks.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use stack_api::container::Container;
use stack_api::event::ApiError;
use stack_api::request::{Action, Down, StackInfo, Up};
use stack_api::spec::StackSpec;

use super::App;
use super::answer::{Failure, events};
use crate::stack;

/// `GET /v1/stacks`
pub(super) async fn list(State(app): State<App>) -> Result<Json<Vec<StackInfo>>, Failure> {
    let mut stacks: BTreeMap<String, StackInfo> = BTreeMap::new();
    for handle in app.daemon.handles(None) {
        let container = handle.container();
        let name = container.project.clone();
        if name == stack::BUILDER {
            continue;
        }
        let info = stacks.entry(name.clone()).or_insert_with(|| StackInfo {
            name,
            ..StackInfo::default()
        });
        *info
            .states
            .entry(container.state.as_str().to_owned())
            .or_default() += 1;
    }
    for (name, info) in &mut stacks {
        let spec: Option<StackSpec> = app.daemon.ledger.stack(name)?;
        info.files = spec
            .iter()
            .flat_map(|s| &s.files)
            .map(|f| f.display().to_string())
            .collect();
    }
    Ok(Json(stacks.into_values().collect()))
}

/// `PUT /v1/stacks/{name}`
pub(super) async fn up(State(app): State<App>, Json(request): Json<Up>) -> Response {
    events(|progress| stack::up(app.daemon, request, progress))
}

/// `POST /v1/stacks/{name}/plan`
pub(super) async fn plan(
    State(app): State<App>,
    Json(request): Json<Up>,
) -> Result<Json<stack_planner::plan::Plan>, Failure> {
    Ok(Json(stack::plan(&app.daemon, &request)?))
}

/// `GET /v1/stacks/{name}`
pub(super) async fn spec(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<StackSpec>, Failure> {
    let spec = app.daemon.ledger.stack(&name)?;
    let missing = || ApiError::new("not_found", format!("no stack is called {name}"));
    Ok(Json(spec.ok_or_else(missing)?))
}

/// `GET /v1/stacks/{name}/containers`
pub(super) async fn containers(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Json<Vec<Container>> {
    Json(
        app.daemon
            .handles(Some(&name))
            .iter()
            .map(|handle| handle.container())
            .collect(),
    )
}

/// `POST /v1/stacks/{name}/down`
pub(super) async fn down(
    State(app): State<App>,
    Path(name): Path<String>,
    Json(request): Json<Down>,
) -> Response {
    events(|progress| stack::down(app.daemon, name, request, progress))
}

/// `POST /v1/stacks/{name}/action`
pub(super) async fn action(
    State(app): State<App>,
    Path(name): Path<String>,
    Json(request): Json<Action>,
) -> Response {
    events(|progress| stack::act(app.daemon, name, request, progress))
}

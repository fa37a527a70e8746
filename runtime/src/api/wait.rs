//! `GET /v1/stacks/{name}/wait`: tells the ends of containers. Who waits
//! before an end never misses it.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::Response;
use futures_util::stream::FuturesUnordered;
use stack_api::container::State as Life;
use stack_api::look::{Chosen, Ended};

use super::App;
use super::answer::lines;
use crate::container::Handle;

pub(super) async fn wait(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(chosen): Query<Chosen>,
) -> Response {
    let mut handles = app.chosen(&name, chosen.services.as_deref());
    // What `run` has left behind is nobody's news.
    handles.retain(|handle| {
        let container = handle.container();
        !container.one_off || !matches!(container.state, Life::Exited | Life::Dead)
    });
    let waiting: FuturesUnordered<_> = handles.into_iter().map(end).collect();
    lines(waiting)
}

/// A container that its policy starts again has not ended.
async fn end(handle: Arc<Handle>) -> Ended {
    let mut changes = handle.changes();
    let mut gone = handle.ended.subscribe();
    let over = |state| matches!(state, Life::Exited | Life::Dead);
    tokio::select! {
        _ = changes.wait_for(|record| over(record.container.state)) => {}
        _ = gone.wait_for(|gone| *gone) => {}
    }
    let container = handle.container();
    Ended {
        id: container.id,
        container: container.name,
        service: container.service,
        exit_code: container.exit_code.unwrap_or(-1),
    }
}

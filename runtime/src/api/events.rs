//! `GET /v1/stacks/{name}/events`: the journal of a stack, from the past or
//! from now on.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::response::Response;
use stack_api::journal::{EventQuery, Happening};
use tokio::sync::mpsc;

use super::App;
use super::answer::{Failure, lines};
use crate::time::now_ns;

pub(super) async fn events(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(query): Query<EventQuery>,
) -> Result<Response, Failure> {
    let mut last = app.daemon.ledger.journal();
    // What happens after the answer has begun must not be missed.
    let mut at = match (query.after, query.since_ns, query.until_ns) {
        (Some(after), ..) => after,
        (None, None, None) => *last.borrow_and_update(),
        (None, ..) => 0,
    };
    let wanted: Option<BTreeSet<String>> = query
        .services
        .as_ref()
        .map(|list| list.split(',').map(str::to_owned).collect());
    let since = query.since_ns.unwrap_or(0);
    let until = query.until_ns.unwrap_or(u64::MAX);
    let chosen = move |happening: &Happening| {
        happening.time_ns >= since
            && happening.time_ns <= until
            && wanted
                .as_ref()
                .is_none_or(|names| names.contains(&happening.service))
    };
    let (to, mut from) = mpsc::channel(64);
    tokio::spawn(async move {
        let end = async {
            match query.until_ns {
                Some(until) => {
                    tokio::time::sleep(Duration::from_nanos(until.saturating_sub(now_ns()))).await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::pin!(end);
        loop {
            last.mark_unchanged();
            loop {
                let page = match app.daemon.ledger.happened(&name, at) {
                    Ok(page) => page,
                    Err(error) => {
                        tracing::error!(%error, "the journal cannot be read");
                        return;
                    }
                };
                let Some(newest) = page.last() else { break };
                at = newest.sequence;
                for happening in page.into_iter().filter(|h| chosen(h)) {
                    if to.send(happening).await.is_err() {
                        return;
                    }
                }
            }
            tokio::select! {
                biased;
                changed = last.changed() => if changed.is_err() { return },
                () = to.closed() => return,
                () = &mut end => return,
            }
        }
    });
    Ok(lines(futures_util::stream::poll_fn(move |context| {
        from.poll_recv(context)
    })))
}

//! `GET /v1/stacks/{name}/logs`

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::response::Response;
use stack_api::logs::LogLine;
use stack_api::request::LogQuery;
use tokio::sync::mpsc;

use super::App;
use super::answer::lines;
use crate::container::Handle;
use crate::logs::{Entry, Reader};

/// New containers are looked for, and followers look again, this often even
/// when nobody told them.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

pub(super) async fn logs(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(query): Query<LogQuery>,
) -> Response {
    let (to, mut from) = mpsc::channel(1024);
    let chosen: Option<Vec<String>> = query
        .services
        .as_ref()
        .map(|list| list.split(',').map(str::to_owned).collect());
    tokio::spawn(async move {
        let pick = |handle: &Arc<Handle>| {
            chosen
                .as_ref()
                .is_none_or(|names| names.contains(&handle.container().service))
        };
        let handles: Vec<_> = app
            .daemon
            .handles(Some(&name))
            .into_iter()
            .filter(pick)
            .collect();
        let mut followers: Vec<Follower> = handles
            .iter()
            .map(|handle| Follower::new(&app, handle, &query))
            .collect();
        let mut first: Vec<LogLine> = followers
            .iter_mut()
            .flat_map(|f| f.backlog(&query))
            .collect();
        first.sort_by_key(|line| line.time_ns);
        for line in first {
            if to.send(line).await.is_err() {
                return;
            }
        }
        if !query.follow {
            return;
        }
        loop {
            let mut fresh: Vec<LogLine> = followers.iter_mut().flat_map(Follower::fresh).collect();
            fresh.sort_by_key(|line| line.time_ns);
            for line in fresh {
                if to.send(line).await.is_err() {
                    return;
                }
            }
            for handle in app.daemon.handles(Some(&name)).iter().filter(|h| pick(h)) {
                if !followers.iter().any(|f| f.handle.id == handle.id) {
                    followers.push(Follower::new(&app, handle, &query));
                }
            }
            if followers
                .iter()
                .all(|f| *f.handle.ended.borrow() || !f.handle.container().state.is_live())
            {
                // What was written before the end was recorded.
                for line in followers.iter_mut().flat_map(Follower::fresh) {
                    let _ = to.send(line).await;
                }
                return;
            }
            let news = followers
                .iter()
                .map(|f| Box::pin(f.handle.logged.notified()));
            tokio::select! {
                _ = futures_util::future::select_all(news) => {
                    // A burst of lines is one answer.
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                () = to.closed() => return,
            }
        }
    });
    lines(futures_util::stream::poll_fn(move |context| {
        from.poll_recv(context)
    }))
}

struct Follower {
    handle: Arc<Handle>,
    reader: Reader,
    until: u64,
}

impl Follower {
    fn new(app: &App, handle: &Arc<Handle>, query: &LogQuery) -> Follower {
        let reader = Reader::open(&app.daemon.paths.log(&handle.id));
        Follower {
            handle: Arc::clone(handle),
            reader,
            until: query.until_ns.unwrap_or(u64::MAX),
        }
    }

    fn line(&self, entry: Entry) -> LogLine {
        let container = self.handle.container();
        LogLine {
            container: container.name,
            service: container.service,
            number: container.number,
            time_ns: entry.time_ns,
            stderr: entry.stream == 2,
            line: entry.line.trim_end_matches('\r').to_owned(),
        }
    }

    fn backlog(&mut self, query: &LogQuery) -> Vec<LogLine> {
        let since = query.since_ns.unwrap_or(0);
        let keep = query.tail.unwrap_or(u64::MAX);
        let mut last: VecDeque<Entry> = VecDeque::new();
        let mut push = |entry: Entry| {
            if entry.time_ns >= since && entry.time_ns <= self.until {
                last.push_back(entry);
                if last.len() as u64 > keep {
                    last.pop_front();
                }
            }
        };
        while let Some(entry) = self.reader.next_entry() {
            push(entry);
        }
        if !query.follow {
            self.reader.rest().for_each(push);
        }
        last.into_iter().map(|entry| self.line(entry)).collect()
    }

    fn fresh(&mut self) -> Vec<LogLine> {
        let mut entries: Vec<Entry> = std::iter::from_fn(|| self.reader.next_entry()).collect();
        entries.retain(|entry| entry.time_ns <= self.until);
        entries.into_iter().map(|entry| self.line(entry)).collect()
    }
}

//! `GET /v1/stacks/{name}/logs`

mod follower;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::response::Response;
use regex::{Regex, RegexBuilder};
use stack_api::container::Container;
use stack_api::event::ApiError;
use stack_api::logs::LogLine;
use stack_api::request::LogQuery;
use tokio::sync::mpsc;

use super::App;
use super::answer::{Failure, lines};
use crate::container::Handle;
use crate::time::now_ns;
use follower::{Follower, Wanted};

/// New containers are looked for, and followers look again, this often even
/// when nobody told them.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// A burst of lines is one answer.
const GATHER: Duration = Duration::from_millis(5);
/// A line may come that much later than it was written, in nanoseconds.
const ON_ITS_WAY: u64 = 200_000_000;
/// Largest compiled pattern, in bytes.
const PATTERN: usize = 1 << 20;

pub(super) async fn logs(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(query): Query<LogQuery>,
) -> Result<Response, Failure> {
    let wanted = Arc::new(Wanted {
        since: query.since_ns.unwrap_or(0),
        until: query.until_ns.unwrap_or(u64::MAX),
        pattern: query.grep.as_deref().map(pattern).transpose()?,
    });
    let (to, mut from) = mpsc::channel(1024);
    let show = Show {
        app,
        name,
        query,
        wanted,
        to,
    };
    tokio::spawn(async move { show.run().await });
    Ok(lines(futures_util::stream::poll_fn(move |context| {
        from.poll_recv(context)
    })))
}

fn pattern(text: &str) -> Result<Regex, ApiError> {
    RegexBuilder::new(text)
        .size_limit(PATTERN)
        .dfa_size_limit(PATTERN)
        .build()
        .map_err(|error| {
            ApiError::new("bad_pattern", format!("`{text}` is not a pattern: {error}"))
                .help("patterns are regular expressions as in Rust and RE2; `(?i)` ignores case")
        })
}

/// Commands of `run` and hooks have to be asked for by the names of their containers.
fn is_asked_for(query: &LogQuery, container: &Container) -> bool {
    let has = |wanted: &String| {
        query
            .services
            .iter()
            .any(|s| s.split(',').any(|s| s == wanted))
    };
    let by_service = query.services.is_none() || has(&container.service);
    let by_number = query.index.is_none_or(|n| n == container.number);
    has(&container.name) || by_service && by_number && !container.one_off
}

/// One answer.
struct Show {
    app: App,
    name: String,
    query: LogQuery,
    wanted: Arc<Wanted>,
    to: mpsc::Sender<LogLine>,
}

impl Show {
    /// `None` at any place: the client has gone.
    async fn run(&self) -> Option<()> {
        let mut followers: Vec<Follower> = self.handles().map(|h| self.follower(&h)).collect();
        for follower in &mut followers {
            // Asked first: what was written until then is read.
            let no_more = !self.query.follow || follower.is_over();
            follower.skip_to_tail(self.query.tail, no_more);
        }
        self.merge(&mut followers).await?;
        if !self.query.follow {
            for follower in &mut followers {
                follower.end();
            }
            return self.merge(&mut followers).await;
        }
        loop {
            for handle in self.handles() {
                if !followers.iter().any(|f| f.handle.id == handle.id) {
                    followers.push(self.follower(&handle));
                }
            }
            // Asked before the last look: what was written until then is there.
            let late = now_ns() >= self.wanted.until.saturating_add(ON_ITS_WAY);
            let over = late || followers.iter().all(Follower::is_over);
            let signals: Vec<_> = followers
                .iter()
                .map(|f| Arc::clone(&f.handle.logged))
                .collect();
            let mut news: Vec<_> = signals.iter().map(|s| Box::pin(s.notified())).collect();
            for signal in &mut news {
                signal.as_mut().enable();
            }
            self.merge(&mut followers).await?;
            if over {
                for follower in &mut followers {
                    follower.end();
                }
                return self.merge(&mut followers).await;
            }
            tokio::select! {
                _ = futures_util::future::select_all(news) => tokio::time::sleep(GATHER).await,
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                () = self.to.closed() => return None,
            }
        }
    }

    fn follower(&self, handle: &Arc<Handle>) -> Follower {
        let path = self.app.daemon.paths.log(&handle.id);
        Follower::new(&path, handle, Arc::clone(&self.wanted))
    }

    fn handles(&self) -> impl Iterator<Item = Arc<Handle>> {
        let all = self.app.daemon.handles(Some(&self.name));
        all.into_iter()
            .filter(|handle| is_asked_for(&self.query, &handle.container()))
    }

    /// Sends all lines that there are now, by time.
    async fn merge(&self, followers: &mut [Follower]) -> Option<()> {
        loop {
            let next = followers
                .iter_mut()
                .filter_map(|f| Some((f.peek()?, f)))
                .min_by_key(|(time, _)| *time);
            let Some((_, follower)) = next else {
                return Some(());
            };
            if let Some(line) = follower.next_line() {
                self.to.send(line).await.ok()?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hooks_and_commands_are_asked_for_by_name() {
        let container = |name: &str, number, one_off| Container {
            name: name.to_owned(),
            service: "web".to_owned(),
            number,
            one_off,
            ..Container::default()
        };
        let second = container("shop-web-2", 2, false);
        let hook = container("shop-web-pre_start-0", 1, true);
        let query = |services: Option<&str>, index| LogQuery {
            services: services.map(str::to_owned),
            index,
            ..LogQuery::default()
        };
        let asked = |query| (is_asked_for(&query, &second), is_asked_for(&query, &hook));
        assert_eq!(asked(query(None, None)), (true, false));
        assert_eq!(asked(query(Some("db,web"), None)), (true, false));
        assert_eq!(asked(query(Some("web"), Some(1))), (false, false));
        assert_eq!(asked(query(Some("db,shop-web-2"), None)), (true, false));
        assert_eq!(
            asked(query(Some("shop-web-pre_start-0"), None)),
            (false, true)
        );
    }
}

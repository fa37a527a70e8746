//! `GET /v1/stacks/{name}/logs`

mod follower;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Path, Query, State};
use axum::response::Response;
use futures_util::StreamExt as _;
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
use follower::{Follower, IsWanted, Peek, Wanted};

/// New containers are looked for, and followers look again, this often even
/// when nobody told them.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// A burst of lines is one answer.
const GATHER: Duration = Duration::from_millis(5);
/// A line may come that much later than it was written, in nanoseconds.
const ON_ITS_WAY: u64 = 200_000_000;
/// Largest compiled pattern, in bytes.
const PATTERN: usize = 1 << 20;
/// Bytes of lines that are sent at once, or one line.
const AT_ONCE: usize = 64 << 10;
/// Lines that were found are sent after this time, though the next is hard to find.
const SOON: Duration = Duration::from_millis(50);
/// So many times that wait for the client, who may have stopped reading.
const WAITING: usize = 4;

/// Lines that are sent at once.
type Batch = Vec<LogLine>;

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
    let (to, mut from) = mpsc::channel(WAITING);
    let show = Show {
        app,
        name,
        query,
        wanted,
        to,
    };
    tokio::spawn(async move { show.run().await });
    let batches = futures_util::stream::poll_fn(move |context| from.poll_recv(context));
    Ok(lines(batches.flat_map(futures_util::stream::iter)))
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
    to: mpsc::Sender<Batch>,
}

impl Show {
    /// `None` at any place: the client has gone.
    async fn run(&self) -> Option<()> {
        let mut followers: Vec<Follower> = self.handles().map(|h| self.follower(&h)).collect();
        let (tail, follow) = (self.query.tail, self.query.follow);
        self.aside(&mut followers, move |followers, wanted| {
            for follower in followers {
                // Asked first: what was written until then is read.
                let no_more = !follow || follower.is_over();
                follower.skip_to_tail(tail, no_more, wanted)?;
            }
            Some(())
        })
        .await?;
        self.merge(&mut followers).await?;
        if !follow {
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
    async fn merge(&self, followers: &mut Vec<Follower>) -> Option<()> {
        loop {
            let batch = self.aside(followers, next_batch).await?;
            if batch.is_empty() {
                return Some(());
            }
            self.to.send(batch).await.ok()?;
        }
    }

    /// Reads on a thread of its own: files may be long, and few of their lines
    /// wanted. It ends when the client goes.
    async fn aside<T: Send + 'static>(
        &self,
        followers: &mut Vec<Follower>,
        read: impl FnOnce(&mut [Follower], IsWanted) -> Option<T> + Send + 'static,
    ) -> Option<T> {
        let mut all = std::mem::take(followers);
        let to = self.to.clone();
        let reading = move || {
            let result = read(&mut all, &|| !to.is_closed());
            (all, result)
        };
        let (all, result) = tokio::task::spawn_blocking(reading).await.ok()?;
        *followers = all;
        result
    }
}

/// The next lines of all, by time; none: there are no more for now.
fn next_batch(followers: &mut [Follower], wanted: IsWanted) -> Option<Batch> {
    let mut batch = Vec::new();
    let mut size = 0;
    let soon = Instant::now() + SOON;
    while size < AT_ONCE {
        // What was found is not kept from the client by what is not.
        let until = (!batch.is_empty()).then_some(soon);
        let mut first: Option<(u64, &mut Follower)> = None;
        for follower in &mut *followers {
            let time = match follower.peek(wanted, until)? {
                Peek::At(time) => time,
                Peek::Nothing => continue,
                Peek::Later => return Some(batch),
            };
            if first.as_ref().is_none_or(|(before, _)| time < *before) {
                first = Some((time, follower));
            }
        }
        let Some(line) = first.and_then(|(_, follower)| follower.next_line()) else {
            break;
        };
        // A short line takes more than its text.
        size += line.line.len() + size_of::<LogLine>();
        batch.push(line);
    }
    Some(batch)
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

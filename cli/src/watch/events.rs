//! What the system tells about changed files, collected into bursts.

use std::collections::{HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::error::Error;

/// A burst of few changes is over when nothing came for so long…
const QUIET: Duration = Duration::from_millis(8);
/// …one of many when nothing came for so long…
const QUIET_LARGE: Duration = Duration::from_millis(80);
/// …which is one of more paths than this…
const LARGE: usize = 16;
/// …but not before what is written to was closed, or is open for so long…
const OPEN: Duration = Duration::from_millis(500);
/// …and every burst after this time.
const LONGEST: Duration = Duration::from_secs(2);

/// Parts of a burst that goes on are given when so many paths…
const PART: usize = 200;
/// …have not changed for so long…
const AT_REST: Duration = Duration::from_millis(40);
/// …but not more often than this.
const PARTS: Duration = Duration::from_millis(100);

/// Directories that are watched, and paths that may have changed.
pub(super) struct Events {
    watcher: RecommendedWatcher,
    from: mpsc::UnboundedReceiver<notify::Result<notify::Event>>,
    watched: HashSet<PathBuf>,
    failed: Option<notify::Error>,
    dirty: HashMap<PathBuf, Instant>,
    /// Files that are half of one perhaps, and since when: they were written to, and
    /// not closed. Those that are open for long (logs) stay here, and are not waited
    /// for each time.
    open: HashMap<PathBuf, Instant>,
    /// Events were lost: everything may have changed.
    lost: bool,
    first: Option<Instant>,
    last: Option<Instant>,
    /// It is a burst of many.
    large: bool,
    /// When a part was last looked for.
    parted: Option<Instant>,
}

/// A burst, or a part of one.
#[derive(Debug, Default)]
pub(super) struct Burst {
    /// More of it is to come: what is here may be prepared, and may change again.
    pub(super) goes_on: bool,
    /// What may have changed, and when it last did.
    pub(super) paths: HashMap<PathBuf, Instant>,
    /// Everything may have changed.
    pub(super) everything: bool,
}

impl Events {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// The system has no watcher to give.
    pub(super) fn new() -> Result<Events, Error> {
        let (to, from) = mpsc::unbounded_channel();
        let watcher = notify::recommended_watcher(move |event| drop(to.send(event)))
            .map_err(|error| explain(&error))?;
        Ok(Events {
            watcher,
            from,
            watched: HashSet::new(),
            failed: None,
            dirty: HashMap::new(),
            open: HashMap::new(),
            lost: false,
            first: None,
            last: None,
            large: false,
            parted: None,
        })
    }

    /// Watches a directory (not what is in its directories), or the nearest
    /// one that exists above it.
    pub(super) fn watch(&mut self, path: &Path) {
        let mut path = path;
        while !path.is_dir() {
            match path.parent() {
                Some(parent) => path = parent,
                None => return,
            }
        }
        if self.watched.contains(path) {
            return;
        }
        match self.watcher.watch(path, RecursiveMode::NonRecursive) {
            Ok(()) => drop(self.watched.insert(path.to_path_buf())),
            // It is gone again: its parent tells.
            Err(error) if is_gone(&error) => {}
            // Who reads it says so.
            Err(error) if is_denied(&error) => {}
            Err(error) => self.failed = Some(error),
        }
    }

    /// How many directories are watched.
    pub(super) fn count(&self) -> usize {
        self.watched.len()
    }

    /// Why a directory could not be watched, once.
    pub(super) fn failure(&mut self) -> Option<Error> {
        self.failed.take().map(|error| explain(&error))
    }

    /// Waits for the end of the next burst, or for a part of a large one.
    /// Cancel-safe.
    pub(super) async fn burst(&mut self) -> Burst {
        loop {
            let end = self.end();
            let event = tokio::select! {
                event = self.from.recv() => event,
                () = sleep_until(end) => break,
            };
            match event {
                Some(Ok(event)) => self.take(event),
                Some(Err(_)) => self.lose(),
                // The watcher lives as long as this does.
                None => std::future::pending().await,
            }
            if let Some(paths) = self.part() {
                return Burst {
                    goes_on: true,
                    paths,
                    everything: false,
                };
            }
        }
        self.first = None;
        self.last = None;
        self.large = false;
        self.parted = None;
        Burst {
            goes_on: false,
            paths: std::mem::take(&mut self.dirty),
            everything: std::mem::take(&mut self.lost),
        }
    }

    /// Says again that these may have changed: it was too early to tell.
    pub(super) fn again(&mut self, paths: HashMap<PathBuf, Instant>) {
        let now = Instant::now();
        self.first = Some(now);
        self.last = Some(now);
        self.dirty.extend(paths);
        self.large |= self.dirty.len() > LARGE;
    }

    /// What has come to rest while the burst goes on, now and then.
    fn part(&mut self) -> Option<HashMap<PathBuf, Instant>> {
        if self.lost || self.dirty.len() < PART {
            return None;
        }
        let now = Instant::now();
        let due = self.parted.or(self.first)? + PARTS;
        if now < due {
            return None;
        }
        self.parted = Some(now);
        let open = &self.open;
        let is_half = |path: &Path| open.get(path).is_some_and(|at| now < *at + OPEN);
        // What is gone may come back: the end of the burst tells.
        let rests = |path: &Path, at: &Instant| {
            now.duration_since(*at) >= AT_REST && !is_half(path) && path.symlink_metadata().is_ok()
        };
        let rests: HashMap<_, _> = self.dirty.extract_if(|path, at| rests(path, at)).collect();
        (!rests.is_empty()).then_some(rests)
    }

    fn end(&self) -> Option<Instant> {
        let quiet = if self.large { QUIET_LARGE } else { QUIET };
        let mut end = self.last? + quiet;
        if let Some(at) = self.open.values().max() {
            end = end.max(*at + OPEN);
        }
        Some(end.min(self.first? + LONGEST))
    }

    fn take(&mut self, event: notify::Event) {
        if event.need_rescan() {
            return self.lose();
        }
        // Reading is not changing; modes and times are told as metadata, and
        // looked at.
        if let EventKind::Access(access) = event.kind {
            if access == AccessKind::Close(AccessMode::Write) {
                self.open.retain(|path, _| !event.paths.contains(path));
            }
            return;
        }
        let removed = matches!(
            event.kind,
            EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))
        );
        for path in event.paths {
            if removed && self.watched.remove(&path) {
                // The same name may come back as another directory.
                let _ = self.watcher.unwatch(&path);
                let inside = self.watched.extract_if(|inside| inside.starts_with(&path));
                for inside in inside {
                    let _ = self.watcher.unwatch(&inside);
                }
            }
            if removed {
                self.open.remove(&path);
            } else if is_opened(&path, event.kind) {
                let now = Instant::now();
                self.open.entry(path.clone()).or_insert(now);
            }
            self.mark(path);
        }
    }

    fn mark(&mut self, path: PathBuf) {
        let now = Instant::now();
        self.first.get_or_insert(now);
        self.last = Some(now);
        self.dirty.insert(path, now);
        self.large |= self.dirty.len() > LARGE;
    }

    fn lose(&mut self) {
        let now = Instant::now();
        self.first.get_or_insert(now);
        self.last = Some(now);
        self.lost = true;
        // Some of them may have been closed.
        self.open.clear();
    }
}

/// Is it a file that somebody writes to, and closes when it is done?
fn is_opened(path: &Path, kind: EventKind) -> bool {
    match kind {
        // Nobody tells of it elsewhere.
        _ if !cfg!(target_os = "linux") => false,
        EventKind::Modify(ModifyKind::Data(_)) => true,
        // Not links, and further names of a file.
        EventKind::Create(_) => path
            .symlink_metadata()
            .is_ok_and(|meta| meta.is_file() && meta.nlink() == 1),
        _ => false,
    }
}

async fn sleep_until(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}

fn is_gone(error: &notify::Error) -> bool {
    match &error.kind {
        notify::ErrorKind::PathNotFound => true,
        notify::ErrorKind::Io(error) => error.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

/// It cannot be read, either.
fn is_denied(error: &notify::Error) -> bool {
    match &error.kind {
        notify::ErrorKind::Io(error) => error.kind() == std::io::ErrorKind::PermissionDenied,
        _ => false,
    }
}

/// inotify(7): the limits are per user, and full ones look like other errors.
fn explain(error: &notify::Error) -> Error {
    let code = match &error.kind {
        notify::ErrorKind::Io(error) => error.raw_os_error(),
        _ => None,
    };
    if matches!(error.kind, notify::ErrorKind::MaxFilesWatch) || code == Some(28) {
        let have = limit("max_user_watches");
        return Error::usage(
            format!("no more directories can be watched: this user's limit is {have}"),
            "raise it: sudo sysctl fs.inotify.max_user_watches=524288 (and put that into \
             /etc/sysctl.d/), or leave large directories out with `ignore`",
        );
    }
    if code == Some(24) {
        let have = limit("max_user_instances");
        return Error::usage(
            format!("no more watchers can be made: this user's limit is {have}"),
            "end other programs that watch files, or raise it: sudo sysctl \
             fs.inotify.max_user_instances=512",
        );
    }
    let paths: Vec<_> = error
        .paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    Error::usage(
        format!("cannot watch {}: {error}", paths.join(", ")),
        "see that the directory exists and can be read",
    )
}

fn limit(name: &str) -> String {
    std::fs::read_to_string(format!("/proc/sys/fs/inotify/{name}"))
        .map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As if all of it had happened earlier.
    fn age(events: &mut Events) {
        let at = events.dirty.values_mut();
        let times = at.chain(&mut events.first).chain(&mut events.parted);
        times.for_each(|at| *at -= PARTS);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_is_written_to_is_waited_for_until_it_is_closed() {
        use notify::event::{CreateKind, DataChange};
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("a"), dir.path().join("link"));
        std::fs::write(&path, "half").unwrap();
        std::os::unix::fs::symlink("a", &link).unwrap();
        let mut events = Events::new().unwrap();
        let tell = |events: &mut Events, kind: EventKind, path: &Path| {
            events.take(notify::Event::new(kind).add_path(path.to_path_buf()));
            events.end().unwrap() - events.first.unwrap()
        };
        let made = EventKind::Create(CreateKind::File);
        let written = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        let closed = EventKind::Access(AccessKind::Close(AccessMode::Write));
        assert!(tell(&mut events, made, &link) < OPEN);
        assert!(tell(&mut events, made, &path) >= OPEN);
        assert!(tell(&mut events, closed, &link) >= OPEN);
        // Quiet begins with the last change.
        tell(&mut events, closed, &path);
        assert_eq!(events.end(), events.last.map(|last| last + QUIET));
        assert!(tell(&mut events, written, &path) >= OPEN);
        // A log is not waited for whenever something is added to it.
        *events.open.get_mut(&path).unwrap() -= OPEN;
        tell(&mut events, written, &path);
        assert_eq!(events.end(), events.last.map(|last| last + QUIET));
        let burst = events.burst().await;
        assert!(burst.paths.contains_key(&path));
    }

    #[tokio::test]
    async fn a_large_burst_comes_in_parts_and_then_ends() {
        let dir = tempfile::tempdir().unwrap();
        let mut events = Events::new().unwrap();
        let change = |events: &mut Events, from: usize, to: usize| {
            for n in from..to {
                let path = dir.path().join(n.to_string());
                std::fs::write(&path, "").unwrap();
                events.mark(path);
            }
        };
        change(&mut events, 0, PART);
        std::fs::remove_file(dir.path().join("0")).unwrap();
        // However long that took.
        events.first = Some(Instant::now());
        assert_eq!(events.part(), None);
        age(&mut events);
        // Still being written; and one is gone for the moment.
        change(&mut events, 1, 3);
        let part = events.part().unwrap();
        assert_eq!(part.len(), PART - 3);
        assert!(!part.contains_key(&dir.path().join("0")));
        age(&mut events);
        assert_eq!(events.part(), None);
        let rest = events.burst().await;
        assert!(!rest.goes_on && rest.paths.len() == 3);
        assert_eq!(events.end(), None);

        // A few are never parted.
        change(&mut events, 0, LARGE);
        age(&mut events);
        assert_eq!(events.part(), None);
    }
}

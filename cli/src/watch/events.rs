//! What the system tells about changed files, collected into bursts.

use std::collections::HashMap;
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
/// What is written to and not closed is half of a file for so long at most.
const OPEN: Duration = Duration::from_millis(500);
/// …and every burst after this time.
const LONGEST: Duration = Duration::from_secs(2);

/// Parts of a burst that goes on are given when so many paths…
const PART: usize = 200;
/// …have not changed for so long…
const AT_REST: Duration = Duration::from_millis(40);
/// …but not more often than this.
const PARTS: Duration = Duration::from_millis(100);

/// So many links are followed from one to the next.
const MOST_LINKS: usize = 8;

/// Directories that are watched, and paths that may have changed.
pub(super) struct Events {
    watcher: RecommendedWatcher,
    from: mpsc::UnboundedReceiver<notify::Result<notify::Event>>,
    /// By their paths without links: the system knows each directory once,
    /// whatever the names by which it was asked for.
    watched: HashMap<PathBuf, Vec<PathBuf>>,
    /// The other way round.
    names: HashMap<PathBuf, PathBuf>,
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
#[derive(Debug)]
pub(super) struct Burst {
    /// When the first of it came.
    began: Instant,
    /// More of it is to come: what is here may be prepared, and may change again.
    pub(super) goes_on: bool,
    /// What may have changed, and when it last did.
    pub(super) paths: HashMap<PathBuf, Instant>,
    /// Everything may have changed.
    pub(super) everything: bool,
    /// Those of the paths that are half of a file perhaps.
    pub(super) open: Vec<PathBuf>,
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
            watched: HashMap::new(),
            names: HashMap::new(),
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
        if self.names.contains_key(path) {
            return;
        }
        // It is gone again: its parent tells.
        let Ok(real) = path.canonicalize() else {
            return;
        };
        if !self.watched.contains_key(&real) {
            match self.watcher.watch(&real, RecursiveMode::NonRecursive) {
                Ok(()) => {}
                Err(error) if is_gone(&error) => return,
                // Who reads it says so.
                Err(error) if is_denied(&error) => return,
                Err(error) => return self.failed = Some(error),
            }
        }
        let names = self.watched.entry(real.clone()).or_default();
        names.push(path.to_path_buf());
        self.names.insert(path.to_path_buf(), real);
    }

    /// Watches the directories in which a link on the way to `path` may be made
    /// another one, and what they lead to.
    pub(super) fn watch_links(&mut self, path: &Path) {
        let mut links = Vec::new();
        find_links(path, MOST_LINKS, &mut links);
        for parent in links.iter().filter_map(|link| link.parent()) {
            self.watch(parent);
        }
        if let (false, Ok(real)) = (links.is_empty(), path.canonicalize()) {
            self.watch(&real);
        }
    }

    /// A name leads elsewhere now: what is below it is to be watched anew.
    pub(super) fn forget(&mut self, name: &Path) {
        let below = self.names.extract_if(|given, _| given.starts_with(name));
        for (given, real) in below {
            let Some(names) = self.watched.get_mut(&real) else {
                continue;
            };
            names.retain(|name| *name != given);
            if names.is_empty() {
                self.watched.remove(&real);
                let _ = self.watcher.unwatch(&real);
            }
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
                    began: self.first.unwrap_or_else(Instant::now),
                    goes_on: true,
                    paths,
                    everything: false,
                    open: Vec::new(),
                };
            }
        }
        self.last = None;
        self.large = false;
        self.parted = None;
        let now = Instant::now();
        let half = self.open.iter().filter(|(_, at)| now < **at + OPEN);
        let open = half.map(|(path, _)| path.clone()).collect();
        Burst {
            began: self.first.take().unwrap_or_else(Instant::now),
            goes_on: false,
            paths: std::mem::take(&mut self.dirty),
            everything: std::mem::take(&mut self.lost),
            open,
        }
    }

    /// It was too early to tell what became of `unsure`: the whole burst comes
    /// again, or only these when it has lasted long enough. Gives what of it can be
    /// done now.
    pub(super) fn again(&mut self, mut burst: Burst, unsure: &[PathBuf]) -> Option<Burst> {
        let now = Instant::now();
        self.last = Some(now);
        let is_over = now.duration_since(burst.began) >= LONGEST;
        let left = if is_over {
            self.first = Some(now);
            let unsure = unsure.iter();
            self.dirty
                .extend(unsure.filter_map(|path| burst.paths.remove_entry(path)));
            Some(burst)
        } else {
            self.first = Some(burst.began);
            self.lost |= burst.everything;
            self.dirty.extend(burst.paths);
            None
        };
        self.large |= self.dirty.len() > LARGE;
        left
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
        Some((self.last? + quiet).min(self.first? + LONGEST))
    }

    fn take(&mut self, event: notify::Event) {
        if event.need_rescan() {
            return self.lose();
        }
        // Reading is not changing; modes and times are told as metadata, and
        // looked at.
        if let EventKind::Access(access) = event.kind {
            if access == AccessKind::Close(AccessMode::Write) {
                for path in &event.paths {
                    for name in self.names_of(path) {
                        self.open.remove(&name);
                    }
                }
            }
            return;
        }
        let removed = matches!(
            event.kind,
            EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))
        );
        for path in event.paths {
            let names = self.names_of(&path);
            if removed && self.watched.contains_key(&path) {
                self.leave(&path);
            }
            let opened = !removed && is_opened(event.kind);
            for name in names {
                if removed {
                    self.open.remove(&name);
                } else if opened {
                    self.open.entry(name.clone()).or_insert_with(Instant::now);
                }
                self.mark(name);
            }
        }
    }

    /// What a path is called by those who want to hear of it.
    fn names_of(&self, path: &Path) -> Vec<PathBuf> {
        let itself = self.watched.get(path).into_iter().flatten();
        let mut names: Vec<PathBuf> = itself.cloned().collect();
        if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
            let parents = self.watched.get(parent).into_iter().flatten();
            names.extend(parents.map(|parent| parent.join(name)));
        }
        if names.is_empty() {
            names.push(path.to_path_buf());
        }
        names
    }

    /// Watches a directory no longer, nor what is in it: the same name may come
    /// back as another one. When it comes back as the same, what is in it has to be
    /// looked at to be watched again.
    fn leave(&mut self, path: &Path) {
        let inside = self.watched.extract_if(|dir, _| dir.starts_with(path));
        for (dir, names) in inside.collect::<Vec<_>>() {
            let _ = self.watcher.unwatch(&dir);
            for name in names {
                self.names.remove(&name);
                self.mark(name);
            }
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
        // A directory may have been replaced: everything is watched again as it is
        // looked at.
        self.watched.clear();
        self.names.clear();
        // And files may have been closed.
        self.open.clear();
    }
}

/// Has somebody written to it who closes it when it is done? Elsewhere than on Linux
/// nobody tells of that.
fn is_opened(kind: EventKind) -> bool {
    cfg!(target_os = "linux") && matches!(kind, EventKind::Modify(ModifyKind::Data(_)))
}

/// The links on the way to `path`, and on the ways to what they lead to.
fn find_links(path: &Path, most: usize, found: &mut Vec<PathBuf>) {
    let Some(fewer) = most.checked_sub(1) else {
        return;
    };
    for place in path.ancestors() {
        if let (Ok(to), Some(parent)) = (place.read_link(), place.parent())
            && !found.iter().any(|link| link == place)
        {
            found.push(place.to_path_buf());
            find_links(&parent.join(to), fewer, found);
        }
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

    /// Waits until all of these are told, in one burst or several.
    async fn told<const N: usize>(events: &mut Events, mut paths: [PathBuf; N]) {
        let all = async {
            while !paths.iter().all(|path| path.as_os_str().is_empty()) {
                let burst = events.burst().await;
                let told = paths
                    .iter_mut()
                    .filter(|path| burst.paths.contains_key(*path));
                told.for_each(PathBuf::clear);
            }
        };
        let within = tokio::time::timeout(Duration::from_secs(30), all).await;
        assert!(within.is_ok(), "{paths:?} are not told");
    }

    /// As if all of it had happened earlier.
    fn age(events: &mut Events) {
        let at = events.dirty.values_mut();
        let times = at.chain(&mut events.first).chain(&mut events.parted);
        times.for_each(|at| *at -= PARTS);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_is_written_to_is_half_of_a_file_until_it_is_closed() {
        use notify::event::{CreateKind, DataChange};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let mut events = Events::new().unwrap();
        let tell = |events: &mut Events, kind: EventKind| {
            events.take(notify::Event::new(kind).add_path(path.clone()));
        };
        let written = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        let closed = EventKind::Access(AccessKind::Close(AccessMode::Write));
        // A lock, perhaps: nothing was written.
        tell(&mut events, EventKind::Create(CreateKind::File));
        assert!(events.burst().await.open.is_empty());
        tell(&mut events, written);
        let half = events.burst().await;
        assert_eq!(half.open, std::slice::from_ref(&path));
        // It comes again, whole.
        assert!(events.again(half, std::slice::from_ref(&path)).is_none());
        tell(&mut events, closed);
        let whole = events.burst().await;
        assert!(whole.open.is_empty() && whole.paths.contains_key(&path));
        // A log is not waited for whenever something is added to it.
        tell(&mut events, written);
        *events.open.get_mut(&path).unwrap() -= OPEN;
        tell(&mut events, written);
        assert!(events.burst().await.open.is_empty());
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

    #[tokio::test]
    async fn a_directory_with_two_names_is_told_under_both() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        std::fs::create_dir(dir.join("shared")).unwrap();
        let names = ["web", "api"].map(|name| dir.join(name));
        let mut events = Events::new().unwrap();
        for name in &names {
            std::os::unix::fs::symlink("shared", name).unwrap();
            events.watch(name);
        }
        assert_eq!(events.count(), 1);
        std::fs::write(dir.join("shared/a"), "1").unwrap();
        told(&mut events, names.each_ref().map(|name| name.join("a"))).await;
        // One of them leads elsewhere.
        events.watch_links(&names[0]);
        std::fs::create_dir(dir.join("other")).unwrap();
        std::fs::remove_file(&names[0]).unwrap();
        std::os::unix::fs::symlink("other", &names[0]).unwrap();
        told(&mut events, [names[0].clone()]).await;
        events.forget(&names[0]);
        events.watch(&names[0]);
        std::fs::write(dir.join("other/b"), "1").unwrap();
        std::fs::write(dir.join("shared/b"), "1").unwrap();
        told(&mut events, names.each_ref().map(|name| name.join("b"))).await;
    }

    #[tokio::test]
    async fn a_directory_that_goes_and_comes_back_is_looked_at_whole() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(dir.join("a/x/y")).unwrap();
        let mut events = Events::new().unwrap();
        for name in ["", "a", "a/x", "a/x/y"] {
            events.watch(&dir.join(name));
        }
        std::fs::rename(dir.join("a"), dir.join("t")).unwrap();
        std::fs::rename(dir.join("t"), dir.join("a")).unwrap();
        let burst = events.burst().await;
        for name in ["a", "a/x", "a/x/y"] {
            assert!(burst.paths.contains_key(&dir.join(name)), "{burst:?}");
        }
        assert_eq!(events.count(), 1);
    }

    #[tokio::test]
    async fn lost_events_stay_lost_until_all_was_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let mut events = Events::new().unwrap();
        events.watch(dir.path());
        let gone = dir.path().join("gone");
        events.mark(gone.clone());
        events.lose();
        assert_eq!(events.count(), 0, "to be watched anew");
        let burst = events.burst().await;
        assert!(burst.everything);
        let unsure = [gone.clone()];
        assert!(events.again(burst, &unsure).is_none());
        let mut burst = events.burst().await;
        assert!(burst.everything && burst.paths.contains_key(&gone));

        // It does not put off the others for ever.
        burst.began -= LONGEST;
        burst.paths.insert(dir.path().join("there"), Instant::now());
        let now = events.again(burst, &unsure).unwrap();
        assert!(now.everything && !now.paths.contains_key(&gone));
        let later = events.burst().await;
        assert!(later.paths.len() == 1 && later.paths.contains_key(&gone));
    }
}

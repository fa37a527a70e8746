//! Watching files of the host and acting on their changes
//! (Compose Develop Specification).
//!
//! ```text
//! events ──bursts──► trees, one per rule ──changes──► workers, one per service
//! (notify)           (what has really changed)        (copy, restart, run)
//! ```

mod alone;
mod command;
mod events;
mod kept;
mod rebuild;
mod report;
mod service;
mod session;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use stack_api::build::BuildWhen;
use stack_api::event::Event;
use stack_api::request::Up;
use stack_api::spec::{MountSource, StackSpec};
use stack_planner::{Project, Rule, WatchAction, plan};
use stack_sync::{Change, Filter, Patterns, Tree};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::client::{Client, Lines};
use crate::error::Error;
use crate::ui::{self, Ui, human};
pub(crate) use alone::Alone;
use events::{Burst, Events};
use kept::{Kept, Rest};
use rebuild::Rebuilding;
use service::{Batch, Left, Worker};

/// A file that is gone for so long has been removed: editors and version
/// control replace files by removing them for a moment.
const GONE: Duration = Duration::from_millis(100);
/// So many paths that cannot be watched are named.
const MOST_TOLD: usize = 5;

/// The rules of a project's services, ready to be watched.
pub(crate) struct Watching {
    ui: Ui,
    client: Client,
    stack: String,
    rules: Vec<Rule>,
    filters: Vec<Filter>,
    files: Vec<PathBuf>,
    quiet: bool,
    /// Images that a rebuild has replaced go.
    prune: bool,
    /// What rebuilds a service, once it is named in it.
    up: Up,
    /// What was known when a stack file changed.
    kept: Kept,
    _alone: Alone,
}

/// Batches for the worker of each service.
type Workers = BTreeMap<String, mpsc::UnboundedSender<Batch>>;
/// What the workers leave.
type Tasks = JoinSet<(String, Left)>;

impl Watching {
    /// Takes the rules of all services that a request starts; what cannot be
    /// done is told. `quiet`: only what went wrong is told; `prune`: images that
    /// a rebuild has replaced go.
    ///
    /// # Errors
    /// There are none, or one has a bad pattern.
    pub(crate) fn new(
        ui: Ui,
        client: Client,
        project: &Project,
        started: &Up,
        (quiet, prune): (bool, bool),
        alone: Alone,
    ) -> Result<Watching, Error> {
        let spec = &started.spec;
        let services =
            plan::select(&spec.services, &started.services, !started.no_deps).map_err(|error| {
                Error::usage(error.to_string(), "`stack config --services` lists them")
            })?;
        let mut rules = project.watch_rules();
        rules.retain(|rule| services.contains(&rule.service));
        if rules.is_empty() {
            return Err(Error::usage(
                "no service has a `develop.watch` section",
                "say which files to watch and what to do: \
                 https://github.com/compose-spec/compose-spec/blob/main/develop.md",
            ));
        }
        rules.retain(|rule| {
            let builds = project.build_context(&rule.service).is_some();
            is_possible(ui, rule, spec, builds)
        });
        let filters = rules
            .iter()
            .map(|rule| filter(project, rule))
            .collect::<Result<_, _>>()?;
        Ok(Watching {
            ui,
            client,
            stack: project.name().to_owned(),
            rules,
            filters,
            files: project.all_files().map(Path::to_path_buf).collect(),
            quiet,
            prune,
            up: Up {
                spec: spec.clone(),
                no_deps: true,
                scale: started.scale.clone(),
                builds: crate::builds::of(project),
                build: Some(BuildWhen::Always),
                ..Up::default()
            },
            kept: Kept::default(),
            _alone: alone,
        })
    }

    /// Goes on where another one has ended: what has changed meanwhile is a
    /// change, and what was copied is there in new containers, too.
    pub(crate) fn go_on_from(&mut self, before: Watching) {
        self.kept = before.kept;
    }

    /// Watches for ever; changes of stack files are told.
    ///
    /// Gives why the system cannot watch.
    pub(crate) async fn on_and_on(&mut self) -> Error {
        loop {
            if let Err(error) = self.until_files_change().await {
                return error;
            }
            self.ui
                .note("the stack file changed: `stack up -d` applies it");
        }
    }

    /// Watches until a stack file changes. What has changed with it is done.
    ///
    /// # Errors
    /// The system cannot watch.
    pub(crate) async fn until_files_change(&mut self) -> Result<(), Error> {
        let mut events = Events::new()?;
        let mut kept = std::mem::take(&mut self.kept);
        let no_file = || Tree::new(PathBuf::from("/"), Filter::default());
        let mut project_files = kept.files.take().unwrap_or_else(no_file);
        let mut changed = false;
        for file in &self.files {
            events.watch(file.parent().unwrap_or(file));
            let known = project_files.knows(file);
            changed |= has_changed(&mut project_files, file) && known;
        }
        let mut rests: Vec<Option<Rest>> = self.rules.iter().map(|rule| kept.take(rule)).collect();
        let (workers, mut tasks) = self.workers(&mut rests);
        let mut trees = self.begin(&mut events, rests, &workers)?;
        // A burst that is not over belongs to what has changed.
        let mut again = false;
        // Rules whose workers have got parts of it.
        let mut parts = vec![false; self.rules.len()];
        while again || !changed {
            let burst = tokio::select! {
                burst = events.burst() => burst,
                // Workers do not end before there is nobody to send to them.
                Some(_) = tasks.join_next() => continue,
            };
            let began = Instant::now();
            for path in burst.paths.keys().filter(|path| self.files.contains(path)) {
                changed |= has_changed(&mut project_files, path);
            }
            again = burst.goes_on || is_too_early(&burst, &trees).await;
            if again && !burst.goes_on {
                events.again(burst.paths);
                continue;
            }
            for (n, tree) in trees.iter_mut().enumerate() {
                let root = &self.rules[n].path;
                events.watch(root);
                let mut changes = Vec::new();
                if burst.everything {
                    changes = self.look(tree, root, true, &mut events);
                } else {
                    for path in burst.paths.keys() {
                        changes.extend(self.look(tree, path, false, &mut events));
                    }
                }
                let part = burst.goes_on;
                if !changes.is_empty() || (!part && parts[n]) {
                    parts[n] = part;
                    let batch = Batch {
                        part,
                        ..self.batch(n, changes, began)
                    };
                    self.hand_over(&workers, n, batch);
                }
            }
            if let Some(error) = events.failure() {
                return Err(error);
            }
        }
        drop(workers);
        self.kept = self.when_done(tasks, trees).await;
        self.kept.files = Some(project_files);
        Ok(())
    }

    /// Waits until the workers have done what they can.
    async fn when_done(&self, mut tasks: Tasks, trees: Vec<Tree>) -> Kept {
        let mut left: BTreeMap<String, Left> = BTreeMap::new();
        while let Some(done) = tasks.join_next().await {
            left.extend(done);
        }
        let mut kept = Kept::default();
        for (n, tree) in trees.into_iter().enumerate() {
            let (rule, of_service) = (&self.rules[n], self.number(n));
            let left = left.get_mut(&rule.service);
            let (touched, waiting) =
                left.map_or_else(Default::default, |left| left.take(of_service));
            let rest = Rest {
                tree,
                touched,
                waiting,
            };
            kept.keep(rule, rest);
        }
        kept
    }

    /// Notes what there is, and copies what is to be there from the start,
    /// or has changed since the rule was known.
    fn begin(
        &self,
        events: &mut Events,
        rests: Vec<Option<Rest>>,
        workers: &Workers,
    ) -> Result<Vec<Tree>, Error> {
        let began = Instant::now();
        let mut trees = Vec::new();
        for (n, rest) in rests.into_iter().enumerate() {
            let (rule, filter) = (&self.rules[n], self.filters[n].clone());
            events.watch(&rule.path);
            let (mut tree, initial) = match rest {
                // Containers may have been replaced: they get what was copied.
                Some(rest) => (rest.tree.with(filter), false),
                None => (Tree::new(rule.path.clone(), filter), true),
            };
            let changes = self.look(&mut tree, &rule.path, true, events);
            if !initial || (rule.initial_sync && rule.action.copies()) {
                let batch = Batch {
                    initial: initial || changes.is_empty(),
                    ..self.batch(n, changes, began)
                };
                self.hand_over(workers, n, batch);
            }
            trees.push(tree);
        }
        if let Some(error) = events.failure() {
            return Err(error);
        }
        if !self.quiet {
            let services = human::count(workers.len(), "service");
            let directories = match events.count() {
                1 => "1 directory".to_owned(),
                n => format!("{n} directories"),
            };
            ui::say(format_args!(
                "watching {directories} for {services}, Ctrl-C ends it"
            ));
        }
        Ok(trees)
    }

    fn look(&self, tree: &mut Tree, path: &Path, deep: bool, events: &mut Events) -> Vec<Change> {
        let mut enter = |path: &Path| events.watch(path);
        let found = tree.look(path, deep, &mut enter);
        for unreadable in found.unreadable.iter().take(MOST_TOLD) {
            self.ui.warn(format_args!(
                "{} is not watched: {} (leave it out with `ignore`)",
                unreadable.path.display(),
                unreadable.error
            ));
        }
        if let Some(more) = found.unreadable.len().checked_sub(MOST_TOLD + 1) {
            let more = human::count(more + 1, "other path");
            self.ui.warn(format_args!("not watched, too: {more}"));
        }
        found.changes
    }

    fn batch(&self, rule: usize, changes: Vec<Change>, began: Instant) -> Batch {
        Batch {
            rule: self.number(rule),
            changes,
            initial: false,
            part: false,
            began,
        }
    }

    fn hand_over(&self, workers: &Workers, rule: usize, batch: Batch) {
        if let Some(worker) = workers.get(&self.rules[rule].service) {
            let _ = worker.send(batch);
        }
    }

    /// Where a rule is among those of its service.
    fn number(&self, rule: usize) -> usize {
        let service = &self.rules[rule].service;
        let before = self.rules[..rule].iter();
        before.filter(|rule| rule.service == *service).count()
    }

    fn workers(&self, rests: &mut [Option<Rest>]) -> (Workers, Tasks) {
        let mut senders = BTreeMap::new();
        let mut tasks = JoinSet::new();
        for rule in &self.rules {
            if senders.contains_key(&rule.service) {
                continue;
            }
            let mut rules = Vec::new();
            let mut left = Left::default();
            for (rest, of_service) in rests.iter_mut().zip(&self.rules) {
                if of_service.service == rule.service {
                    left.put(rest.as_mut());
                    rules.push(of_service.clone());
                }
            }
            let worker = Worker::new(
                (self.ui, self.quiet),
                self.client.clone(),
                self.stack.clone(),
                rule.service.clone(),
                rules,
                Rebuilding {
                    up: Up {
                        services: vec![rule.service.clone()],
                        ..self.up.clone()
                    },
                    former: self.prune.then(BTreeSet::new),
                },
                left,
            );
            let (to, batches) = mpsc::unbounded_channel();
            senders.insert(rule.service.clone(), to);
            let service = rule.service.clone();
            tasks.spawn(async move { (service, worker.run(batches).await) });
        }
        (senders, tasks)
    }
}

/// Notes a stack file; whether it is another one now.
fn has_changed(files: &mut Tree, path: &Path) -> bool {
    let found = files.look(path, false, &mut |_| {});
    !found.changes.is_empty() && path.exists()
}

/// Something of a burst is gone, and may come back in a moment: all of it
/// waits, for it is one. Waits a part of the time.
async fn is_too_early(burst: &Burst, trees: &[Tree]) -> bool {
    let known = |path: &Path| trees.iter().any(|tree| tree.knows(path));
    let unsure: Vec<_> = burst
        .paths
        .iter()
        .filter(|(path, at)| at.elapsed() < GONE && known(path) && !exists(path))
        .collect();
    if unsure.is_empty() {
        return false;
    }
    tokio::time::sleep(GONE / 4).await;
    unsure
        .iter()
        .any(|(path, at)| !exists(path) && at.elapsed() < GONE)
}

fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Reads the events of an operation to its end.
///
/// # Errors
/// It failed.
async fn until_done(events: &mut Lines<Event>) -> Result<(), Error> {
    while let Some(event) = events.next().await? {
        match event {
            Event::Done { .. } => return Ok(()),
            Event::Failed(error) => return Err(error.into()),
            Event::Layer { .. }
            | Event::Step { .. }
            | Event::Output { .. }
            | Event::Warning { .. } => {}
        }
    }
    Err(Error::Lost("the operation was cut off".to_owned()))
}

/// Says why a rule is passed over.
fn is_possible(ui: Ui, rule: &Rule, spec: &StackSpec, builds: bool) -> bool {
    let path = rule.path.display();
    if rule.action == WatchAction::Rebuild && !builds {
        ui.warn(format_args!(
            "{}: {path} is not watched: the service has no `build`, so there is nothing to rebuild",
            rule.service
        ));
        return false;
    }
    let service = spec.services.get(&rule.service);
    let is_there = |source: &MountSource| match source {
        MountSource::Bind { path, .. } => rule.path.starts_with(path),
        _ => false,
    };
    let mounted = service.is_some_and(|s| s.mounts.iter().any(|m| is_there(&m.source)));
    if mounted && matches!(rule.action, WatchAction::Sync | WatchAction::SyncRestart) {
        ui.warn(format_args!(
            "{}: {path} is not watched: it is mounted into the service, which sees changes anyway",
            rule.service
        ));
        return false;
    }
    true
}

fn filter(project: &Project, rule: &Rule) -> Result<Filter, Error> {
    let read = |what: &str, lines: &[String]| {
        Patterns::new(lines.iter().map(String::as_str)).map_err(|why| {
            Error::usage(
                format!("{}: {what} of {}: {why}", rule.service, rule.path.display()),
                "patterns are written as in `.dockerignore`",
            )
        })
    };
    let mut ignore = vec![
        (rule.path.clone(), Patterns::of_editors()),
        (rule.path.clone(), read("ignore", &rule.ignore)?),
    ];
    if let Some((context, dockerfile)) = project.build_context(&rule.service) {
        let own = context.join(format!("{dockerfile}.dockerignore"));
        let text = std::fs::read_to_string(own)
            .or_else(|_| std::fs::read_to_string(context.join(".dockerignore")));
        if let Ok(text) = text {
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            ignore.push((context, read(".dockerignore", &lines)?));
        }
    }
    Ok(Filter {
        ignore,
        include: read("include", &rule.include)?,
    })
}

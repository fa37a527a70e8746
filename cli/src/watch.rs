//! Watching files of the host and acting on their changes
//! (Compose Develop Specification).
//!
//! ```text
//! events ──bursts──► trees, one per rule ──changes──► workers, one per service
//! (notify)           (what has really changed)        (copy, restart, run)
//! ```

mod alone;
mod batch;
mod command;
mod copying;
mod events;
mod files;
mod kept;
mod rebuild;
mod report;
mod rules;
mod service;
mod session;
mod starts;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use stack_api::build::{BuildSpec, BuildWhen};
use stack_api::event::Event;
use stack_api::request::Up;
use stack_planner::{Project, Rule};
use stack_sync::{Change, Filter, Tree};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::client::{Client, Lines};
use crate::error::Error;
use crate::ui::{self, Ui, human};
pub(crate) use alone::Alone;
use batch::{Batch, Left};
use command::Commands;
use events::{Burst, Events};
pub(crate) use files::StackFiles;
use kept::{Kept, Rest};
use rebuild::Rebuilding;
use service::Worker;
use starts::Starts;

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
    files: StackFiles,
    quiet: bool,
    /// Images that a rebuild has replaced go.
    prune: bool,
    /// What rebuilds a service, once it is named in it.
    up: Up,
    /// What was known when a stack file changed.
    kept: Kept,
    /// They go on when a stack file changes.
    commands: Commands,
    alone: Alone,
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
    /// There are none, one has a bad pattern, or one asks for a build that cannot be.
    pub(crate) fn new(
        ui: Ui,
        client: Client,
        (project, files): (&Project, StackFiles),
        started: &Up,
        (quiet, prune): (bool, bool),
        alone: Alone,
    ) -> Result<Watching, Error> {
        let spec = &started.spec;
        let rules = rules::of(ui, project, started)?;
        let filters = rules
            .iter()
            .map(|rule| rules::filter(project, rule, spec))
            .collect::<Result<_, _>>()?;
        Ok(Watching {
            ui,
            client,
            stack: project.name().to_owned(),
            rules,
            filters,
            files,
            quiet,
            prune,
            up: Up {
                spec: spec.clone(),
                no_deps: true,
                scale: started.scale.clone(),
                builds: started.builds.clone(),
                build: Some(BuildWhen::Always),
                ..Up::default()
            },
            kept: Kept::default(),
            commands: Commands::default(),
            alone,
        })
    }

    /// Goes on where another one has ended: what has changed meanwhile is a
    /// change, and what was copied is there in new containers, too.
    pub(crate) fn go_on_from(&mut self, before: Watching) {
        self.kept = before.kept;
        self.commands = before.commands;
    }

    /// These are the stack files from now on: the rules stay, for there is a mistake
    /// in one of them.
    pub(crate) fn look_at(&mut self, files: StackFiles) {
        self.files = files;
    }

    /// This is how images are built from now on.
    pub(crate) fn build_as(&mut self, builds: BTreeMap<String, BuildSpec>) {
        self.up.builds = builds;
    }

    /// What keeps others from watching.
    pub(crate) fn alone(&self) -> Alone {
        self.alone.clone()
    }

    /// Watches until a stack file changes, which is `None`, or something else comes.
    /// What has changed until then is done.
    ///
    /// # Errors
    /// The system cannot watch.
    pub(crate) async fn until_files_change<T>(
        &mut self,
        other: impl Future<Output = T>,
    ) -> Result<Option<T>, Error> {
        tokio::pin!(other);
        let mut came = None;
        let mut events = Events::new()?;
        let mut starts = Starts::of(&self.client, &self.stack);
        let mut kept = std::mem::take(&mut self.kept);
        self.files.watch(&mut events);
        let mut changed = self.files.have_changed();
        let mut rests: Vec<Option<Rest>> = self.rules.iter().map(|rule| kept.take(rule)).collect();
        let (workers, mut tasks) = self.workers(&mut rests);
        let mut trees = self.begin(&mut events, rests, &workers)?;
        let real = |rule: &Rule| rule.path.canonicalize().ok();
        let mut reals: Vec<_> = self.rules.iter().map(real).collect();
        // A burst that is not over belongs to what has changed.
        let mut again = false;
        // Rules whose workers have got parts of it.
        let mut parts = vec![false; self.rules.len()];
        while again || !(changed || came.is_some()) {
            let burst = tokio::select! {
                burst = events.burst() => burst,
                value = &mut other, if came.is_none() => {
                    came = Some(value);
                    continue;
                }
                service = starts.next() => {
                    self.bring_up_to_date(&service, &workers);
                    continue;
                }
                // Workers do not end before there is nobody to send to them.
                Some(_) = tasks.join_next() => continue,
            };
            let began = Instant::now();
            changed |= self.files.have_changed();
            // Their directories may be others now.
            self.files.watch(&mut events);
            let unsure = match burst.goes_on {
                true => Vec::new(),
                false => too_early(&burst, &trees).await,
            };
            again = burst.goes_on || !unsure.is_empty();
            let now = match unsure.is_empty() {
                true => Some(burst),
                false => events.again(burst, &unsure),
            };
            let Some(burst) = now else { continue };
            for (n, tree) in trees.iter_mut().enumerate() {
                let root = &self.rules[n].path;
                let mut deep = burst.everything;
                // Its name may be a link that leads elsewhere now.
                let real = root.canonicalize().ok().filter(|_| !burst.goes_on);
                if real.is_some() && real != reals[n] {
                    events.forget(root);
                    reals[n] = real;
                    deep = true;
                }
                events.watch(root);
                events.watch_links(root);
                let mut changes = Vec::new();
                if deep {
                    changes = self.look(tree, root, true, &mut events);
                } else {
                    // What it leads to is told by another name, if it is one file.
                    let linked = reals[n].as_ref().is_some_and(|real| real != root);
                    let itself = (linked && !root.is_dir()).then_some(root);
                    for path in burst.paths.keys().chain(itself) {
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
        Ok(came.filter(|_| !changed))
    }

    /// A container of a service has started, which may be a new one.
    fn bring_up_to_date(&self, service: &str, workers: &Workers) {
        for (n, rule) in self.rules.iter().enumerate() {
            if rule.service == service && rules::copies(rule) {
                let batch = Batch::of_new(self.number(n));
                self.hand_over(workers, n, batch);
            }
        }
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
            let left = left.map(|left| left.take(of_service)).unwrap_or_default();
            let rest = Rest { tree, left };
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
            events.watch_links(&rule.path);
            let (mut tree, initial) = match rest {
                // Containers may have been replaced: they get what was copied.
                Some(rest) => (rest.tree.with(filter), false),
                None => (Tree::new(rule.path.clone(), filter), true),
            };
            let changes = self.look(&mut tree, &rule.path, true, events);
            let copies = rules::copies(rule);
            let wanted = match initial {
                true => rule.initial_sync && copies,
                // Where nothing is copied there is nothing to do without a change.
                false => copies || !changes.is_empty(),
            };
            if wanted {
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

    fn workers(&mut self, rests: &mut [Option<Rest>]) -> (Workers, Tasks) {
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
                    left.put(rest.as_mut().map(|rest| &mut rest.left));
                    rules.push(of_service.clone());
                }
            }
            let rebuilding = Rebuilding {
                service: rule.service.clone(),
                up: self.up.clone(),
                former: self.prune.then(BTreeSet::new),
            };
            let how = (self.ui, self.quiet);
            let names = (self.stack.as_str(), rule.service.as_str());
            let commands = self.commands.of(how, &self.client, names);
            let worker = Worker::new(
                how,
                self.client.clone(),
                self.stack.clone(),
                rule.service.clone(),
                rules,
                (rebuilding, commands),
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

/// What of a burst is gone, and may come back in a moment, or is half of a file: all of
/// it waits, for it is one. Waits a part of the time.
async fn too_early(burst: &Burst, trees: &[Tree]) -> Vec<PathBuf> {
    let wanted = |path: &&PathBuf| trees.iter().any(|tree| tree.wants(path));
    let half: Vec<_> = burst.open.iter().filter(wanted).cloned().collect();
    if !half.is_empty() {
        return half;
    }
    let known = |path: &Path| trees.iter().any(|tree| tree.knows(path));
    let mut unsure: Vec<_> = burst
        .paths
        .iter()
        .filter(|(path, at)| at.elapsed() < GONE && known(path) && !exists(path))
        .collect();
    if unsure.is_empty() {
        return Vec::new();
    }
    tokio::time::sleep(GONE / 4).await;
    unsure.retain(|(path, at)| !exists(path) && at.elapsed() < GONE);
    unsure.into_iter().map(|(path, _)| path.clone()).collect()
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
            | Event::Warning { .. }
            | Event::Note { .. } => {}
        }
    }
    Err(Error::Lost("the operation was cut off".to_owned()))
}

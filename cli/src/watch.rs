//! Watching files of the host and acting on their changes
//! (Compose Develop Specification).
//!
//! ```text
//! events ──bursts──► trees, one per rule ──changes──► workers, one per service
//! (notify)           (what has really changed)        (copy, restart, run)
//! ```

mod command;
mod events;
mod rebuild;
mod report;
mod service;
mod session;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use stack_api::build::BuildWhen;
use stack_api::event::Event;
use stack_api::request::Up;
use stack_api::spec::{MountSource, StackSpec};
use stack_planner::{Project, Rule, WatchAction};
use stack_sync::{Change, Filter, Patterns, Tree};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::client::{Client, Lines};
use crate::error::Error;
use crate::ui::{self, Ui, human};
use events::Events;
use service::{Batch, Worker};

/// A file that is gone for so long has been removed: editors and version
/// control replace files by removing them for a moment.
const GONE: Duration = Duration::from_millis(100);

/// The rules of a project's services, ready to be watched.
pub(crate) struct Watching {
    ui: Ui,
    client: Client,
    stack: String,
    rules: Vec<Rule>,
    filters: Vec<Filter>,
    files: Vec<PathBuf>,
    quiet: bool,
    /// What rebuilds a service, once it is named in it.
    up: Up,
}

impl Watching {
    /// Takes the rules of these services (none: of all); what cannot be done
    /// is told.
    ///
    /// # Errors
    /// There are none, or one has a bad pattern.
    pub(crate) fn new(
        ui: Ui,
        client: Client,
        project: &Project,
        spec: &StackSpec,
        services: &[String],
        quiet: bool,
    ) -> Result<Watching, Error> {
        let mut rules = project.watch_rules();
        rules.retain(|rule| services.is_empty() || services.contains(&rule.service));
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
            up: Up {
                spec: spec.clone(),
                no_deps: true,
                builds: crate::builds::of(project),
                build: Some(BuildWhen::Always),
                ..Up::default()
            },
        })
    }

    /// Watches for ever; changes of stack files are told.
    ///
    /// Gives why the system cannot watch.
    pub(crate) async fn on_and_on(&self) -> Error {
        loop {
            if let Err(error) = self.until_files_change().await {
                return error;
            }
            self.ui
                .note("the stack file changed: `stack up -d` applies it");
        }
    }

    /// Watches until a stack file changes.
    ///
    /// # Errors
    /// The system cannot watch.
    pub(crate) async fn until_files_change(&self) -> Result<(), Error> {
        let mut events = Events::new()?;
        let mut trees: Vec<Tree> = self
            .rules
            .iter()
            .zip(&self.filters)
            .map(|(rule, filter)| Tree::new(rule.path.clone(), filter.clone()))
            .collect();
        let mut project_files = Tree::new(PathBuf::from("/"), Filter::default());
        for file in &self.files {
            events.watch(file.parent().unwrap_or(file));
            let _ = project_files.look(file, false, &mut |_| {});
        }
        let (workers, mut tasks) = self.workers();
        self.begin(&mut events, &mut trees, &workers)?;
        loop {
            let burst = tokio::select! {
                burst = events.burst() => burst,
                Some(_) = tasks.join_next() => continue,
            };
            let began = Instant::now();
            let mut unsure = std::collections::HashMap::new();
            for (path, at) in &burst.paths {
                if self.files.contains(path) {
                    let changes = project_files.look(path, false, &mut |_| {});
                    if changes.is_ok_and(|c| !c.is_empty()) && path.exists() {
                        return Ok(());
                    }
                }
                if at.elapsed() < GONE && trees.iter().any(|tree| tree.knows(path)) && !exists(path)
                {
                    unsure.insert(path.clone(), *at);
                }
            }
            if !unsure.is_empty() {
                // The burst is one: all of it waits.
                tokio::time::sleep(GONE / 4).await;
                let still: Vec<_> = unsure.keys().filter(|path| !exists(path)).collect();
                if still.iter().any(|path| unsure[*path].elapsed() < GONE) {
                    events.again(burst.paths);
                    continue;
                }
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
                self.hand_over(&workers, n, changes, false, began);
            }
            if let Some(error) = events.failure() {
                return Err(error);
            }
        }
    }

    /// Notes what there is, and copies what is to be there from the start.
    fn begin(
        &self,
        events: &mut Events,
        trees: &mut [Tree],
        workers: &BTreeMap<String, mpsc::UnboundedSender<Batch>>,
    ) -> Result<(), Error> {
        let began = Instant::now();
        for (n, tree) in trees.iter_mut().enumerate() {
            let rule = &self.rules[n];
            events.watch(&rule.path);
            let changes = self.look(tree, &rule.path, true, events);
            if rule.initial_sync && rule.action.copies() {
                self.hand_over(workers, n, changes, true, began);
            }
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
        Ok(())
    }

    fn look(&self, tree: &mut Tree, path: &Path, deep: bool, events: &mut Events) -> Vec<Change> {
        let mut enter = |path: &Path| events.watch(path);
        match tree.look(path, deep, &mut enter) {
            Ok(changes) => changes,
            Err(unreadable) => {
                self.ui.warn(format_args!(
                    "{} is not watched: {} (leave it out with `ignore`)",
                    unreadable.path.display(),
                    unreadable.error
                ));
                Vec::new()
            }
        }
    }

    fn hand_over(
        &self,
        workers: &BTreeMap<String, mpsc::UnboundedSender<Batch>>,
        rule: usize,
        changes: Vec<Change>,
        initial: bool,
        began: Instant,
    ) {
        if changes.is_empty() && !initial {
            return;
        }
        let service = &self.rules[rule].service;
        let of_service = self.rules[..rule].iter().filter(|r| r.service == *service);
        let batch = Batch {
            rule: of_service.count(),
            changes,
            initial,
            began,
        };
        if let Some(worker) = workers.get(service) {
            let _ = worker.send(batch);
        }
    }

    fn workers(&self) -> (BTreeMap<String, mpsc::UnboundedSender<Batch>>, JoinSet<()>) {
        let mut senders = BTreeMap::new();
        let mut tasks = JoinSet::new();
        for rule in &self.rules {
            if senders.contains_key(&rule.service) {
                continue;
            }
            let rules = self.rules.iter().filter(|r| r.service == rule.service);
            let worker = Worker::new(
                self.ui,
                self.client.clone(),
                self.stack.clone(),
                rule.service.clone(),
                rules.cloned().collect(),
                self.quiet,
                Up {
                    services: vec![rule.service.clone()],
                    ..self.up.clone()
                },
            );
            let (to, batches) = mpsc::unbounded_channel();
            senders.insert(rule.service.clone(), to);
            tasks.spawn(worker.run(batches));
        }
        (senders, tasks)
    }
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

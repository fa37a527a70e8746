//! What follows for one service: a task that takes batches and copies,
//! restarts and runs commands in its containers. Services do not wait for
//! each other.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hyper::Method;
use stack_api::container::{Container, State};
use stack_api::request::{Action, ExecRequest, Verb};
use stack_planner::{Rule, WatchAction, WatchExec};
use stack_protocol::sync::{Item, Kind, MOST_TOLD, Outcome, Stamp};
use stack_sync::{Change, Step};
use tokio::sync::mpsc;

use super::kept::Rest;
use super::rebuild::Rebuilding;
use super::report;
use super::session::{self, Session, lost};
use crate::client::Client;
use crate::context::containers;
use crate::error::Error;
use crate::ui::Ui;

/// How often it is tried whether a container runs again.
const RETRY: Duration = Duration::from_millis(500);
/// After so many attempts it is said that changes wait.
const TELL: u32 = 3;

/// What a rule says and where it copies.
#[derive(Debug, Clone)]
pub(super) struct Copying {
    /// On the host.
    pub(super) root: PathBuf,
    /// In the container.
    pub(super) target: String,
}

impl Copying {
    /// A target that ends in `/` is a directory that one file goes into.
    fn new(root: &Path, target: &str, changes: &[Change], touched: &Copied) -> Copying {
        let name = root.file_name().and_then(OsStr::to_str);
        let target = match name {
            Some(name) if target.ends_with('/') && is_file(root, changes, touched) => {
                format!("{target}{name}")
            }
            _ => target.to_owned(),
        };
        let root = root.to_path_buf();
        Copying { root, target }
    }
}

/// Is the root of a rule no directory, or was it none when it was there?
fn is_file(root: &Path, changes: &[Change], touched: &Copied) -> bool {
    let below = |path: &String| !path.is_empty();
    if changes.iter().any(|change| below(&change.path)) || touched.keys().any(below) {
        return false;
    }
    let now = changes.iter().find_map(|change| change.now.as_ref());
    match now.or_else(|| touched.get("")?.as_ref()) {
        Some(kind) => !matches!(kind, Kind::Directory { .. }),
        None => !root.is_dir(),
    }
}

/// Changes of one rule.
#[derive(Debug)]
pub(super) struct Batch {
    /// Index of the rule in [`Worker::rules`].
    pub(super) rule: usize,
    /// What has changed.
    pub(super) changes: Vec<Change>,
    /// Files that may be there already are compared first, and that is all:
    /// no restart, no command.
    pub(super) initial: bool,
    /// More of it is to come, and may change it again: it is prepared.
    pub(super) part: bool,
    /// When the first change was seen.
    pub(super) began: Instant,
}

/// The task of one service.
pub(super) struct Worker {
    pub(super) ui: Ui,
    pub(super) client: Client,
    pub(super) stack: String,
    pub(super) service: String,
    pub(super) rules: Vec<Rule>,
    pub(super) quiet: bool,
    rebuilding: Rebuilding,
    /// What another worker has left.
    left: Left,
    open: HashMap<String, Open>,
    /// So often in a row something could not be copied.
    failed: u32,
    /// It was stopped here, to be written to, and is to run again.
    stopped: bool,
}

/// What a worker leaves to the next one for its service.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// All that was ever copied, by rule: what a new container must get.
    pub(super) touched: Vec<Copied>,
    /// What could not be copied yet.
    pub(super) waiting: Vec<Batch>,
}

impl Left {
    /// Adds what is known of the next rule.
    pub(super) fn put(&mut self, rest: Option<&mut Rest>) {
        let rule = self.touched.len();
        let (touched, waiting) = rest.map_or_else(Default::default, |rest| {
            (std::mem::take(&mut rest.touched), rest.waiting.take())
        });
        self.touched.push(touched);
        self.waiting
            .extend(waiting.map(|batch| Batch { rule, ..batch }));
    }

    /// Takes what is known of a rule.
    pub(super) fn take(&mut self, rule: usize) -> (Copied, Option<Batch>) {
        let touched = self.touched.get_mut(rule);
        let at = self.waiting.iter().position(|batch| batch.rule == rule);
        (
            touched.map(std::mem::take).unwrap_or_default(),
            at.map(|at| self.waiting.remove(at)),
        )
    }
}

/// Paths and what is to be there.
pub(super) type Copied = BTreeMap<String, Option<Kind>>;

/// A container that is being written to.
struct Open {
    session: Session,
    /// By rule.
    rules: Vec<Known>,
}

/// What is known of the files of one rule in a container.
#[derive(Clone, Default)]
struct Known {
    /// Everything that was ever copied is there.
    current: bool,
    /// What was written last.
    written: HashMap<String, Stamp>,
    /// What could not be written: the next batch tries again.
    unwritten: Copied,
}

impl Worker {
    pub(super) fn new(
        (ui, quiet): (Ui, bool),
        client: Client,
        stack: String,
        service: String,
        rules: Vec<Rule>,
        rebuilding: Rebuilding,
        left: Left,
    ) -> Worker {
        Worker {
            ui,
            client,
            stack,
            service,
            rules,
            quiet,
            rebuilding,
            left,
            open: HashMap::new(),
            failed: 0,
            stopped: false,
        }
    }

    /// Works until nobody sends batches any more; gives what is not done.
    pub(super) async fn run(mut self, mut batches: mpsc::UnboundedReceiver<Batch>) -> Left {
        if self.rules.iter().any(|rule| rule.action.copies()) {
            // The first change shall not wait for the connection.
            let _ = self.connect().await;
        }
        let mut waiting = std::mem::take(&mut self.left.waiting);
        let mut parts: Vec<Batch> = Vec::new();
        // A part of the burst after those that are worked on.
        let mut later = None;
        loop {
            // What waits is tried again, with what has come since: that may
            // be what brings the service back.
            let mut next = match later.take() {
                Some(part) => Some(part),
                None => tokio::select! {
                    next = batches.recv() => match next {
                        Some(next) => Some(next),
                        None => break,
                    },
                    () = tokio::time::sleep(RETRY), if !waiting.is_empty() && parts.is_empty() => None,
                },
            };
            let is_retry = next.is_none();
            let mut whole = Vec::new();
            while let Some(batch) = next {
                if !batch.part {
                    whole.push(batch);
                } else if whole.is_empty() {
                    self.prepare(&batch).await;
                    parts.push(batch);
                } else {
                    later = Some(batch);
                    break;
                }
                next = batches.try_recv().ok();
            }
            if is_retry || !whole.is_empty() {
                let (now, held) = self.complete(waiting, &mut parts, whole);
                waiting = self.work(merged(now, self.rules.len())).await;
                waiting.splice(0..0, held);
            }
        }
        waiting.extend(parts);
        self.left.waiting = merged(waiting, self.rules.len());
        self.left
    }

    /// What can be done, in the order in which it came, and what has to wait for
    /// the rest of a burst.
    fn complete(
        &mut self,
        waiting: Vec<Batch>,
        parts: &mut Vec<Batch>,
        whole: Vec<Batch>,
    ) -> (Vec<Batch>, Vec<Batch>) {
        let is_of = |rule: usize, list: &[Batch]| list.iter().any(|batch| batch.rule == rule);
        let (mut now, held): (Vec<_>, Vec<_>) = waiting
            .into_iter()
            .partition(|batch| is_of(batch.rule, &whole) || !is_of(batch.rule, parts));
        now.extend(parts.extract_if(.., |part| is_of(part.rule, &whole)));
        // It has changed since it was prepared.
        for change in whole.iter().flat_map(|batch| &batch.changes) {
            for open in self.open.values_mut() {
                open.session.unsay(&change.path);
            }
        }
        now.extend(whole);
        (now, held)
    }

    /// Has a part of a batch lie ready in the containers.
    async fn prepare(&mut self, batch: &Batch) {
        let rule = &self.rules[batch.rule];
        let Some(target) = rule.target.as_ref().filter(|_| rule.action.copies()) else {
            return;
        };
        // What lies ready for a target is committed with any batch for it.
        let same = |other: &&Rule| other.target.as_ref() == Some(target);
        if self.rules.iter().filter(same).count() > 1 {
            return;
        }
        for open in self.open.values_mut() {
            let known = &open.rules[batch.rule];
            if !known.current {
                continue;
            }
            let changes = batch.changes.iter();
            let changes = changes.map(|change| (change.path.clone(), change.now.clone()));
            let mut steps = known.steps(changes.collect());
            if open
                .session
                .ahead(&rule.path, target, &mut steps)
                .await
                .is_err()
            {
                // With the whole, another connection is made.
                return self.open.clear();
            }
        }
    }

    /// Docker Compose's order: sync, restart, commands. Gives what could not
    /// be copied.
    async fn work(&mut self, batches: Vec<Batch>) -> Vec<Batch> {
        // A new container has everything that the image was built from.
        let rebuild = |batch: &Batch| self.rules[batch.rule].action == WatchAction::Rebuild;
        if let Some(batch) = batches.iter().find(|batch| rebuild(batch)) {
            let (began, changes) = (batch.began, &batch.changes);
            let result = self.rebuilding.run(self.ui, &self.client).await;
            self.open.clear();
            let action = WatchAction::Rebuild;
            report::restarted(self.ui, &self.service, action, changes, began, result);
        }
        let mut restart = None;
        let mut commands = Vec::new();
        let mut waiting = Vec::new();
        let mut why = None;
        for batch in batches {
            let rule = self.rules[batch.rule].clone();
            let copied = match &rule.target {
                Some(target) if rule.action.copies() => {
                    let touched = &self.left.touched[batch.rule];
                    let copying = Copying::new(&rule.path, target, &batch.changes, touched);
                    match self.copy(&copying, &batch).await {
                        Ok(copied) => copied,
                        Err(error) => {
                            self.open.clear();
                            // A new container gets what was copied before with
                            // the next change.
                            if !batch.changes.is_empty() {
                                why = Some(error);
                                waiting.push(batch);
                            }
                            continue;
                        }
                    }
                }
                _ => true,
            };
            if batch.initial {
                continue;
            }
            match (rule.action, rule.exec) {
                (WatchAction::SyncRestart | WatchAction::SyncExec, _) if !copied => {
                    report::held_back(self.ui, &self.service, rule.action);
                }
                (WatchAction::Restart | WatchAction::SyncRestart, _) => {
                    restart.get_or_insert((batch.began, rule.action, batch.changes));
                }
                (WatchAction::SyncExec, Some(exec)) => commands.push(exec),
                _ => {}
            }
        }
        self.tell(why, &waiting);
        let stopped = std::mem::take(&mut self.stopped);
        if let Some((began, action, changes)) = restart {
            self.restart(began, action, &changes).await;
        } else if stopped {
            // It was its policy's turn before.
            let _ = self.act(Verb::Start).await;
        }
        for exec in commands {
            self.command(&exec).await;
        }
        waiting
    }

    /// Says that changes wait, when they have done so for some time.
    fn tell(&mut self, why: Option<Error>, waiting: &[Batch]) {
        let Some(why) = why else {
            self.failed = 0;
            return;
        };
        self.failed = self.failed.saturating_add(1);
        if self.failed == TELL {
            let changes = waiting.iter().map(|batch| batch.changes.len()).sum();
            report::waiting(self.ui, &self.service, &why, changes);
        }
    }

    /// Copies into every container that runs, or else into those that do not.
    /// Gives whether all of the batch is there.
    ///
    /// # Errors
    /// There is no container to be had at the moment.
    async fn copy(&mut self, copying: &Copying, batch: &Batch) -> Result<bool, Error> {
        for change in &batch.changes {
            let touched = &mut self.left.touched[batch.rule];
            touched.insert(change.path.clone(), change.now.clone());
        }
        let mut sum = Outcome::default();
        let mut copied = true;
        let runs = !running(&self.client, &self.stack, &self.service)
            .await?
            .is_empty();
        if !runs && !batch.initial {
            let first = self.left.touched[batch.rule].clone();
            self.open.clear();
            for container in self.at_rest(batch).await? {
                // One after the other: each has the stack for itself.
                let number = container.number;
                let (client, stack, service) = (&self.client, &self.stack, &self.service);
                let session = session::open(client, stack, service, number, true).await?;
                let mut open = Open::new(session, self.rules.len());
                copied &= open.write((copying, batch, &first), &mut sum).await?;
            }
        } else {
            self.connect().await?;
            let first = &self.left.touched[batch.rule];
            for open in self.open.values_mut() {
                copied &= open.write((copying, batch, first), &mut sum).await?;
            }
        }
        let rule = &self.rules[batch.rule];
        report::copied(self.ui, rule, batch, &sum, self.quiet);
        Ok(copied)
    }

    /// Opens sessions to containers that run and have none.
    async fn connect(&mut self) -> Result<(), Error> {
        let wanted = running(&self.client, &self.stack, &self.service).await?;
        if wanted.is_empty() {
            return Err(self.does_not_run());
        }
        self.open
            .retain(|id, _| wanted.iter().any(|container| container.id == *id));
        for container in wanted {
            if !self.open.contains_key(&container.id) {
                let number = container.number;
                let (client, stack, service) = (&self.client, &self.stack, &self.service);
                let session = session::open(client, stack, service, number, false).await?;
                let open = Open::new(session, self.rules.len());
                self.open.insert(container.id.clone(), open);
            }
        }
        Ok(())
    }

    fn does_not_run(&self) -> Error {
        Error::Lost(format!("{} does not run", self.service))
    }

    /// The containers that do not run. What is to be restarted anyway, and
    /// ends again and again, is stopped for it.
    async fn at_rest(&mut self, batch: &Batch) -> Result<Vec<Container>, Error> {
        let restarts = self.rules[batch.rule].action == WatchAction::SyncRestart;
        let mut list = all(&self.client, &self.stack, &self.service).await?;
        if restarts && list.iter().any(|c| c.state == State::Restarting) {
            self.stopped = true;
            self.act(Verb::Stop).await?;
            list = all(&self.client, &self.stack, &self.service).await?;
        }
        list.retain(|container| !container.goes_on());
        match list.is_empty() {
            true => Err(self.does_not_run()),
            false => Ok(list),
        }
    }

    async fn act(&mut self, verb: Verb) -> Result<(), Error> {
        let request = Action {
            verb,
            services: vec![self.service.clone()],
            replicas: true,
            ..Action::default()
        };
        let path = format!("/v1/stacks/{}/action", self.stack);
        let mut events = self.client.events(Method::POST, &path, &request).await?;
        super::until_done(&mut events).await
    }

    async fn restart(&mut self, began: Instant, action: WatchAction, changes: &[Change]) {
        let result = self.act(Verb::Restart).await;
        self.open.clear();
        report::restarted(self.ui, &self.service, action, changes, began, result);
    }

    async fn command(&mut self, exec: &WatchExec) {
        let numbers: Vec<u32> = match running(&self.client, &self.stack, &self.service).await {
            Ok(list) => list.iter().map(|container| container.number).collect(),
            Err(error) => return report::command_failed(self.ui, &self.service, exec, &error),
        };
        if numbers.is_empty() {
            let error = Error::Lost(format!("{} does not run", self.service));
            report::command_failed(self.ui, &self.service, exec, &error);
        }
        for number in numbers {
            let request = ExecRequest {
                service: self.service.clone(),
                index: Some(number),
                args: exec.command.clone(),
                env: exec.environment.clone(),
                cwd: exec.working_dir.clone(),
                user: exec.user.clone(),
                privileged: exec.privileged,
                ..ExecRequest::default()
            };
            let began = Instant::now();
            let result = super::command::run(&self.client, &self.stack, &request).await;
            match result {
                Ok(output) => report::command(self.ui, &self.service, exec, &output, began),
                Err(error) => report::command_failed(self.ui, &self.service, exec, &error),
            }
        }
    }
}

impl Open {
    fn new(session: Session, rules: usize) -> Open {
        Open {
            session,
            rules: vec![Known::default(); rules],
        }
    }

    /// Writes a batch, or for the first time `all` that was ever copied. Gives
    /// whether all of the batch is there.
    async fn write(
        &mut self,
        (copying, batch, all): (&Copying, &Batch, &Copied),
        sum: &mut Outcome,
    ) -> Result<bool, Error> {
        let known = &mut self.rules[batch.rule];
        let mut changes = match known.current {
            true => known.with_unwritten(&batch.changes),
            false => all.clone().into_iter().collect(),
        };
        if batch.initial || !known.current {
            changes = without_same(&mut self.session, copying, changes).await?;
        }
        let mut steps = known.steps(changes);
        if !steps.is_empty() {
            let outcome = self
                .session
                .apply(&copying.root, &copying.target, &mut steps)
                .await
                .map_err(lost)?;
            known.note(steps, &outcome);
            sum.written = sum.written.max(outcome.written);
            sum.removed = sum.removed.max(outcome.removed);
            sum.conflicts.extend(outcome.conflicts);
            sum.failures.extend(outcome.failures);
        }
        known.current = true;
        let unwritten = |change: &Change| known.unwritten.contains_key(&change.path);
        Ok(!batch.changes.iter().any(unwritten))
    }
}

impl Known {
    /// The changes, and before them what others have left.
    fn with_unwritten(&self, changes: &[Change]) -> Vec<(String, Option<Kind>)> {
        let newer: HashSet<&str> = changes.iter().map(|change| change.path.as_str()).collect();
        let older = self.unwritten.iter();
        let older = older.filter(|(path, _)| !newer.contains(path.as_str()));
        let own = changes.iter().map(|change| (&change.path, &change.now));
        older
            .chain(own)
            .map(|(path, now)| (path.clone(), now.clone()))
            .collect()
    }

    fn steps(&self, changes: Vec<(String, Option<Kind>)>) -> Vec<Step> {
        let step = |(path, now)| Step {
            expected: self.written.get(&path).copied(),
            path,
            now,
        };
        changes.into_iter().map(step).collect()
    }

    /// Notes what came of a batch.
    fn note(&mut self, steps: Vec<Step>, outcome: &Outcome) {
        let failures = &outcome.failures;
        // The rest of the failures is not told, or a guest from before an upgrade
        // has put nothing into its place.
        let nothing = !failures.is_empty() && outcome.written + outcome.removed == 0;
        let every = nothing
            || failures.len() >= MOST_TOLD
            || failures.iter().any(|(path, _)| path.is_empty());
        let failed: HashSet<&str> = failures.iter().map(|(path, _)| path.as_str()).collect();
        for step in steps {
            if every || failed.contains(step.path.as_str()) {
                self.unwritten.insert(step.path, step.now);
                continue;
            }
            self.unwritten.remove(&step.path);
            match step.now {
                Some(Kind::File { stamp, .. }) => drop(self.written.insert(step.path, stamp)),
                _ => drop(self.written.remove(&step.path)),
            }
        }
    }
}

async fn all(client: &Client, stack: &str, service: &str) -> Result<Vec<Container>, Error> {
    let mut list = containers(client, stack).await?;
    list.retain(|container| container.service == service && !container.one_off);
    Ok(list)
}

async fn running(client: &Client, stack: &str, service: &str) -> Result<Vec<Container>, Error> {
    let mut list = all(client, stack, service).await?;
    list.retain(|container| container.state == State::Running);
    Ok(list)
}

/// Leaves out what the container has already.
async fn without_same(
    session: &mut Session,
    copying: &Copying,
    changes: Vec<(String, Option<Kind>)>,
) -> Result<Vec<(String, Option<Kind>)>, Error> {
    let (there, gone): (Vec<_>, Vec<_>) = changes.into_iter().partition(|(_, now)| now.is_some());
    let items = there
        .into_iter()
        .filter_map(|(path, kind)| Some(Item { path, kind: kind? }))
        .collect();
    let missing = session
        .missing(&copying.root, &copying.target, items)
        .await
        .map_err(lost)?;
    let mut changes = gone;
    changes.extend(missing.into_iter().map(|item| (item.path, Some(item.kind))));
    Ok(changes)
}

/// One batch for each rule, the latest state of each path.
fn merged(batches: Vec<Batch>, rules: usize) -> Vec<Batch> {
    let mut by_rule: Vec<Option<Batch>> = (0..rules).map(|_| None).collect();
    for batch in batches {
        match &mut by_rule[batch.rule] {
            empty @ None => *empty = Some(batch),
            Some(first) => {
                let newer: HashSet<&str> = batch
                    .changes
                    .iter()
                    .map(|change| change.path.as_str())
                    .collect();
                first
                    .changes
                    .retain(|change| !newer.contains(change.path.as_str()));
                first.changes.extend(batch.changes);
                first.initial &= batch.initial;
                if std::mem::replace(&mut first.part, batch.part) {
                    first.began = batch.began;
                }
            }
        }
    }
    by_rule.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waited_is_one_batch_with_the_last_state() {
        let batch = |rule, path: &str, gone: bool| Batch {
            rule,
            changes: vec![Change {
                path: path.to_owned(),
                now: (!gone).then_some(Kind::Directory { mode: 0o755 }),
            }],
            initial: false,
            part: false,
            began: Instant::now(),
        };
        let all = vec![
            batch(1, "a", false),
            batch(0, "x", false),
            batch(1, "a", true),
        ];
        let merged = merged(all, 2);
        assert_eq!(merged.len(), 2);
        assert_eq!(merged[1].changes.len(), 1);
        assert_eq!(merged[1].changes[0].now, None);
    }

    #[test]
    fn one_file_goes_into_a_target_that_ends_in_a_slash() {
        let stamp = Stamp {
            size: 1,
            modified_ns: 0,
        };
        let file = Some(Kind::File { stamp, mode: 0o644 });
        let directory = Some(Kind::Directory { mode: 0o755 });
        let change = |path: &str, now: &Option<Kind>| Change {
            path: path.to_owned(),
            now: now.clone(),
        };
        let (root, none) = (Path::new("/nowhere/conf"), Copied::new());
        let target = |target: &str, changes: &[Change], touched: &Copied| {
            Copying::new(root, target, changes, touched).target
        };
        let changed = [change("", &file)];
        assert_eq!(target("/app/", &changed, &none), "/app/conf");
        assert_eq!(target("/", &changed, &none), "/conf");
        assert_eq!(target("/app", &changed, &none), "/app");
        // Gone: what it was decides.
        let gone = [change("", &None)];
        let was = |kind: &Option<Kind>| Copied::from([(String::new(), kind.clone())]);
        assert_eq!(target("/app/", &gone, &was(&file)), "/app/conf");
        assert_eq!(target("/app/", &gone, &was(&directory)), "/app/");
        assert_eq!(target("/app/", &[change("a", &file)], &none), "/app/");
        assert_eq!(target("/app/", &[change("a", &None)], &none), "/app/");
    }

    #[test]
    fn what_could_not_be_written_is_tried_again() {
        let step = |path: &str| Step {
            path: path.to_owned(),
            now: Some(Kind::Directory { mode: 0o755 }),
            expected: None,
        };
        let outcome = |failed: &[&str]| Outcome {
            failures: failed
                .iter()
                .map(|path| ((*path).to_owned(), "no space".to_owned()))
                .collect(),
            written: 1,
            ..Outcome::default()
        };
        let change = |path: &str| Change {
            path: path.to_owned(),
            now: None,
        };
        let paths = |known: &Known, changes: &[Change]| -> Vec<String> {
            let all = known.with_unwritten(changes);
            all.into_iter().map(|(path, _)| path).collect()
        };
        let mut known = Known::default();
        known.note(vec![step("a"), step("b"), step("c")], &outcome(&["a", "c"]));
        assert_eq!(paths(&known, &[change("c"), change("x")]), ["a", "c", "x"]);
        known.note(vec![step("a")], &outcome(&[]));
        assert_eq!(paths(&known, &[]), ["c"]);
        // The target itself: nothing of it is there.
        known.note(vec![step("b"), step("c")], &outcome(&[""]));
        assert_eq!(paths(&known, &[]), ["b", "c"]);
    }
}

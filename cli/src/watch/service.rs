//! What follows for one service: a task that takes batches and copies,
//! restarts and runs commands in its containers. Services do not wait for
//! each other.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use hyper::Method;
use stack_api::container::{Container, State};
use stack_api::request::{Action, Verb};
use stack_planner::{Rule, WatchAction, WatchExec};
use stack_protocol::sync::Outcome;
use stack_sync::Change;
use tokio::sync::mpsc;

use super::batch::{Batch, Left, merged};
use super::copying::{Copying, Open, steps};
use super::rebuild::Rebuilding;
use super::report;
use super::rules;
use super::session;
use crate::client::Client;
use crate::context::containers;
use crate::error::Error;
use crate::ui::Ui;

/// How often it is tried whether a container runs again.
const RETRY: Duration = Duration::from_millis(500);
/// After so many attempts it is said that changes wait.
const TELL: u32 = 3;

/// The task of one service.
pub(super) struct Worker {
    ui: Ui,
    client: Client,
    stack: String,
    service: String,
    rules: Vec<Rule>,
    quiet: bool,
    rebuilding: Rebuilding,
    /// Where commands are run, one after the other.
    commands: mpsc::UnboundedSender<WatchExec>,
    /// What another worker has left.
    left: Left,
    open: HashMap<String, Open>,
    /// So often in a row something could not be copied.
    failed: u32,
    /// It was stopped here, to be written to, and is to run again.
    stopped: bool,
}

impl Worker {
    pub(super) fn new(
        (ui, quiet): (Ui, bool),
        client: Client,
        stack: String,
        service: String,
        rules: Vec<Rule>,
        (rebuilding, commands): (Rebuilding, mpsc::UnboundedSender<WatchExec>),
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
            commands,
            left,
            open: HashMap::new(),
            failed: 0,
            stopped: false,
        }
    }

    /// Works until nobody sends batches any more; gives what is not done.
    pub(super) async fn run(mut self, mut batches: mpsc::UnboundedReceiver<Batch>) -> Left {
        if self.rules.iter().any(rules::copies) {
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
        let Some(target) = rule.target.as_ref().filter(|_| rules::copies(rule)) else {
            return;
        };
        // What lies ready for a target is committed with any batch for it.
        let same = |other: &&Rule| other.target.as_ref() == Some(target);
        if self.rules.iter().filter(same).count() > 1 {
            return;
        }
        let touched = &self.left.touched[batch.rule];
        let copying = Copying::new(&rule.path, target, &batch.changes, touched);
        let nothing = HashMap::new();
        for (id, open) in &mut self.open {
            let known = &open.rules[batch.rule];
            if !known.current {
                continue;
            }
            let changes = batch.changes.iter();
            let changes = changes.map(|change| (change.path.clone(), change.now.clone()));
            let written = self.left.written[batch.rule].get(id);
            let written = written.unwrap_or(&nothing);
            let mut steps = steps(changes.collect(), written);
            if open
                .session
                .ahead(&copying.root, &copying.target, &mut steps)
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
    async fn work(&mut self, mut batches: Vec<Batch>) -> Vec<Batch> {
        // A new container has everything that the image was built from.
        let rebuild =
            |batch: &Batch| !batch.initial && self.rules[batch.rule].action == WatchAction::Rebuild;
        if let Some(batch) = batches.iter().find(|batch| rebuild(batch)) {
            let (began, changes) = (batch.began, &batch.changes);
            let result = self.rebuilding.run(self.ui, &self.client).await;
            self.open.clear();
            let (how, action) = ((self.ui, self.quiet), WatchAction::Rebuild);
            report::restarted(how, &self.service, action, changes, began, result);
            // It has not what was copied into the one before.
            let copied = |rule: &usize| !self.left.touched[*rule].is_empty();
            let named = |rule: &usize| batches.iter().any(|batch| batch.rule == *rule);
            let others = (0..self.rules.len()).filter(|rule| copied(rule) && !named(rule));
            let others: Vec<Batch> = others.map(Batch::of_new).collect();
            batches.extend(others);
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
            // It may take its time, or never end: nothing waits for it.
            let _ = self.commands.send(exec);
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
            self.open.clear();
            for container in self.at_rest(batch).await? {
                let first = &self.left.touched[batch.rule];
                // One after the other: each has the stack for itself.
                let number = container.number;
                let (client, stack, service) = (&self.client, &self.stack, &self.service);
                let session = session::open(client, stack, service, number, true).await?;
                let mut open = Open::new(session, self.rules.len());
                let written = self.left.written[batch.rule].entry(container.id);
                let what = (copying, batch, first);
                copied &= open.write(what, written.or_default(), &mut sum).await?;
            }
        } else {
            self.connect().await?;
            let first = &self.left.touched[batch.rule];
            let written = &mut self.left.written[batch.rule];
            for (id, open) in &mut self.open {
                if batch.is_of_new() && written.contains_key(id) {
                    continue;
                }
                let written = written.entry(id.clone()).or_default();
                let what = (copying, batch, first);
                copied &= open.write(what, written, &mut sum).await?;
            }
        }
        let rule = &self.rules[batch.rule];
        report::copied(self.ui, rule, batch, &sum, self.quiet);
        Ok(copied)
    }

    /// Opens sessions to containers that run and have none.
    async fn connect(&mut self) -> Result<(), Error> {
        let mut wanted = all(&self.client, &self.stack, &self.service).await?;
        self.left
            .retain(|id| wanted.iter().any(|container| container.id == id));
        wanted.retain(|container| container.state == State::Running);
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
        let how = (self.ui, self.quiet);
        report::restarted(how, &self.service, action, changes, began, result);
    }
}

async fn all(client: &Client, stack: &str, service: &str) -> Result<Vec<Container>, Error> {
    let mut list = containers(client, stack).await?;
    list.retain(|container| container.service == service && !container.one_off);
    Ok(list)
}

pub(super) async fn running(
    client: &Client,
    stack: &str,
    service: &str,
) -> Result<Vec<Container>, Error> {
    let mut list = all(client, stack, service).await?;
    list.retain(|container| container.state == State::Running);
    Ok(list)
}

//! What follows for one service: a task that takes batches and copies,
//! restarts and runs commands in its containers. Services do not wait for
//! each other.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use hyper::Method;
use stack_api::container::{Container, State};
use stack_api::request::{Action, ExecRequest, Up, Verb};
use stack_planner::{Rule, WatchAction, WatchExec};
use stack_protocol::sync::{Item, Kind, Outcome, Stamp};
use stack_sync::{Change, Step};
use tokio::sync::mpsc;

use super::report;
use super::session::{Session, lost};
use crate::client::Client;
use crate::context::containers;
use crate::error::Error;
use crate::ui::Ui;

/// How often it is tried whether a container runs again.
const RETRY: Duration = Duration::from_millis(500);

/// What a rule says and where it copies.
#[derive(Debug, Clone)]
pub(super) struct Copying {
    /// On the host.
    pub(super) root: PathBuf,
    /// In the container.
    pub(super) target: String,
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
    /// Builds the image and replaces the containers.
    rebuilding: Up,
    open: HashMap<String, Open>,
    /// All that was ever copied, by rule: what a new container must get.
    touched: Vec<BTreeMap<String, Option<Kind>>>,
}

/// A container that is being written to.
struct Open {
    session: Session,
    /// What was written last.
    written: Vec<HashMap<String, Stamp>>,
}

impl Worker {
    pub(super) fn new(
        ui: Ui,
        client: Client,
        stack: String,
        service: String,
        rules: Vec<Rule>,
        quiet: bool,
        rebuilding: Up,
    ) -> Worker {
        Worker {
            ui,
            client,
            stack,
            service,
            touched: vec![BTreeMap::new(); rules.len()],
            rules,
            quiet,
            rebuilding,
            open: HashMap::new(),
        }
    }

    /// Works until nobody sends batches any more.
    pub(super) async fn run(mut self, mut batches: mpsc::UnboundedReceiver<Batch>) {
        if self.rules.iter().any(|rule| rule.action.copies()) {
            // The first change shall not wait for the connection.
            let _ = self.connect().await;
        }
        while let Some(first) = batches.recv().await {
            let mut all = vec![first];
            while let Ok(next) = batches.try_recv() {
                all.push(next);
            }
            self.work(merged(all, self.rules.len())).await;
        }
    }

    /// Docker Compose's order: sync, restart, commands.
    async fn work(&mut self, batches: Vec<Batch>) {
        // A new container has everything that the image was built from.
        let rebuild = |batch: &Batch| self.rules[batch.rule].action == WatchAction::Rebuild;
        if let Some(batch) = batches.iter().find(|batch| rebuild(batch)) {
            let (began, changes) = (batch.began, &batch.changes);
            let result = super::rebuild::rebuild(self.ui, &self.client, &self.rebuilding).await;
            self.open.clear();
            let action = WatchAction::Rebuild;
            report::restarted(self.ui, &self.service, action, changes, began, result);
        }
        let mut restart = None;
        let mut commands = Vec::new();
        for batch in batches {
            let rule = self.rules[batch.rule].clone();
            let copied = match &rule.target {
                Some(target) if rule.action.copies() => {
                    let copying = Copying {
                        root: rule.path.clone(),
                        target: target.clone(),
                    };
                    self.copy(&copying, &batch).await
                }
                _ => true,
            };
            if batch.initial || !copied {
                continue;
            }
            match (rule.action, rule.exec) {
                (WatchAction::Restart | WatchAction::SyncRestart, _) => {
                    restart.get_or_insert((batch.began, rule.action, batch.changes));
                }
                (WatchAction::SyncExec, Some(exec)) => commands.push(exec),
                _ => {}
            }
        }
        if let Some((began, action, changes)) = restart {
            self.restart(began, action, &changes).await;
        }
        for exec in commands {
            self.command(&exec).await;
        }
    }

    /// Copies into every container that runs; waits until there is one.
    async fn copy(&mut self, copying: &Copying, batch: &Batch) -> bool {
        for change in &batch.changes {
            self.touched[batch.rule].insert(change.path.clone(), change.now.clone());
        }
        let mut told = false;
        loop {
            match self.copy_once(copying, batch).await {
                Ok(()) => return true,
                Err(error) => {
                    self.open.clear();
                    if !told {
                        report::waiting(self.ui, &self.service, &error, batch.changes.len());
                        told = true;
                    }
                }
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn copy_once(&mut self, copying: &Copying, batch: &Batch) -> Result<(), Error> {
        let fresh = self.connect().await?;
        let mut sum = Outcome::default();
        for (id, open) in &mut self.open {
            let written = &mut open.written[batch.rule];
            let mut changes: Vec<(String, Option<Kind>)> = batch
                .changes
                .iter()
                .map(|change| (change.path.clone(), change.now.clone()))
                .collect();
            let is_fresh = fresh.contains(id);
            if is_fresh {
                let touched = &self.touched[batch.rule];
                changes = touched
                    .iter()
                    .map(|(p, k)| (p.clone(), k.clone()))
                    .collect();
            }
            if batch.initial || is_fresh {
                changes = without_same(&mut open.session, copying, changes).await?;
            }
            let mut steps: Vec<Step> = changes
                .into_iter()
                .map(|(path, now)| Step {
                    expected: written.get(&path).copied(),
                    path,
                    now,
                })
                .collect();
            if steps.is_empty() {
                continue;
            }
            let outcome = open
                .session
                .apply(&copying.root, &copying.target, &mut steps)
                .await
                .map_err(lost)?;
            for step in steps {
                match step.now {
                    Some(Kind::File { stamp, .. }) => drop(written.insert(step.path, stamp)),
                    _ => drop(written.remove(&step.path)),
                }
            }
            sum.written = sum.written.max(outcome.written);
            sum.removed = sum.removed.max(outcome.removed);
            sum.conflicts.extend(outcome.conflicts);
            sum.failures.extend(outcome.failures);
        }
        let rule = &self.rules[batch.rule];
        report::copied(self.ui, rule, batch, &sum, self.quiet);
        Ok(())
    }

    /// Opens sessions to containers that have none; gives the ids of those.
    async fn connect(&mut self) -> Result<Vec<String>, Error> {
        let running = running(&self.client, &self.stack, &self.service).await?;
        if running.is_empty() {
            return Err(Error::Lost(format!("{} does not run", self.service)));
        }
        self.open
            .retain(|id, _| running.iter().any(|container| container.id == *id));
        let mut fresh = Vec::new();
        for container in running {
            if self.open.contains_key(&container.id) {
                continue;
            }
            let (client, stack) = (&self.client, &self.stack);
            let session =
                super::session::open(client, stack, &self.service, container.number).await?;
            let written = vec![HashMap::new(); self.rules.len()];
            self.open
                .insert(container.id.clone(), Open { session, written });
            fresh.push(container.id);
        }
        Ok(fresh)
    }

    async fn restart(&mut self, began: Instant, action: WatchAction, changes: &[Change]) {
        let request = Action {
            verb: Verb::Restart,
            services: vec![self.service.clone()],
            ..Action::default()
        };
        let path = format!("/v1/stacks/{}/action", self.stack);
        let result = async {
            let mut events = self.client.events(Method::POST, &path, &request).await?;
            super::until_done(&mut events).await
        };
        let result = result.await;
        self.open.clear();
        report::restarted(self.ui, &self.service, action, changes, began, result);
    }

    async fn command(&mut self, exec: &WatchExec) {
        let numbers: Vec<u32> = match running(&self.client, &self.stack, &self.service).await {
            Ok(list) => list.iter().map(|container| container.number).collect(),
            Err(error) => return report::command_failed(self.ui, &self.service, exec, &error),
        };
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

async fn running(client: &Client, stack: &str, service: &str) -> Result<Vec<Container>, Error> {
    let mut list = containers(client, stack).await?;
    list.retain(|container| container.service == service && container.state == State::Running);
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
                let newer: std::collections::HashSet<&str> = batch
                    .changes
                    .iter()
                    .map(|change| change.path.as_str())
                    .collect();
                first
                    .changes
                    .retain(|change| !newer.contains(change.path.as_str()));
                first.changes.extend(batch.changes);
                first.initial &= batch.initial;
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
}

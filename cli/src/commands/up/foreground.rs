//! `up` without `-d`: logs until the user has seen enough, or nothing runs.
//!
//! ```text
//! following ──Ctrl-C──► stopping ──Ctrl-C──► killing ──► end (130)
//!     │  └── a container ends, --abort-on-container-exit ──► stopping ──► end (its code)
//!     ├───── d ──► end (0), the services go on
//!     └───── nothing runs any more of what is watched ──► end (0)
//! ```

mod watch;

use std::collections::BTreeSet;

use hyper::Method;
use stack_api::container::Container;
use stack_api::request::{Action, Verb};
use stack_planner::Project;

use super::menu::Menu;
use crate::client::Client;
use crate::context::{Context, containers};
use crate::error::Error;
use crate::exit;
use crate::interrupt::Interrupts;
use crate::logs::Look;
use crate::progress::{Mode, Progress};
use watch::End;
pub(super) use watch::Watch;

/// What stops everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Abort {
    /// Only Ctrl-C.
    Never,
    /// The end of any container that is watched, unless it has done what others wait for.
    AnyEnd,
    /// Its end with another code than 0.
    Failure,
}

/// What the foreground watches.
#[derive(Debug)]
pub(super) struct Foreground<'a> {
    /// Where the services are written.
    pub(super) project: &'a Project,
    /// Name of the stack.
    pub(super) stack: String,
    /// Services whose logs are shown.
    pub(super) attached: Vec<String>,
    /// Services whose ends count: those that were named, or else whose logs are
    /// shown.
    pub(super) watched: Vec<String>,
    /// Services that were started, and are stopped at the end.
    pub(super) started: Vec<String>,
    /// Services that others wait for to be done: that they are ends nothing.
    pub(super) jobs: BTreeSet<String>,
    /// When all is stopped.
    pub(super) abort: Abort,
    /// The service whose exit code is ours.
    pub(super) exit_code_from: Option<String>,
    /// Seconds of grace.
    pub(super) timeout: Option<u64>,
    /// How lines are shown.
    pub(super) look: Look,
}

impl Foreground<'_> {
    /// Shows logs until the end; gives the exit code.
    ///
    /// # Errors
    /// The daemon goes away, or something cannot be stopped.
    pub(super) async fn watch(
        &self,
        context: &Context,
        client: &Client,
        mut watch: Watch<'_>,
        interrupts: &mut Interrupts,
        menu: &mut Option<Menu>,
    ) -> Result<u8, Error> {
        let otherwise = match watch.follow(interrupts, menu).await? {
            End::Over => return Ok(exit::OK),
            End::Detached => {
                context.ui.note("the services go on in the background");
                return Ok(exit::OK);
            }
            End::Aborted { by } => {
                let place = self.project.service_line(&by.service);
                context.global.annotate.ended(&by, place);
                let (name, code) = (&by.name, by.code);
                let note = format!("{name} ended with {code}, so all is stopped");
                context.ui.note(&note);
                exit::clamp(by.code)
            }
            End::Interrupted => exit::INTERRUPTED,
        };
        watch
            .while_stopping(self.stop(context, client, interrupts))
            .await?;
        let Some(service) = &self.exit_code_from else {
            return Ok(otherwise);
        };
        if let Some(code) = watch.code() {
            return Ok(code);
        }
        let list = self.ours(containers(client, &self.stack).await?);
        let chosen = list.iter().find(|container| container.service == *service);
        Ok(chosen
            .and_then(|container| container.exit_code)
            // What has not run is no success.
            .map_or(otherwise.max(exit::FAILURE), exit::clamp))
    }

    /// Stops what was started; another Ctrl-C kills it.
    ///
    /// # Errors
    /// It cannot be stopped.
    pub(super) async fn stop(
        &self,
        context: &Context,
        client: &Client,
        interrupts: &mut Interrupts,
    ) -> Result<(), Error> {
        context.ui.note("stopping … (Ctrl-C again kills)");
        // Services that got no container yet are unknown to the daemon.
        let existing = self.ours(containers(client, &self.stack).await?);
        let mut services = self.started.clone();
        services.retain(|name| existing.iter().any(|container| container.service == *name));
        if services.is_empty() {
            return Ok(());
        }
        let action = Action {
            services,
            replicas: true,
            timeout: self.timeout,
            ..Action::default()
        };
        let stop = Action {
            verb: Verb::Stop,
            ..action.clone()
        };
        match self.act(context, client, &stop, interrupts).await {
            Err(Error::Interrupted) => {}
            stopped => return stopped,
        }
        context.ui.note("killing …");
        let kill = Action {
            verb: Verb::Kill,
            ..action
        };
        self.act(context, client, &kill, interrupts).await
    }

    async fn act(
        &self,
        context: &Context,
        client: &Client,
        action: &Action,
        interrupts: &mut Interrupts,
    ) -> Result<(), Error> {
        // Live lines would be torn apart by the logs that are still shown.
        let mode = match context.global.progress {
            Mode::Auto | Mode::Tty => Mode::Plain,
            mode @ (Mode::Plain | Mode::Json | Mode::Quiet) => mode,
        };
        let path = format!("/v1/stacks/{}/action", self.stack);
        let events = client.events(Method::POST, &path, action).await?;
        Progress::new(context.ui, mode)
            .follow(events, interrupts)
            .await
            .map(drop)
    }

    /// What somebody started with `run`, perhaps for a shell, is not.
    fn ours(&self, mut list: Vec<Container>) -> Vec<Container> {
        list.retain(|one| !one.one_off && self.started.contains(&one.service));
        list
    }
}

//! `stack watch`

use std::io::{self, BufRead, IsTerminal};

use hyper::Method;
use stack_api::request;
use stack_api::spec::StackSpec;
use stack_planner::Project;
use stack_planner::plan::Plan;

use crate::client::Client;
use crate::context::Context;
use crate::error::Error;
use crate::exit;
use crate::interrupt::Interrupts;
use crate::progress::Progress;
use crate::project::lock::LockUse;
use crate::ui;
use crate::watch::{Alone, Watching};

/// Copy changed files into the services, restart them, run commands
///
/// What follows a change is said by the services' `develop.watch`. Starts the
/// stack first. When a stack file itself changes, what `stack up` would do is
/// shown, and done after a yes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: start everything, then keep the services up to date\n  \
                  stack watch"
)]
pub(crate) struct Watch {
    /// Services to watch, with all that they depend on (default: all)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,

    /// Do not start the services first
    #[arg(long)]
    no_up: bool,

    /// Apply changes of stack files without asking
    #[arg(long)]
    apply: bool,

    /// Say only what went wrong
    #[arg(long)]
    quiet: bool,

    /// Remove the images that a rebuild has replaced, unless something needs
    /// them (default: true)
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    prune: Option<bool>,
}

impl Watch {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let (mut spec, mut project) = context.spec_and_project(&self.services, LockUse::Advise)?;
        let alone = Alone::with(&spec.name)?;
        let client = context.client().await?;
        let mut interrupts = Interrupts::take()?;
        if !self.no_up {
            let mut request = self.request(&spec, &project);
            // What was changed while nobody watched is in no image yet.
            for rule in project.watch_rules() {
                if let Some(build) = request.builds.get_mut(&rule.service) {
                    build.always = true;
                }
            }
            self.up(context, &client, &request, &mut interrupts).await?;
        }
        let mut before: Option<Watching> = None;
        loop {
            let mut watching = Watching::new(
                context.ui,
                client.clone(),
                &project,
                &self.request(&spec, &project),
                (self.quiet, self.prune.unwrap_or(true)),
                alone.clone(),
            )?;
            if let Some(before) = before.take() {
                watching.go_on_from(before);
            }
            tokio::select! {
                changed = watching.until_files_change() => changed?,
                () = interrupts.next() => return Ok(exit::OK),
            }
            before = Some(watching);
            (spec, project) = match context.spec_and_project(&self.services, LockUse::Advise) {
                Ok(new) => new,
                // What is wrong has been shown; the old rules hold until it
                // is right.
                Err(Error::BadFile) => {
                    context.ui.note("the old stack file stays in force");
                    (spec, project)
                }
                Err(error) => return Err(error),
            };
            self.converge(context, &client, &spec, &project, &mut interrupts)
                .await?;
        }
    }

    async fn up(
        &self,
        context: &Context,
        client: &Client,
        request: &request::Up,
        interrupts: &mut Interrupts,
    ) -> Result<(), Error> {
        let path = format!("/v1/stacks/{}", request.spec.name);
        let events = client.events(Method::PUT, &path, request).await?;
        Progress::new(context.ui, context.global.progress)
            .follow(events, interrupts)
            .await?;
        Ok(())
    }

    fn request(&self, spec: &StackSpec, project: &Project) -> request::Up {
        request::Up {
            spec: spec.clone(),
            builds: crate::builds::of(project),
            services: self.services.clone(),
            ..request::Up::default()
        }
    }

    /// Shows what the changed stack file asks for, and does it on a yes.
    async fn converge(
        &self,
        context: &Context,
        client: &Client,
        spec: &StackSpec,
        project: &Project,
        interrupts: &mut Interrupts,
    ) -> Result<(), Error> {
        let path = format!("/v1/stacks/{}/plan", spec.name);
        let request = self.request(spec, project);
        let mut plan: Plan = client.call(&path, &request).await?;
        if plan.is_empty() {
            context.ui.note("the stack file changed, nothing to do");
            return Ok(());
        }
        plan.locate(project);
        super::plan::print(context, &plan)?;
        if !self.apply && !asked("apply this?").await {
            context.ui.note("not applied: `stack up -d` does it");
            return Ok(());
        }
        match self.up(context, client, &request, interrupts).await {
            Err(error @ (Error::Interrupted | Error::Lost(_))) => Err(error),
            Err(error) => {
                crate::project::diagnostics::failure(
                    context.ui,
                    context.global.diagnostics,
                    &error,
                );
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}

/// Nobody is there to ask: no.
async fn asked(question: &str) -> bool {
    if !io::stdin().is_terminal() {
        return false;
    }
    ui::say(format_args!("{question} [y/N]"));
    let (to, from) = tokio::sync::oneshot::channel();
    // It may block for ever, which must not keep this process alive.
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = io::stdin().lock().read_line(&mut line);
        let yes = matches!(line.trim(), "y" | "Y" | "yes");
        let _ = to.send(read.is_ok() && yes);
    });
    from.await.unwrap_or(false)
}

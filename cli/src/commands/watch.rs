//! `stack watch`

use std::collections::BTreeMap;
use std::io::{self, BufRead, IsTerminal};

use hyper::Method;
use stack_api::build::BuildSpec;
use stack_api::request;
use stack_api::spec::StackSpec;
use stack_planner::Project;
use stack_planner::plan::Plan;
use tokio::sync::mpsc;

use crate::client::Client;
use crate::context::Context;
use crate::error::Error;
use crate::exit;
use crate::interrupt::Interrupts;
use crate::progress::Progress;
use crate::project::diagnostics;
use crate::project::lock::LockUse;
use crate::ui;
use crate::watch::{Alone, StackFiles, Watching};

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
        let (loaded, paths) = context.spec_and_files(&self.services, LockUse::Advise);
        let files = StackFiles::new(paths);
        let (spec, project) = loaded?;
        let alone = Alone::with(&spec.name)?;
        let client = context.client().await?;
        let mut interrupts = Interrupts::take()?;
        let request = self.request(&spec, &project);
        if !self.no_up {
            let mut request = request.clone();
            // What was changed while nobody watched is in no image yet.
            for rule in project.watch_rules() {
                if let Some(build) = request.builds.get_mut(&rule.service) {
                    build.always = true;
                }
            }
            self.up(context, &client, &request, &mut interrupts).await?;
        }
        let how = (self.quiet, self.prune.unwrap_or(true));
        let files = (&project, files);
        let mut watching = Watching::new(context.ui, client.clone(), files, &request, how, alone)?;
        let mut in_force = request.builds;
        let mut answers = Answers::default();
        // What was asked about: watching goes on until there is an answer.
        let mut open: Option<request::Up> = None;
        loop {
            let answer = answers.next(open.is_some());
            let yes = tokio::select! {
                ended = watching.until_files_change(answer) => ended?,
                () = interrupts.next() => return Ok(exit::OK),
            };
            let wanted = match (yes, open.take()) {
                (Some(true), asked) => asked,
                (Some(false), _) => {
                    context.ui.note("not applied: `stack up -d` does it");
                    None
                }
                (None, _) => {
                    let new = self.reload(context, &client, &in_force, &mut watching);
                    let Some((request, project)) = new else {
                        continue;
                    };
                    match self.plan(context, &client, &request, &project).await {
                        Ok(false) => {
                            in_force = request.builds;
                            watching.build_as(in_force.clone());
                            None
                        }
                        Ok(true) if self.apply => Some(request),
                        Ok(true) => {
                            open = answers.ask("apply this?").then_some(request);
                            if open.is_none() {
                                context.ui.note("not applied: `stack up -d` does it");
                            }
                            None
                        }
                        Err(error) => {
                            told(context, error)?;
                            None
                        }
                    }
                }
            };
            if let Some(request) = wanted {
                match self.up(context, &client, &request, &mut interrupts).await {
                    Err(error) => told(context, error)?,
                    Ok(()) => {
                        in_force = request.builds;
                        watching.build_as(in_force.clone());
                    }
                }
            }
        }
    }

    /// Reads the stack files again, and follows the new rules from now on. What is
    /// wrong is shown, and the old ones hold until it is right.
    fn reload(
        &self,
        context: &Context,
        client: &Client,
        in_force: &BTreeMap<String, BuildSpec>,
        watching: &mut Watching,
    ) -> Option<(request::Up, Project)> {
        let (loaded, paths) = context.spec_and_files(&self.services, LockUse::Advise);
        let files = StackFiles::new(paths);
        let (spec, project) = match loaded {
            Ok(new) => new,
            Err(error) => {
                failure(context, &error);
                context.ui.note("the old stack file stays in force");
                watching.look_at(files);
                return None;
            }
        };
        let request = self.request(&spec, &project);
        // As long as it is not applied, a rebuild is one of what runs.
        let mut of_rebuilds = request.clone();
        of_rebuilds.builds.extend(in_force.clone());
        let how = (self.quiet, self.prune.unwrap_or(true));
        let made = Watching::new(
            context.ui,
            client.clone(),
            (&project, files.clone()),
            &of_rebuilds,
            how,
            watching.alone(),
        );
        match made {
            Ok(new) => {
                let before = std::mem::replace(watching, new);
                watching.go_on_from(before);
            }
            Err(error) => {
                failure(context, &error);
                context.ui.note("the old rules stay in force");
                watching.look_at(files);
            }
        }
        Some((request, project))
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

    /// Shows what the changed stack file asks for; `false`: nothing.
    async fn plan(
        &self,
        context: &Context,
        client: &Client,
        request: &request::Up,
        project: &Project,
    ) -> Result<bool, Error> {
        let path = format!("/v1/stacks/{}/plan", request.spec.name);
        let mut plan: Plan = client.call(&path, request).await?;
        if plan.is_empty() {
            context.ui.note("the stack file changed, nothing to do");
            return Ok(false);
        }
        plan.locate(project);
        super::plan::print(context, &plan)?;
        Ok(true)
    }
}

/// Shows an error that is not the end of watching.
///
/// # Errors
/// It is.
fn told(context: &Context, error: Error) -> Result<(), Error> {
    if matches!(
        error,
        Error::Interrupted | Error::Lost(_) | Error::Unreachable { .. }
    ) {
        return Err(error);
    }
    failure(context, &error);
    Ok(())
}

fn failure(context: &Context, error: &Error) {
    if !error.is_silent() {
        diagnostics::failure(context.ui, context.global.diagnostics, error);
    }
}

/// Lines from the terminal, as answers to questions.
#[derive(Debug, Default)]
struct Answers {
    lines: Option<mpsc::UnboundedReceiver<String>>,
}

impl Answers {
    /// Asks; `false`: nobody is there to answer.
    fn ask(&mut self, question: &str) -> bool {
        if !io::stdin().is_terminal() {
            return false;
        }
        let lines = self.lines.get_or_insert_with(lines);
        // What was typed before is no answer.
        while lines.try_recv().is_ok() {}
        ui::say(format_args!("{question} [y/N]"));
        true
    }

    /// Is it a yes? Without a question there is no answer. Cancel-safe.
    async fn next(&mut self, is_asked: bool) -> bool {
        match &mut self.lines {
            Some(lines) if is_asked => {
                let line = lines.recv().await.unwrap_or_default();
                matches!(line.trim(), "y" | "Y" | "yes")
            }
            _ => std::future::pending().await,
        }
    }
}

fn lines() -> mpsc::UnboundedReceiver<String> {
    let (to, from) = mpsc::unbounded_channel();
    // It may block for ever, which must not keep this process alive.
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if to.send(line).is_err() {
                return;
            }
        }
    });
    from
}

//! `stack up`

mod culprit;
mod foreground;
mod menu;
mod watching;

use std::collections::{BTreeMap, BTreeSet};

use clap::ValueEnum;
use hyper::Method;
use jiff::SignedDuration;
use stack_api::build::BuildWhen;
use stack_api::event::ApiError;
use stack_api::request;
use stack_api::spec::{Condition, PullPolicy, StackSpec};
use stack_planner::Project;
use stack_planner::plan::Plan;
use tokio::sync::watch;

use crate::context::Context;
use crate::error::Error;
use crate::interrupt::Interrupts;
use crate::logs::Look;
use crate::progress::{Progress, Summary};
use crate::project::lock::LockUse;
use crate::ui::{human, palette};
use crate::watch::StackFiles;
use crate::{exit, terminal, ui};
use foreground::{Abort, Foreground, Watch};
use menu::Menu;
use watching::Watcher;

/// Create and start the services of a stack
///
/// What runs already and has not changed is left alone. Without -d the logs
/// are shown until Ctrl-C, which stops the services; a second Ctrl-C kills
/// them.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: start everything and come back when it is healthy\n  \
                  stack up -d --wait\n\n\
                  Example: one service and what it needs, three of it\n  \
                  stack up --scale worker=3 worker"
)]
pub(crate) struct Up {
    /// Services to start, with all that they depend on (default: all)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,

    /// Leave the services running in the background
    #[arg(short, long)]
    detach: bool,

    /// Wait until all run and are healthy (implies -d)
    #[arg(long, conflicts_with_all = ["abort_on_container_exit", "abort_on_container_failure", "exit_code_from", "attach"])]
    wait: bool,

    /// How long to wait at most: seconds, or a time such as 1m30s
    #[arg(long, value_name = "TIME", requires = "wait", value_parser = seconds)]
    wait_timeout: Option<u64>,

    /// Leave alone what the services depend on
    #[arg(long)]
    no_deps: bool,

    /// New containers even when nothing changed
    #[arg(long, conflicts_with = "no_recreate")]
    force_recreate: bool,

    /// New containers for what the services depend on, even when nothing
    /// changed
    #[arg(long, conflicts_with = "no_recreate")]
    always_recreate_deps: bool,

    /// No new containers even when something changed
    #[arg(long)]
    no_recreate: bool,

    /// Create containers, but do not start them
    #[arg(long, conflicts_with = "wait")]
    no_start: bool,

    /// When to pull images: always, missing or never (default: as in the file)
    #[arg(long, value_enum, value_name = "WHEN", hide_possible_values = true)]
    pull: Option<Pull>,

    /// Build images first, also those that are there
    #[arg(long, conflicts_with = "no_build")]
    build: bool,

    /// Build nothing, also what is not there
    #[arg(long)]
    no_build: bool,

    /// Refuse when stack.lock does not have every image of the file, or others
    #[arg(long)]
    locked: bool,

    /// Containers of a service, instead of what the file says
    #[arg(long, value_name = "SERVICE=N", value_parser = scale)]
    scale: Vec<(String, u32)>,

    /// Remove containers of services that are not in the file
    /// [env: COMPOSE_REMOVE_ORPHANS]
    #[arg(long)]
    remove_orphans: bool,

    /// Only show what would be done, as `stack plan` does
    #[arg(long, conflicts_with_all = ["wait", "abort_on_container_exit", "abort_on_container_failure", "exit_code_from", "attach"])]
    dry_run: bool,

    /// Fresh anonymous volumes for new containers, instead of those of the
    /// old ones
    #[arg(short = 'V', long, conflicts_with = "no_recreate")]
    renew_anon_volumes: bool,

    /// Seconds to let old containers end by themselves
    #[arg(short, long, value_name = "SECONDS")]
    timeout: Option<u64>,

    /// Do not show how pulling images gets on
    #[arg(long)]
    quiet_pull: bool,

    /// Do not show what builds say
    #[arg(long)]
    quiet_build: bool,

    /// Do not ask; this is always so, the option is for scripts
    #[arg(short, long)]
    yes: bool,

    /// Stop all when one container ends, with its exit code; not when one
    /// completes that others depend on for that
    #[arg(long, conflicts_with = "detach")]
    abort_on_container_exit: bool,

    /// Stop all when one container ends badly, with its exit code
    #[arg(long, conflicts_with = "detach")]
    abort_on_container_failure: bool,

    /// End with the exit code of this service (implies
    /// --abort-on-container-exit)
    #[arg(long, value_name = "SERVICE", conflicts_with = "detach")]
    exit_code_from: Option<String>,

    /// Show only the logs of these services
    #[arg(long, value_name = "SERVICE", conflicts_with = "detach")]
    attach: Vec<String>,

    /// Show the logs of what the services depend on as well
    #[arg(long, conflicts_with_all = ["detach", "attach"])]
    attach_dependencies: bool,

    /// Do not show the logs of these services
    #[arg(long, value_name = "SERVICE")]
    no_attach: Vec<String>,

    /// No colours in the logs
    #[arg(long)]
    no_color: bool,

    /// Copy changed files into the services, as `stack watch` does
    #[arg(short, long, conflicts_with_all = ["detach", "wait", "no_start", "dry_run"])]
    watch: bool,

    /// Keys on a terminal: w watches files, d leaves the services running;
    /// this is the default [env: COMPOSE_MENU]
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        conflicts_with = "detach"
    )]
    menu: Option<bool>,

    /// Do not say which container a line is from
    #[arg(long)]
    no_log_prefix: bool,

    /// Say when each line was written
    #[arg(long)]
    timestamps: bool,
}

/// `--pull`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Pull {
    /// Every time.
    Always,
    /// What is not there.
    #[value(alias = "if_not_present")]
    Missing,
    /// Nothing.
    Never,
    /// What is not there, and what can be built is built.
    #[value(hide = true)]
    Build,
}

impl Pull {
    /// `--pull build`.
    pub(super) fn builds(pull: Option<Pull>) -> bool {
        pull == Some(Pull::Build)
    }

    pub(super) fn policy(self) -> PullPolicy {
        match self {
            Pull::Always => PullPolicy::Always,
            Pull::Missing | Pull::Build => PullPolicy::Missing,
            Pull::Never => PullPolicy::Never,
        }
    }
}

impl Up {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let lock = match self.locked {
            true => LockUse::Demand,
            false => LockUse::Advise,
        };
        let (loaded, paths) = context.spec_and_files(&self.services, lock);
        let files = StackFiles::new(paths);
        let (spec, project) = loaded?;
        if spec.services.is_empty() {
            return Err(nothing_enabled(&project));
        }
        if self.dry_run {
            return self.show_plan(context, spec, &project).await;
        }
        let detached = self.detach || self.wait || self.no_start;
        let foreground = if detached {
            None
        } else {
            Some(self.foreground(context, &spec, &project)?)
        };
        let request = self.request(spec, &project, context)?;
        crate::builds::check(context, &project, &request)?;
        let client = context.client().await?;
        let name = request.spec.name.clone();
        let path = format!("/v1/stacks/{name}");
        let watcher = Watcher {
            context,
            client: &client,
            lock,
            started: &request,
        };
        let watching = match self.watch {
            true => Some(watcher.first(&project, files)?),
            false => None,
        };
        let menu = !detached && self.menu(context)?;
        let mut interrupts = Interrupts::take()?;
        let mut progress = Progress::new(context.ui, context.global.progress);
        if self.quiet_pull {
            progress = progress.without_pulls();
        }
        if self.quiet_build {
            progress = progress.without_builds();
        }
        let mut shown = None;
        if let Some(foreground) = &foreground {
            // Before the start, which may never end because a container does.
            let watch = Watch::new(foreground, &client, progress.screen()).await?;
            shown = Some((foreground, watch));
        }
        let events = client.events(Method::PUT, &path, &request).await?;
        let start = progress.follow(events, &mut interrupts);
        let result = match &mut shown {
            Some((_, watch)) => watch.while_starting(start).await,
            None => start.await.map(Some),
        };
        match (result, shown) {
            (Ok(summary), None) => {
                let done = summary.iter();
                done.for_each(|summary| self.say_done(context, &name, summary));
                Ok(exit::OK)
            }
            (Ok(started), Some((foreground, watch))) => {
                let on = watch::Sender::new(self.watch);
                let mut menu = match menu && started.is_some() {
                    true => Menu::open(context.ui, on.clone()),
                    false => None,
                };
                let shown = foreground.watch(context, &client, watch, &mut interrupts, &mut menu);
                tokio::select! {
                    code = shown => code,
                    never = watcher.when_wanted(watching, &on) => match never {},
                }
            }
            // Somebody waits for the logs and wants it to end: nothing of it
            // shall go on in the background.
            (Err(Error::Interrupted), Some((foreground, mut watch))) => {
                let stop = foreground.stop(context, &client, &mut interrupts);
                watch.while_stopping(stop).await?;
                Err(Error::Interrupted)
            }
            (Err(error), _) => {
                let error = culprit::located(error, &request.spec, &project);
                culprit::show_last_lines(context, &client, &request.spec, &project, &error).await;
                Err(error)
            }
        }
    }

    /// Keys are taken.
    fn menu(&self, context: &Context) -> Result<bool, Error> {
        Ok(match self.menu {
            Some(wanted) => wanted,
            None => terminal::is_interactive() && context.is_not_denied("COMPOSE_MENU")?,
        })
    }

    async fn show_plan(
        &self,
        context: &Context,
        spec: StackSpec,
        project: &Project,
    ) -> Result<u8, Error> {
        let request = self.request(spec, project, context)?;
        let client = context.client().await?;
        let path = format!("/v1/stacks/{}/plan", request.spec.name);
        let mut plan: Plan = client.call(&path, &request).await?;
        plan.locate(project);
        super::plan::print(context, &plan)?;
        Ok(exit::OK)
    }

    fn say_done(&self, context: &Context, name: &str, summary: &Summary) {
        let paint = context.ui.err;
        let state = match (self.no_start, self.wait) {
            (true, _) => "created",
            (false, true) => "up and ready",
            (false, false) => "up",
        };
        let count = human::count(summary.that_stay(), "container");
        let details = format!("{count}, {}", human::took(summary.took_ms));
        ui::say(format_args!(
            "{} is {} {}",
            paint.paint(palette::STRONG, name),
            paint.paint(palette::GOOD, state),
            paint.paint(palette::DIM, format_args!("({details})"))
        ));
    }

    fn request(
        &self,
        spec: StackSpec,
        project: &Project,
        context: &Context,
    ) -> Result<request::Up, Error> {
        let remove_orphans = self.remove_orphans || context.is_set("COMPOSE_REMOVE_ORPHANS")?;
        let ignore_orphans = context.is_set("COMPOSE_IGNORE_ORPHANS")?;
        if remove_orphans && ignore_orphans {
            return Err(Error::usage(
                "orphans cannot be both removed and ignored",
                "leave out --remove-orphans, or unset COMPOSE_IGNORE_ORPHANS",
            ));
        }
        Ok(request::Up {
            spec,
            services: self.services.clone(),
            no_deps: self.no_deps,
            force_recreate: self.force_recreate,
            always_recreate_deps: self.always_recreate_deps,
            no_recreate: self.no_recreate,
            no_start: self.no_start,
            pull: self.pull.map(Pull::policy),
            scale: self.scale.iter().cloned().collect::<BTreeMap<_, _>>(),
            renew_anon_volumes: self.renew_anon_volumes,
            remove_orphans,
            ignore_orphans,
            timeout: self.timeout,
            wait: self.wait,
            wait_timeout: self.wait_timeout,
            builds: crate::builds::of(project),
            build: build_when(self.build || Pull::builds(self.pull), self.no_build),
            ..request::Up::default()
        })
    }

    /// Services that one of the started ones waits for to be done; not the one whose exit
    /// code is asked for.
    fn jobs(&self, spec: &StackSpec, started: &[String]) -> BTreeSet<String> {
        let waiting = started.iter().filter_map(|name| spec.services.get(name));
        let needs = waiting.flat_map(|service| &service.depends_on);
        needs
            .filter(|(_, how)| how.condition == Condition::ServiceCompletedSuccessfully)
            .map(|(name, _)| name.clone())
            .filter(|name| Some(name) != self.exit_code_from.as_ref())
            .collect()
    }

    /// What the foreground watches, by what was asked for.
    fn foreground<'a>(
        &self,
        context: &Context,
        spec: &StackSpec,
        project: &'a Project,
    ) -> Result<Foreground<'a>, Error> {
        let select = |names: &[String], deps: bool| {
            stack_planner::plan::select(&spec.services, names, deps)
                .map_err(|error| Error::usage(error.to_string(), context.known(&error.known)))
        };
        let started = select(&self.services, !self.no_deps)?;
        let named = self
            .attach
            .iter()
            .chain(&self.no_attach)
            .chain(&self.exit_code_from);
        select(&named.cloned().collect::<Vec<_>>(), false)?;
        // As in Compose: logs of what was named, not of what that needs.
        let named_only = !self.services.is_empty() && !self.attach_dependencies;
        let quiet = |name: &String| {
            let service = spec.services.get(name);
            service.is_some_and(|service| service.attach == Some(false))
        };
        let heard = |names: &mut dyn Iterator<Item = &String>| -> Vec<String> {
            names.filter(|name| !quiet(name)).cloned().collect()
        };
        let attached: Vec<String> = match (self.attach.is_empty(), named_only) {
            (false, _) => self.attach.clone(),
            (true, true) => heard(&mut self.services.iter()),
            (true, false) => heard(&mut started.iter()),
        };
        let attached: Vec<String> = attached
            .into_iter()
            .filter(|s| !self.no_attach.contains(s))
            .collect();
        let started: Vec<String> = started.into_iter().collect();
        // As in Compose: the end of what they only need is not the end.
        let watched = [&self.services, &attached, &started];
        let watched = watched.into_iter().find(|list| !list.is_empty());
        let watched = watched.into_iter().flatten().chain(&self.exit_code_from);
        Ok(Foreground {
            jobs: self.jobs(spec, &started),
            project,
            stack: spec.name.clone(),
            watched: watched.cloned().collect(),
            attached,
            started,
            abort: match (self.abort_on_container_failure, &self.exit_code_from) {
                _ if self.abort_on_container_exit => Abort::AnyEnd,
                (true, _) => Abort::Failure,
                (false, Some(_)) => Abort::AnyEnd,
                (false, None) => Abort::Never,
            },
            exit_code_from: self.exit_code_from.clone(),
            timeout: self.timeout,
            look: Look {
                prefix: !self.no_log_prefix,
                timestamps: self.timestamps,
                ..Look::new(context.ui, !self.no_color)
            },
        })
    }
}

/// As Docker Compose: a mistyped profile is no success.
fn nothing_enabled(project: &Project) -> Error {
    let help = match project.profiles().as_slice() {
        [] => "write some under `services` in the stack file".to_owned(),
        profiles => format!(
            "enable one with `--profile`: {}; or name a service",
            profiles.join(", ")
        ),
    };
    let message = format!("no service of {} is enabled", project.name());
    ApiError::new("no_service", message).help(help).into()
}

/// `SERVICE=N`.
pub(super) fn scale(text: &str) -> Result<(String, u32), String> {
    let parsed = text
        .split_once('=')
        .and_then(|(service, n)| Some((service, n.parse().ok()?)));
    match parsed {
        Some((service, n)) if !service.is_empty() => Ok((service.to_owned(), n)),
        _ => Err("SERVICE=N, e.g. worker=3".to_owned()),
    }
}

/// Seconds, or a duration; parts of a second count as one.
pub(super) fn seconds(text: &str) -> Result<u64, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    let whole = text.parse::<SignedDuration>().ok().and_then(|time| {
        let more = i64::from(time.subsec_nanos() > 0);
        u64::try_from(time.as_secs() + more).ok()
    });
    whole.ok_or_else(|| "seconds, or a time such as 1m30s".to_owned())
}

/// `--build` and `--no-build`.
pub(super) fn build_when(build: bool, no_build: bool) -> Option<BuildWhen> {
    match (build, no_build) {
        (true, _) => Some(BuildWhen::Always),
        (false, true) => Some(BuildWhen::Never),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales() {
        assert_eq!(scale("web=3"), Ok(("web".to_owned(), 3)));
        assert!(scale("web").is_err());
        assert!(scale("=3").is_err());
        assert!(scale("web=-1").is_err());
    }

    #[test]
    fn times_to_wait() {
        assert_eq!(seconds("60"), Ok(60));
        assert_eq!(seconds("60s"), Ok(60));
        assert_eq!(seconds("1m30s"), Ok(90));
        assert_eq!(seconds("1500ms"), Ok(2));
        assert!(seconds("soon").is_err() && seconds("-5s").is_err());
    }
}

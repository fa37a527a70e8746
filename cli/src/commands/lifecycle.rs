//! `stack start`, `stop`, `restart`, `kill`, `rm`, `pause` and `unpause`:
//! one call of the daemon, seven sets of options.

use std::collections::BTreeSet;

use stack_api::container::Container;
use stack_api::event::ApiError;
use stack_api::request::{Action, Verb};

use super::Services;
use super::up::seconds;
use crate::context::{Context, containers};
use crate::error::Error;
use crate::exit;
use crate::ui::human;

/// Start containers that exist
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: start again what was stopped\n  stack start")]
pub(crate) struct Start {
    #[command(flatten)]
    services: Services,
    /// Wait until all run and are healthy
    #[arg(long)]
    wait: bool,
    /// How long to wait at most: seconds, or a time such as 1m30s
    #[arg(long, value_name = "TIME", requires = "wait", value_parser = seconds)]
    wait_timeout: Option<u64>,
}

/// Stop containers; they keep what is on their disks
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: stop one service, with a minute to finish its work\n  \
                  stack stop -t 60 worker"
)]
pub(crate) struct Stop {
    #[command(flatten)]
    services: Services,
    /// Seconds to let services end by themselves (default: each one's own)
    #[arg(short, long, value_name = "SECONDS")]
    timeout: Option<u64>,
}

/// Stop and start containers
///
/// Changes in the stack file are not applied: `stack up -d` does that.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: restart one service and leave alone what depends on it\n  \
                  stack restart --no-deps web"
)]
pub(crate) struct Restart {
    #[command(flatten)]
    services: Services,
    /// Seconds to let services end by themselves (default: each one's own)
    #[arg(short, long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// Do not restart services that depend on them
    #[arg(long)]
    no_deps: bool,
}

/// Send a signal to containers
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: let a web server read its configuration again\n  \
                  stack kill -s HUP web"
)]
pub(crate) struct Kill {
    #[command(flatten)]
    services: Services,
    /// Also containers of services that are not in the file, or not enabled
    #[arg(long)]
    remove_orphans: bool,
    /// Name or number of the signal
    #[arg(short, long, default_value = "SIGKILL")]
    signal: String,
}

/// Remove stopped containers
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: stop and remove one service with its anonymous volumes\n  \
                  stack rm -s -v worker"
)]
pub(crate) struct Rm {
    #[command(flatten)]
    services: Services,
    /// Stop running ones first
    #[arg(short, long)]
    stop: bool,
    /// Do not ask; this is always so, the option is for scripts
    #[arg(short, long)]
    force: bool,
    /// Without effect, as in Docker Compose
    #[arg(short, long, hide = true)]
    all: bool,
    /// Remove anonymous volumes as well
    #[arg(short, long)]
    volumes: bool,
}

/// Freeze the processes of containers
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: see how the rest gets on without the database\n  \
                  stack pause db"
)]
pub(crate) struct Pause {
    #[command(flatten)]
    services: Services,
}

/// Thaw frozen containers
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: go on with what was frozen\n  stack unpause db")]
pub(crate) struct Unpause {
    #[command(flatten)]
    services: Services,
}

impl Start {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let action = Action {
            wait: self.wait,
            wait_timeout: self.wait_timeout,
            ..Action::default()
        };
        act(context, Verb::Start, self.services, action).await
    }
}

impl Stop {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let action = Action {
            timeout: self.timeout,
            ..Action::default()
        };
        act(context, Verb::Stop, self.services, action).await
    }
}

impl Restart {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let action = Action {
            timeout: self.timeout,
            no_deps: self.no_deps,
            ..Action::default()
        };
        act(context, Verb::Restart, self.services, action).await
    }
}

impl Kill {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let action = Action {
            signal: Some(self.signal),
            ..Action::default()
        };
        let orphans = self.remove_orphans;
        act_on(context, Verb::Kill, self.services, orphans, action).await
    }
}

impl Rm {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let action = Action {
            force: self.stop,
            volumes: self.volumes,
            ..Action::default()
        };
        act(context, Verb::Rm, self.services, action).await
    }
}

impl Pause {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        act(context, Verb::Pause, self.services, Action::default()).await
    }
}

impl Unpause {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        act(context, Verb::Unpause, self.services, Action::default()).await
    }
}

async fn act(
    context: &Context,
    verb: Verb,
    services: Services,
    action: Action,
) -> Result<u8, Error> {
    act_on(context, verb, services, false, action).await
}

/// Without `orphans`, and without names, containers of services that are not enabled in
/// the file are left alone.
async fn act_on(
    context: &Context,
    verb: Verb,
    services: Services,
    orphans: bool,
    action: Action,
) -> Result<u8, Error> {
    let mut services = services.services;
    let project = context.named()?;
    let client = context.client().await?;
    let all_services = services.is_empty();
    let mut existing = containers(&client, &project.name).await?;
    project.check_services(&services, &existing)?;
    if all_services && verb == Verb::Start {
        // Those of `run` are not started again.
        existing.retain(|container| !container.one_off);
    }
    let mut no_deps = action.no_deps;
    let mut which = "";
    if let (false, true, Some(enabled)) = (orphans, all_services, &project.enabled) {
        let all = existing.len();
        existing.retain(|container| enabled.contains(&container.service));
        if existing.len() < all {
            let chosen: BTreeSet<&String> = existing.iter().map(|one| &one.service).collect();
            services = chosen.into_iter().cloned().collect();
            // What these lead to and the file does not enable is left alone, too.
            no_deps = true;
            which = " of services that are enabled in the file";
        }
    }
    let done = match verb {
        Verb::Start => "started",
        Verb::Stop => "stopped",
        Verb::Restart => "restarted",
        Verb::Kill => "signalled",
        Verb::Rm => "removed",
        Verb::Pause => "paused",
        Verb::Unpause => "unpaused",
    };
    if existing.is_empty() && verb == Verb::Start {
        let message = format!("stack {} has no containers to start", project.name);
        let error = ApiError::new("no_containers", message);
        return Err(error.help("create them with `stack up -d`").into());
    }
    if existing.is_empty() {
        context.ui.note(format_args!(
            "stack {} has no containers{which}",
            project.name
        ));
        return Ok(exit::OK);
    }
    let request = Action {
        verb,
        services,
        no_deps,
        ..action
    };
    // What there is gets started all the same.
    let missing = match verb {
        Verb::Start if all_services && project.enabled.is_some() => {
            without_container(context, &existing)
        }
        _ => None,
    };
    let path = format!("/v1/stacks/{}/action", project.name);
    let summary = context.operate(&client, &path, &request, false).await?;
    let count = human::count(summary.containers(), "container");
    let took = human::took(summary.took_ms);
    context
        .ui
        .note(format_args!("{}: {count} {done} in {took}", project.name));
    match missing {
        None => Ok(exit::OK),
        Some(service) => {
            let message = format!("service \"{service}\" has no container to start");
            let error = ApiError::new("no_containers", message);
            Err(error.help("create it with `stack up -d`").into())
        }
    }
}

/// The first service of the file that is enabled and should have a container, but
/// has none.
fn without_container(context: &Context, existing: &[Container]) -> Option<String> {
    let of_file = || existing.iter().filter(|one| !one.one_off);
    let has_none = |name: &String| !of_file().any(|one| one.service == *name);
    let wanted = context.wanted()?.services.into_iter();
    wanted
        .filter(|(_, service)| service.replicas > 0)
        .map(|(name, _)| name)
        .find(has_none)
}

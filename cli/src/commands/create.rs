//! `stack create`

use std::collections::BTreeMap;

use hyper::Method;
use stack_api::request;

use super::up::{Pull, scale};
use crate::context::Context;
use crate::error::Error;
use crate::exit;
use crate::interrupt::Interrupts;
use crate::progress::Progress;
use crate::project::lock::LockUse;
use crate::ui::human;

/// Create containers and do not start them
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: put a file into a container before its first start\n  \
                  stack create db && stack cp dump.sql db:/docker-entrypoint-initdb.d/"
)]
pub(crate) struct Create {
    /// Services, with all that they depend on (default: all)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,

    /// New containers even when nothing changed
    #[arg(long, conflicts_with = "no_recreate")]
    force_recreate: bool,

    /// No new containers even when something changed
    #[arg(long)]
    no_recreate: bool,

    /// Build images first, also those that are there
    #[arg(long, conflicts_with = "no_build")]
    build: bool,

    /// Build nothing, also what is not there
    #[arg(long)]
    no_build: bool,

    /// When to pull images: always, missing or never (default: as in the file)
    #[arg(long, value_enum, value_name = "WHEN", hide_possible_values = true)]
    pull: Option<Pull>,

    /// Do not show how pulling images gets on
    #[arg(long)]
    quiet_pull: bool,

    /// Remove containers of services that are not in the file
    #[arg(long)]
    remove_orphans: bool,

    /// Do not ask; this is always so, the option is for scripts
    #[arg(short, long)]
    yes: bool,

    /// Containers of a service, instead of what the file says
    #[arg(long, value_name = "SERVICE=N", value_parser = scale)]
    scale: Vec<(String, u32)>,
}

impl Create {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let (spec, project) = context.spec_and_project(&self.services, LockUse::Advise)?;
        let name = spec.name.clone();
        let request = request::Up {
            spec,
            services: self.services,
            force_recreate: self.force_recreate,
            no_recreate: self.no_recreate,
            no_start: true,
            pull: self.pull.map(Pull::policy),
            scale: self.scale.into_iter().collect::<BTreeMap<_, _>>(),
            remove_orphans: self.remove_orphans,
            builds: crate::builds::of(&project),
            build: super::up::build_when(self.build || Pull::builds(self.pull), self.no_build),
            ..request::Up::default()
        };
        crate::builds::check(context, &project, &request)?;
        let client = context.client().await?;
        let mut interrupts = Interrupts::take()?;
        let path = format!("/v1/stacks/{name}");
        let events = client.events(Method::PUT, &path, &request).await?;
        let mut progress = Progress::new(context.ui, context.global.progress);
        if self.quiet_pull {
            progress = progress.without_pulls();
        }
        let summary = progress.follow(events, &mut interrupts).await?;
        let count = human::count(summary.that_stay(), "container");
        let took = human::took(summary.took_ms);
        context
            .ui
            .note(format_args!("{name}: {count} created in {took}"));
        Ok(exit::OK)
    }
}

//! `stack pull`

use stack_api::request;
use stack_api::spec::PullPolicy;

use crate::context::Context;
use crate::error::Error;
use crate::exit;
use crate::project::lock::LockUse;

/// Get the images of services from their registries
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: newer images, then new containers for those that changed\n  \
                  stack pull && stack up -d"
)]
pub(crate) struct Pull {
    /// Services (default: all)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,

    /// always, or missing: only images that are not here
    #[arg(long, value_enum, default_value_t = Policy::Always, hide_possible_values = true)]
    policy: Policy,

    /// Go on when an image cannot be had
    #[arg(long)]
    ignore_pull_failures: bool,

    /// Leave out images that can be built
    #[arg(long)]
    ignore_buildable: bool,

    /// Without effect, as in Docker Compose
    #[arg(long, hide = true)]
    parallel: bool,

    /// Without effect, as in Docker Compose
    #[arg(long, hide = true)]
    no_parallel: bool,

    /// Also images of services that these depend on
    #[arg(long)]
    include_deps: bool,

    /// Say nothing
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Policy {
    Always,
    Missing,
}

impl Pull {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let (spec, project) = context.spec_and_project(&self.services, LockUse::Advise)?;
        let builds = crate::builds::of(&project);
        let chosen = stack_planner::plan::select(&spec.services, &self.services, self.include_deps)
            .map_err(|error| Error::usage(error.to_string(), context.known(&error.known)))?;
        // What is only built here is in no registry.
        let only_built = |name: &str| {
            let image = &spec.services[name].image;
            let Some((builder, build)) = crate::builds::builder(&builds, name, image) else {
                return false;
            };
            // The name of an image that was given none.
            self.ignore_buildable || build.image == format!("{}-{builder}", project.name())
        };
        let mut images: Vec<String> = chosen
            .iter()
            .filter(|name| !only_built(name))
            .map(|name| spec.services[name].image.clone())
            .collect();
        images.sort();
        images.dedup();
        let count = images.len();
        let is_built = |image: &&String| builds.values().any(|build| build.image == **image);
        let buildable = images.iter().filter(is_built).cloned().collect();
        let request = request::Pull {
            images,
            policy: match self.policy {
                Policy::Always => PullPolicy::Always,
                Policy::Missing => PullPolicy::Missing,
            },
            ignore_failures: self.ignore_pull_failures,
            buildable,
        };
        context
            .transfer("/v1/images/pull", count, &request, self.quiet)
            .await?;
        Ok(exit::OK)
    }
}

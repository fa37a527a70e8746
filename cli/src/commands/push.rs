//! `stack push`

use stack_api::image;

use crate::context::Context;
use crate::error::Error;
use crate::exit;
use crate::project::lock::LockUse;

/// Bring the images of services that are built to their registries
///
/// Credentials are those of `docker login`. With --image, images are pushed
/// by name, and no stack file is needed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: build and push\n  stack build && stack push")]
pub(crate) struct Push {
    /// Services (default: all that are built)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,

    /// Image to push by its name, whatever the stack file says
    #[arg(long = "image", value_name = "IMAGE", conflicts_with = "services")]
    images: Vec<String>,

    /// Go on when an image cannot be pushed
    #[arg(long)]
    ignore_push_failures: bool,

    /// Also images of services that these depend on
    #[arg(long)]
    include_deps: bool,

    /// Say nothing
    #[arg(short, long)]
    quiet: bool,
}

impl Push {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let mut images = match self.images.is_empty() {
            true => self.of_services(context)?,
            false => self.images.clone(),
        };
        images.sort();
        images.dedup();
        let count = images.len();
        let request = image::Push {
            images,
            ignore_failures: self.ignore_push_failures,
        };
        context
            .transfer("/v1/images/push", count, &request, self.quiet)
            .await?;
        Ok(exit::OK)
    }

    fn of_services(&self, context: &Context) -> Result<Vec<String>, Error> {
        let (spec, project) = context.spec_and_project(&self.services, LockUse::Advise)?;
        let builds = project.builds();
        let chosen = stack_planner::plan::select(&spec.services, &self.services, self.include_deps)
            .map_err(|error| Error::usage(error.to_string(), context.known(&error.known)))?;
        let mut images = Vec::new();
        for name in &chosen {
            let Some(build) = builds.get(name) else {
                continue;
            };
            if project.model().at(&["services", name, "image"]).is_none() {
                context.ui.warn(format_args!(
                    "service {name} has no `image`, so its image has no name in a registry: not \
                     pushed"
                ));
                continue;
            }
            images.push(spec.services[name].image.clone());
            images.extend(build.tags.iter().cloned());
        }
        Ok(images)
    }
}

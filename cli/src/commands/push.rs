//! `stack push`

use stack_api::image;
use stack_api::spec::StackSpec;
use stack_planner::Project;

use crate::context::Context;
use crate::error::Error;
use crate::exit;

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
        let request = image::Push {
            images,
            ignore_failures: self.ignore_push_failures,
        };
        bring(context, &request, self.quiet).await?;
        Ok(exit::OK)
    }

    fn of_services(&self, context: &Context) -> Result<Vec<String>, Error> {
        let (spec, project) = context.outline(&self.services)?;
        let chosen = stack_planner::plan::select(&spec.services, &self.services, self.include_deps)
            .map_err(|error| Error::usage(error.to_string(), context.known(&error.known)))?;
        Ok(images(context, &spec, &project, chosen))
    }
}

/// Pushes what `build --push` has built.
///
/// # Errors
/// A registry does not take an image.
pub(super) async fn push(context: &Context, images: Vec<String>, quiet: bool) -> Result<(), Error> {
    let request = image::Push {
        images,
        ignore_failures: false,
    };
    bring(context, &request, quiet).await
}

async fn bring(context: &Context, request: &image::Push, quiet: bool) -> Result<(), Error> {
    let count = request.images.len();
    context
        .transfer("/v1/images/push", count, request, quiet)
        .await
}

/// The names of the images that these services build; those that no registry
/// could take are told.
pub(super) fn images(
    context: &Context,
    spec: &StackSpec,
    project: &Project,
    services: impl IntoIterator<Item = impl AsRef<str>>,
) -> Vec<String> {
    let builds = project.builds();
    let mut images = Vec::new();
    for name in services {
        let name = name.as_ref();
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
    images
}

//! `down --rmi`.

use stack_api::container::Container;
use stack_api::image::{Remove, Removed};

use crate::client::Client;
use crate::context::Context;
use crate::error::Error;
use crate::project::lock::LockUse;

/// Which images go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Which {
    /// All of the services.
    All,
    /// Those that only the project's name leads to.
    Local,
}

/// Their names, before the containers that tell them are gone.
///
/// # Errors
/// The stack file cannot be read.
pub(super) fn of(
    context: &Context,
    which: Which,
    services: &[String],
    containers: &[Container],
) -> Result<Vec<String>, Error> {
    let chosen = |name: &String| services.is_empty() || services.contains(name);
    let mut images = Vec::new();
    if which == Which::All {
        let mine = containers.iter().filter(|c| chosen(&c.service));
        images.extend(mine.map(|container| container.image.clone()));
    }
    // Without a stack file, containers alone tell what there is.
    if context.named()?.services.is_some() {
        let (spec, project) = context.spec_and_project(&[], LockUse::Advise)?;
        let builds = project.builds();
        for (name, service) in spec.services.iter().filter(|(name, _)| chosen(name)) {
            let is_local = builds.contains_key(name)
                && project.model().at(&["services", name, "image"]).is_none();
            if which == Which::All || is_local {
                images.push(service.image.clone());
            }
        }
    }
    images.sort();
    images.dedup();
    Ok(images)
}

/// Removes them. One that is needed elsewhere stays, which is told.
///
/// # Errors
/// The daemon is not there any more.
pub(super) async fn remove(
    context: &Context,
    client: &Client,
    images: Vec<String>,
) -> Result<(), Error> {
    for image in images {
        let order = Remove {
            images: vec![image.clone()],
            force: false,
        };
        match client.call("/v1/images/remove", &order).await {
            Ok(Removed { .. }) => context.ui.note(format_args!("image {image} removed")),
            Err(Error::Api(error)) if error.code == "image_not_found" => {}
            Err(Error::Api(error)) => {
                let why = error.message;
                context.ui.warn(format_args!("image {image} stays: {why}"));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

//! `down --rmi`.

use stack_api::container::Container;
use stack_api::image::{Remove, Removed};
use stack_planner::tree::Node;

use crate::client::Client;
use crate::context::Context;
use crate::error::Error;

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
        let project = context.all_services()?;
        let builds = project.builds();
        for name in project.service_names().iter().filter(|name| chosen(name)) {
            let image = project.model().at(&["services", name, "image"]);
            match (image.and_then(Node::as_str), builds.get(name)) {
                (None, Some(build)) => images.push(build.image.clone()),
                (Some(image), _) if which == Which::All => images.push(image.to_owned()),
                _ => {}
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

//! Building a service's image anew and replacing its containers.

use std::collections::{BTreeSet, VecDeque};

use hyper::Method;
use stack_api::event::Event;
use stack_api::image::{Prune, Removed};
use stack_api::request::{ImageInfo, Up};
use stack_api::spec::StackSpec;

use crate::client::Client;
use crate::error::Error;
use crate::ui::{self, Ui, palette, untrusted};

/// Lines of a failed build that are shown.
const MAX_OUTPUT: usize = 20;

/// How a service is rebuilt.
pub(super) struct Rebuilding {
    pub(super) service: String,
    /// Builds the image and replaces the containers.
    pub(super) up: Up,
    /// Images that are to go when nobody needs them any more: by id, those that
    /// the service had before. `None`: they stay.
    pub(super) former: Option<BTreeSet<String>>,
}

impl Rebuilding {
    /// Does it. When the build fails, the containers stay as they are, and what
    /// it wrote last is shown.
    ///
    /// # Errors
    /// The build, or the start of a new container, failed.
    pub(super) async fn run(&mut self, ui: Ui, client: &Client) -> Result<(), Error> {
        let request = self.request(client).await?;
        if let Some(former) = &mut self.former {
            former.extend(images(client, &request).await);
        }
        rebuild(ui, client, &request).await?;
        if let Some(former) = &mut self.former {
            prune(client, former).await;
        }
        Ok(())
    }
}

impl Rebuilding {
    /// The order, for the definition that is in force: the file may have been changed
    /// since without being applied, or applied by somebody else.
    async fn request(&self, client: &Client) -> Result<Up, Error> {
        let mut request = Up {
            services: vec![self.service.clone()],
            ..self.up.clone()
        };
        let path = format!("/v1/stacks/{}", request.spec.name);
        let spec: StackSpec = match client.get(&path).await {
            Ok(spec) => spec,
            Err(Error::Api(error)) if error.code == "not_found" => return Ok(request),
            Err(error) => return Err(error),
        };
        let Some(service) = spec.services.get(&self.service) else {
            let help = "`stack up -d` applies what the stack file says";
            return Err(Error::usage("it was not started yet", help));
        };
        if let Some(build) = request.builds.get_mut(&self.service) {
            build.image.clone_from(&service.image);
        }
        // It has the number of containers that was chosen last.
        request.scale.clear();
        request.spec = spec;
        Ok(request)
    }
}

/// Ids of the images that the services have now.
async fn images(client: &Client, request: &Up) -> BTreeSet<String> {
    let named = request.services.iter();
    let named = named.filter_map(|name| request.spec.services.get(name));
    let names: BTreeSet<String> = named
        .filter_map(|service| stack_images::full_name(&service.image).ok())
        .collect();
    let all: Vec<ImageInfo> = client.get("/v1/images").await.unwrap_or_default();
    let own = all
        .into_iter()
        .filter(|image| names.contains(&image.reference));
    own.map(|image| image.id).collect()
}

/// Removes those that have no name any more, that no container was made from,
/// and that the stack's history does not lead back to. Others are tried again
/// after the next build.
async fn prune(client: &Client, former: &mut BTreeSet<String>) {
    if former.is_empty() {
        return;
    }
    let order = Prune {
        only: former.iter().cloned().collect(),
        ..Prune::default()
    };
    // What remains costs space and nothing else.
    let removed: Result<Removed, Error> = client.call("/v1/images/prune", &order).await;
    for id in removed.map(|removed| removed.deleted).unwrap_or_default() {
        former.remove(&id);
    }
}

async fn rebuild(ui: Ui, client: &Client, request: &Up) -> Result<(), Error> {
    let path = format!("/v1/stacks/{}", request.spec.name);
    let mut events = client.events(Method::PUT, &path, request).await?;
    let mut last: VecDeque<String> = VecDeque::new();
    while let Some(event) = events.next().await? {
        match event {
            Event::Done { .. } => return Ok(()),
            Event::Failed(error) => {
                let mark = ui.err.paint(palette::DIM, "|").to_string();
                for line in last {
                    ui::say(format_args!("  {mark} {}", untrusted::plain(&line)));
                }
                return Err(error.into());
            }
            Event::Output { line, .. } => {
                if last.len() == MAX_OUTPUT {
                    last.pop_front();
                }
                last.push_back(line);
            }
            Event::Warning { message } => ui.warn(untrusted::plain(&message)),
            Event::Layer { .. } | Event::Step { .. } | Event::Note { .. } => {}
        }
    }
    Err(Error::Lost("the operation was cut off".to_owned()))
}

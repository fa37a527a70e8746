//! Building a service's image anew and replacing its containers.

use std::collections::VecDeque;

use hyper::Method;
use stack_api::event::Event;
use stack_api::request::Up;

use crate::client::Client;
use crate::error::Error;
use crate::ui::{self, Ui, palette, untrusted};

/// Lines of a failed build that are shown.
const MAX_OUTPUT: usize = 20;

/// Does it. When the build fails, the containers stay as they are, and what
/// it wrote last is shown.
///
/// # Errors
/// The build, or the start of a new container, failed.
pub(super) async fn rebuild(ui: Ui, client: &Client, request: &Up) -> Result<(), Error> {
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
            Event::Layer { .. } | Event::Step { .. } => {}
        }
    }
    Err(Error::Lost("the operation was cut off".to_owned()))
}

//! `stack wait`

use hyper::Method;
use stack_api::container::{Container, State};
use stack_api::look::Ended;
use stack_api::request;

use crate::client::services_query;
use crate::context::{Context, containers};
use crate::error::Error;
use crate::interrupt::Interrupts;
use crate::{exit, ui};

/// Wait until containers have ended
///
/// The exit code is that of the first that ended badly, else 0. A container
/// that its restart policy starts again has not ended.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: run the tests of a stack, then take it down whatever came of them\n  \
                  stack up -d && stack wait --down-project tests"
)]
pub(crate) struct Wait {
    /// Take the whole stack down when the first one has ended
    #[arg(long)]
    down_project: bool,

    /// Services
    #[arg(value_name = "SERVICE", required = true)]
    services: Vec<String>,
}

impl Wait {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let project = context.named()?;
        let client = context.client().await?;
        let existing = containers(&client, &project.name).await?;
        project.check_services(&self.services, &existing)?;
        let is_waited_for =
            |c: &Container| self.services.contains(&c.service) && (!c.one_off || c.goes_on());
        if !existing.iter().any(is_waited_for) {
            return Err(Error::usage(
                format!("{} has no container", self.services.join(", ")),
                "start it with `stack up -d`",
            ));
        }
        // Where one goes on, an `up` may be about to start the others.
        let goes_on = existing.iter().any(Container::goes_on);
        let idle = self.services.iter().find(|&name| {
            let mut own = existing.iter().filter(|c| c.service == *name);
            own.all(|c| c.state == State::Created)
        });
        if let Some(idle) = idle.filter(|_| !goes_on) {
            return Err(Error::usage(
                format!("service {idle} has not run"),
                "start it with `stack up -d`",
            ));
        }
        let path = format!(
            "/v1/stacks/{}/wait?{}",
            project.name,
            services_query(&self.services)
        );
        let mut interrupts = Interrupts::take()?;
        let mut ends = client
            .lines::<Ended>(Method::GET, &path, None::<&()>)
            .await?;
        let mut code = exit::OK;
        loop {
            let next = tokio::select! {
                next = ends.next() => next?,
                () = interrupts.next() => return Ok(exit::INTERRUPTED),
            };
            let Some(ended) = next else { break };
            let quoted = serde_json::json!(ended.container);
            ui::print_line(format_args!(
                "container {quoted} exited with status code {}",
                ended.exit_code
            ))?;
            if code == exit::OK {
                code = exit::clamp(ended.exit_code);
            }
            if self.down_project {
                break;
            }
        }
        if self.down_project {
            let request = request::Down {
                services_known: project.services.unwrap_or_default(),
                // As in Compose: the whole stack, with its networks.
                remove_orphans: true,
                ..request::Down::default()
            };
            let path = format!("/v1/stacks/{}/down", project.name);
            context.operate(&client, &path, &request, false).await?;
        }
        Ok(code)
    }
}

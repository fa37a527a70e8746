//! `stack commit`

use stack_api::image::{Commit as Order, Committed};

use crate::context::{Context, containers};
use crate::error::Error;
use crate::{exit, ui};

/// Make an image of what a service's container has changed
///
/// Volumes, other mounts, configs and secrets are not in it. A container that
/// runs stands still meanwhile. It need not run.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: keep what was installed by hand\n  \
                  stack commit -m 'with curl' -c 'ENV CURL=1' web web:curl")]
pub(crate) struct Commit {
    /// Who made it
    #[arg(
        short,
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    author: String,

    /// What it is
    #[arg(
        short,
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    message: String,

    /// An instruction of a Dockerfile: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL,
    /// ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR, HEALTHCHECK NONE
    #[arg(short, long = "change", value_name = "INSTRUCTION")]
    changes: Vec<String>,

    /// Let the container stand still meanwhile
    #[arg(short, long, value_name = "BOOL", default_value_t = true, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pause: bool,

    /// Number of the container
    #[arg(long, value_name = "N")]
    index: Option<u32>,

    /// Service
    #[arg(value_name = "SERVICE")]
    service: String,

    /// Name of the image (default: none, only its id)
    #[arg(value_name = "IMAGE[:TAG]")]
    image: Option<String>,
}

impl Commit {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let project = context.named()?;
        let client = context.client().await?;
        let existing = containers(&client, &project.name).await?;
        project.check_services(std::slice::from_ref(&self.service), &existing)?;
        let order = Order {
            service: self.service,
            index: self.index,
            name: self.image,
            author: self.author,
            message: self.message,
            pause: self.pause,
            changes: self.changes,
            created: jiff::Timestamp::now().to_string(),
        };
        let path = format!("/v1/stacks/{}/commit", project.name);
        let made: Committed = client.call(&path, &order).await?;
        ui::print_line(made.id)?;
        Ok(exit::OK)
    }
}

//! `stack volumes`

use stack_api::volume::VolumeInfo;

use super::volume::ls;
use crate::context::{Context, containers};
use crate::error::Error;
use crate::ui::form::Form;

/// List the volumes of a stack
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: how much room the volumes of one service take\n  \
                  stack volumes --format '{{.Name}} {{.Size}}' db"
)]
pub(crate) struct Volumes {
    /// Services that use them (default: all volumes of the stack)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,

    /// Only names
    #[arg(short, long)]
    quiet: bool,

    /// table, json (one object per line), or a text with fields in it, e.g.
    /// '{{.Name}} {{.Size}}'
    #[arg(long, value_name = "FORM", default_value = "table", value_parser = ls::form)]
    format: Form,
}

impl Volumes {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let project = context.named()?;
        let client = context.client().await?;
        let existing = containers(&client, &project.name).await?;
        project.check_services(&self.services, &existing)?;
        let names: Vec<&str> = existing
            .iter()
            .filter(|container| self.services.contains(&container.service))
            .map(|container| container.name.as_str())
            .collect();
        let mut volumes: Vec<VolumeInfo> = client.get("/v1/volumes").await?;
        volumes.retain(|volume| match self.services.is_empty() {
            true => volume.project == project.name,
            false => volume
                .users
                .iter()
                .any(|user| names.contains(&user.as_str())),
        });
        ls::show(context, &volumes, self.quiet, &self.format)
    }
}

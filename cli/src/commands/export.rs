//! `stack export`

use stack_api::look::Archive;

use crate::context::{Context, containers};
use crate::error::Error;
use crate::exit;
use crate::output::Output;

/// Write the files of a container as a tar stream
///
/// Volumes and other mounts are left out, as empty directories. The container
/// need not run.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: what a service has written since it was created\n  \
                  stack export web | tar -t > files.txt"
)]
pub(crate) struct Export {
    #[command(flatten)]
    output: Output,

    /// Number of the container
    #[arg(long, value_name = "N")]
    index: Option<u32>,

    /// Service
    #[arg(value_name = "SERVICE")]
    service: String,
}

impl Export {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let project = context.named()?;
        let client = context.client().await?;
        let existing = containers(&client, &project.name).await?;
        project.check_services(std::slice::from_ref(&self.service), &existing)?;
        self.output.check()?;
        let query = Archive {
            service: self.service,
            index: self.index,
            path: "/".to_owned(),
            one_file_system: true,
            ..Archive::default()
        };
        let mut stream = client.fetch_archive(&project.name, &query).await?;
        self.output.write(&mut stream).await?;
        Ok(exit::OK)
    }
}

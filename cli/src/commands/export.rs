//! `stack export`

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use stack_api::look::Archive;

use crate::context::{Context, containers};
use crate::error::Error;
use crate::exit;

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
    /// File to write (default: standard output)
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

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
        if self.output.is_none() && io::stdout().is_terminal() {
            return Err(Error::usage(
                "a tar stream is nothing for a terminal",
                "name a file with -o, or pipe it into tar",
            ));
        }
        let query = Archive {
            service: self.service,
            index: self.index,
            path: "/".to_owned(),
            one_file_system: true,
            ..Archive::default()
        };
        let mut stream = client.fetch_archive(&project.name, &query).await?;
        match self.output {
            None => stream.copy_to(&mut io::stdout()).await?,
            Some(path) => {
                let failed = |source| Error::File {
                    doing: "cannot write",
                    path: path.clone(),
                    source,
                };
                let mut file = File::create(&path).map_err(failed)?;
                stream.copy_to(&mut file).await?;
                file.flush().map_err(failed)?;
            }
        }
        Ok(exit::OK)
    }
}

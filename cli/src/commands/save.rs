//! `stack save`

use std::fs;
use std::io::{self, IsTerminal};
use std::path::PathBuf;

use crate::client::images_query;
use crate::context::Context;
use crate::error::Error;
use crate::exit;

/// Write images as an archive
///
/// The archive is an OCI layout that `stack load`, `docker load`, `podman
/// load` and `skopeo` (as oci-archive or docker-archive) read. The images
/// keep their ids.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: bring an image to another machine\n  \
                  stack save app:1 | ssh other stack load -")]
pub(crate) struct Save {
    /// File to write (default: standard output)
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Images: references, digests, or the first digits of ids
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

impl Save {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        if self.output.is_none() && io::stdout().is_terminal() {
            return Err(Error::usage(
                "an archive is nothing for a terminal",
                "name a file with -o, or pipe it into something",
            ));
        }
        let client = context.client().await?;
        let mut stream = client
            .fetch_stream(&format!("/v1/images/save?{}", images_query(&self.images)))
            .await?;
        let Some(path) = self.output else {
            stream.copy_to(&mut io::stdout()).await?;
            return Ok(exit::OK);
        };
        let failed = |source| Error::File {
            doing: "cannot write",
            path: path.clone(),
            source,
        };
        // Half an archive must not pass for a whole one.
        let mut partial = path.clone().into_os_string();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let mut file = fs::File::create(&partial).map_err(failed)?;
        let written = stream.copy_to(&mut file).await;
        let done = match written {
            Ok(()) => fs::rename(&partial, &path).map_err(failed),
            Err(error) => Err(error),
        };
        if done.is_err() {
            // What matters is what failed first.
            let _ = fs::remove_file(&partial);
        }
        done.map(|()| exit::OK)
    }
}

//! `stack save`

use crate::client::images_query;
use crate::context::Context;
use crate::error::Error;
use crate::exit;
use crate::output::Output;

/// Write images as an archive
///
/// The archive is an OCI layout that `stack load`, `docker load`, `podman
/// load` and `skopeo` (as oci-archive or docker-archive) read. The images
/// keep their ids.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: bring an image to another machine\n  \
                  stack save app:1 | ssh other stack load -")]
pub(crate) struct Save {
    #[command(flatten)]
    output: Output,

    /// Images: references, digests, or the first digits of ids
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

impl Save {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        self.output.check()?;
        let client = context.client().await?;
        let mut stream = client
            .fetch_stream(&format!("/v1/images/save?{}", images_query(&self.images)))
            .await?;
        self.output.write(&mut stream).await?;
        Ok(exit::OK)
    }
}

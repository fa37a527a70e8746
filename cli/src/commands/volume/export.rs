//! `stack volume export`

use super::find;
use crate::context::Context;
use crate::error::Error;
use crate::exit;
use crate::output::Output;

/// Write a volume's files as a tar stream
///
/// Owners, modes, links and extended attributes are in it. The volume may be
/// in use; a database then needs its own tool for a copy that is of one moment.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: keep a copy\n  stack volume export -o data.tar data")]
pub(super) struct Export {
    #[command(flatten)]
    output: Output,

    /// Volume: full name, or key of this project's file
    #[arg(value_name = "VOLUME")]
    volume: String,
}

impl Export {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        self.output.check()?;
        let client = context.client().await?;
        let name = find(context, &client, &self.volume).await?;
        let path = format!("/v1/volumes/{name}/archive");
        let mut stream = client.fetch_stream(&path).await?;
        self.output.write(&mut stream).await?;
        Ok(exit::OK)
    }
}

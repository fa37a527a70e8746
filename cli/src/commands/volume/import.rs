//! `stack volume import`

use std::fs::File;
use std::io;
use std::path::PathBuf;

use super::find;
use crate::context::Context;
use crate::error::Error;
use crate::exit;

/// Unpack a tar stream in a volume
///
/// What is there stays, unless the stream has a file of the same name.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: bring a copy back\n  stack volume import -i data.tar data")]
pub(super) struct Import {
    /// File to read (default: standard input)
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,

    /// Volume: full name, or key of this project's file
    #[arg(value_name = "VOLUME")]
    volume: String,
}

impl Import {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let client = context.client().await?;
        let volume = find(context, &client, &self.volume).await?;
        let uri = format!("/v1/volumes/{volume}/archive");
        match self.input {
            None => {
                let name = PathBuf::from("standard input");
                client.send_from(uri, || io::stdin().lock(), name).await?;
            }
            Some(path) => {
                let file = File::open(&path).map_err(|source| Error::File {
                    doing: "cannot read",
                    path: path.clone(),
                    source,
                })?;
                client.send_from(uri, || file, path).await?;
            }
        }
        Ok(exit::OK)
    }
}

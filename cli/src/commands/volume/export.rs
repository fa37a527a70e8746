//! `stack volume export`

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use super::find;
use crate::context::Context;
use crate::error::Error;
use crate::exit;

/// Write a volume's files as a tar stream
///
/// Owners, modes, links and extended attributes are in it. The volume may be
/// in use; a database then needs its own tool for a copy that is of one moment.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: keep a copy\n  stack volume export -o data.tar data")]
pub(super) struct Export {
    /// File to write (default: standard output)
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Volume: full name, or key of this project's file
    #[arg(value_name = "VOLUME")]
    volume: String,
}

impl Export {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        if self.output.is_none() && io::stdout().is_terminal() {
            return Err(Error::usage(
                "a tar stream is nothing for a terminal",
                "name a file with -o, or pipe it into tar",
            ));
        }
        let client = context.client().await?;
        let found = find(context, &client, &self.volume).await?;
        let path = format!("/v1/volumes/{}/archive", found.name);
        let mut stream = client.fetch_stream(&path).await?;
        let Some(path) = self.output else {
            stream.copy_to(&mut io::stdout()).await?;
            return Ok(exit::OK);
        };
        let failed = |source| Error::File {
            doing: "cannot write",
            path: path.clone(),
            source,
        };
        let mut file = File::create(&path).map_err(failed)?;
        stream.copy_to(&mut file).await?;
        file.flush().map_err(failed)?;
        Ok(exit::OK)
    }
}

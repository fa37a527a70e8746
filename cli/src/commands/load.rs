//! `stack load`

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use stack_api::request;
use tempfile::NamedTempFile;

use crate::context::Context;
use crate::error::Error;
use crate::exit;

/// Import images from an archive or a directory
///
/// OCI layouts (directory or tar) and archives of `docker save` are
/// understood, compressed or not.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: bring an image over from Docker\n  \
                  docker save shop/web -o web.tar && stack load web.tar")]
pub(crate) struct Load {
    /// Archive or directory; `-`, or nothing in a pipe, is an archive from standard input
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,

    /// The same, as Docker writes it
    #[arg(short, long, value_name = "PATH", conflicts_with = "path", hide = true)]
    input: Option<PathBuf>,

    /// Say nothing
    #[arg(short, long)]
    quiet: bool,
}

impl Load {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let path = match self.path.or(self.input) {
            Some(path) => path,
            None if io::stdin().is_terminal() => {
                return Err(Error::usage(
                    "no archive is named, and none comes from standard input",
                    "name its file, or pipe it in, e.g. `docker save shop/web | stack load`",
                ));
            }
            None => PathBuf::from("-"),
        };
        // The daemon reads at any place of it.
        let spooled = match path.as_os_str() == "-" {
            true => Some(spool()?),
            false => None,
        };
        let path = spooled.as_ref().map_or(path.as_path(), |file| file.path());
        let path = path.canonicalize().map_err(|source| Error::File {
            doing: "cannot read",
            path: path.to_path_buf(),
            source,
        })?;
        let client = context.client().await?;
        let request = request::Load { path };
        context
            .operate(&client, "/v1/images/load", &request, self.quiet)
            .await?;
        Ok(exit::OK)
    }
}

/// Standard input as a file that goes when it is done with.
fn spool() -> Result<NamedTempFile, Error> {
    let failed = |source| Error::File {
        doing: "cannot write a temporary file in",
        path: std::env::temp_dir(),
        source,
    };
    let mut file = NamedTempFile::new().map_err(failed)?;
    io::copy(&mut io::stdin().lock(), file.as_file_mut()).map_err(failed)?;
    Ok(file)
}

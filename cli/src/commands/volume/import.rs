//! `stack volume import`

use std::fs::File;
use std::io;
use std::path::PathBuf;

use stack_api::volume::{CreateVolume, VolumeInfo};

use super::look_up;
use crate::client::Client;
use crate::context::Context;
use crate::error::Error;
use crate::exit;

/// Unpack a tar stream in a volume
///
/// What is there stays, unless the stream has a file of the same name. A volume of this
/// project's file that is not there is made, as `stack up` would make it.
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
        let open = |path: PathBuf| match File::open(&path) {
            Ok(file) => Ok((file, path)),
            Err(source) => Err(Error::File {
                doing: "cannot read",
                path,
                source,
            }),
        };
        let file = self.input.map(open).transpose()?;
        let client = context.client().await?;
        let volume = match look_up(context, &client, &self.volume).await? {
            Ok(volume) => volume,
            Err(missing) => match missing.of {
                Some(project) => make(context, &client, project, &self.volume).await?,
                None => return Err(is_missing(&self.volume)),
            },
        };
        let uri = format!("/v1/volumes/{volume}/archive");
        match file {
            None => {
                let name = PathBuf::from("standard input");
                client.send_from(uri, || io::stdin().lock(), name).await?;
            }
            Some((file, path)) => client.send_from(uri, || file, path).await?,
        }
        Ok(exit::OK)
    }
}

fn is_missing(name: &str) -> Error {
    let help = format!(
        "`stack volume create {name}` makes it, and `stack volume import` makes those of the \
         project's file; `stack volume ls` shows what is there"
    );
    Error::usage(format!("there is no volume {name}"), help)
}

/// Makes a volume of the project's file; gives its full name.
async fn make(
    context: &Context,
    client: &Client,
    project: String,
    key: &str,
) -> Result<String, Error> {
    let Some((wanted, form)) = context.volume(key)? else {
        let message = format!("`{key}` is kept where its `driver_opts` say, not in a volume");
        let help = "unpack the stream there with tar";
        return Err(Error::usage(message, help));
    };
    let name = wanted.name;
    if wanted.external {
        let message = format!("external volume {name} does not exist");
        let help = format!("make it with `stack volume create {name}`");
        return Err(Error::usage(message, help));
    }
    let order = CreateVolume {
        name,
        project,
        labels: wanted.labels,
        size: wanted.size,
        form,
    };
    let made: VolumeInfo = client.call("/v1/volumes", &order).await?;
    context
        .ui
        .note(format_args!("volume {} is made", made.name));
    Ok(made.name)
}

//! `stack volume create`

use stack_api::volume::{CreateVolume, Form, VolumeInfo};

use crate::context::Context;
use crate::error::Error;
use crate::{exit, ui};

/// Make a volume that stacks share
///
/// Stacks use it with `external: true`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: a volume for two stacks\n  stack volume create shared")]
pub(super) struct Create {
    /// Label, as key=value
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,

    /// A disk for one container, which is faster, until a second one comes
    #[arg(long)]
    disk: bool,

    /// Name
    name: String,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=').unwrap_or((text, "")) {
        ("", _) => Err("a key is missing before `=`".to_owned()),
        (key, value) => Ok((key.to_owned(), value.to_owned())),
    }
}

impl Create {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let wanted = CreateVolume {
            name: self.name,
            project: String::new(),
            labels: self.labels.into_iter().collect(),
            size: None,
            form: if self.disk { Form::Disk } else { Form::Tree },
        };
        let client = context.client().await?;
        let made: VolumeInfo = client.call("/v1/volumes", &wanted).await?;
        ui::print_line(made.name)?;
        Ok(exit::OK)
    }
}

//! `stack image tag`

use stack_api::image;

use crate::context::Context;
use crate::error::Error;
use crate::{exit, ui};

/// Give an image one more name
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: a name in a registry\n  \
                  stack image tag app registry.example.com/team/app:1")]
pub(super) struct Tag {
    /// Image: a reference, a digest, or the first digits of an id
    #[arg(value_name = "IMAGE")]
    image: String,

    /// New name
    #[arg(value_name = "NAME[:TAG]")]
    name: String,
}

impl Tag {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let client = context.client().await?;
        let order = image::Tag {
            image: self.image,
            name: self.name,
        };
        let name: String = client.call("/v1/images/tag", &order).await?;
        ui::print_line(super::familiar(&name))?;
        Ok(exit::OK)
    }
}

//! `stack image rm`

use stack_api::image::{Remove, Removed};

use super::show;
use crate::context::Context;
use crate::error::Error;

/// Remove images, or names of them
///
/// The last name goes only when no container was made from the image. An
/// image is named by a reference, by its digest, or by the first digits of
/// its id.
#[derive(Debug, clap::Args)]
#[command(
    visible_alias = "remove",
    after_help = "Example: remove one name of an image\n  stack image rm app:old"
)]
pub(super) struct Rm {
    /// Take names away although containers need the image, and all names of
    /// one that is named by its id
    #[arg(short, long)]
    force: bool,

    /// Images
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

impl Rm {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let client = context.client().await?;
        let mut all = Removed::default();
        let one = async |word: &str| {
            let order = Remove {
                images: vec![word.to_owned()],
                force: self.force,
            };
            let removed: Removed = client.call("/v1/images/remove", &order).await?;
            all.untagged.extend(removed.untagged);
            all.deleted.extend(removed.deleted);
            all.bytes += removed.bytes;
            Ok::<(), Error>(())
        };
        let done = context.each(&self.images, one).await;
        if done.is_ok() || all != Removed::default() {
            show(&all)?;
        }
        done
    }
}

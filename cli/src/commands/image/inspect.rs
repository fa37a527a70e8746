//! `stack image inspect`

use serde_json::{Value, json};
use stack_api::image::Details;

use crate::client::{Client, image_query};
use crate::context::Context;
use crate::error::Error;
use crate::ui;
use crate::ui::form::{self, Form, Row};

/// Show all that is known of images, as JSON
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: the variables of an image\n  \
                  stack image inspect nginx:1 | jq '.[0].Config.Env'")]
pub(super) struct Inspect {
    /// json (on one line), or a text with fields in it, e.g. '{{.Config.Env}}'
    #[arg(short, long, value_name = "FORM", value_parser = form)]
    format: Option<Form>,

    /// Images: references, digests, or the first digits of ids
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

impl Inspect {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let client = context.client().await?;
        let all: Vec<Details> = client.get("/v1/images/all").await?;
        let mut shown = Vec::new();
        let one = async |word: &str| {
            let image = find(&client, &all, word).await?;
            shown.push(Row::from(object(image, &all)));
            Ok::<(), Error>(())
        };
        let code = context.each(&self.images, one).await?;
        ui::print(form::objects(self.format.as_ref(), context.ui, &shown)?)?;
        Ok(code)
    }
}

fn form(text: &str) -> Result<Form, String> {
    let example = Details::default();
    Form::of_objects(
        text,
        &object(&example, std::slice::from_ref(&example)).into(),
    )
}

/// By whatever other commands take for it, too: the daemon knows.
async fn find<'a>(client: &Client, all: &'a [Details], word: &str) -> Result<&'a Details, Error> {
    let path = format!("/v1/images/find?{}", image_query(word));
    let name: String = client.get(&path).await?;
    let found = all.iter().find(|image| image.reference == name);
    found.ok_or_else(|| {
        let message = format!("there is no image {word}");
        Error::usage(message, "see `stack image ls`")
    })
}

/// With the names of `docker image inspect`.
fn object(image: &Details, all: &[Details]) -> Value {
    let (mut tags, mut digests) = (Vec::new(), Vec::new());
    for other in all.iter().filter(|other| other.id == image.id) {
        if other.nameless {
            continue;
        }
        let name = super::familiar(&other.reference);
        let repository = super::parts(&name).0.to_owned();
        if let Some(digest) = &other.digest {
            let full = format!("{repository}@{digest}");
            if !digests.contains(&full) {
                digests.push(full);
            }
        }
        tags.push(name);
    }
    let raw = &image.config;
    let (os, rest) = image.platform.split_once('/').unwrap_or(("linux", ""));
    let (architecture, variant) = match rest.split_once('/') {
        Some((architecture, variant)) => (architecture, variant),
        None => (rest, ""),
    };
    json!({
        "Id": image.id,
        "RepoTags": tags,
        "RepoDigests": digests,
        "Created": image.made,
        "Author": raw["author"].as_str().unwrap_or_default(),
        "Architecture": architecture,
        "Variant": variant,
        "Os": os,
        "Size": image.size,
        "UniqueSize": image.unique,
        "Config": raw["config"],
        "RootFS": {"Type": "layers", "Layers": raw["rootfs"]["diff_ids"]},
        "History": raw["history"],
        "Containers": image.containers,
    })
}

//! `stack image inspect`

use serde_json::{Value, json};
use stack_api::image::Details;

use crate::context::Context;
use crate::error::Error;
use crate::ui;
use crate::ui::form::{self, Form, Row};
use crate::ui::human;

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
            shown.push(Row::from(object(find(&all, word)?, &all)));
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

/// By name as it is shown, in full, or with the tag left out; by digest; by
/// the first digits of its id.
fn find<'a>(all: &'a [Details], word: &str) -> Result<&'a Details, Error> {
    let is_named = |image: &&Details| {
        let short = super::familiar(&image.reference);
        !image.nameless
            && (image.reference == word
                || short == word
                || short == format!("{word}:latest")
                || image.reference == format!("{word}:latest"))
    };
    if let Some(image) = all.iter().find(is_named) {
        return Ok(image);
    }
    let digits = human::bare_id(word);
    let has = |digest: &String| digits.len() >= 4 && digest["sha256:".len()..].starts_with(digits);
    let mut found = all
        .iter()
        .filter(|image| has(&image.id) || image.digest.as_ref().is_some_and(has));
    let missing = || Error::Usage {
        message: format!("there is no image {word}"),
        help: Some("see `stack image ls`".to_owned()),
    };
    let first = found.next().ok_or_else(missing)?;
    match found.any(|other| other.id != first.id) {
        true => Err(Error::usage(
            format!("several images have an id that begins with {word}"),
            "give more digits",
        )),
        false => Ok(first),
    }
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

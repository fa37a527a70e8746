//! `stack volume inspect`

use serde_json::{Value, json};
use stack_api::volume::{self, VolumeInfo};

use super::find;
use crate::context::Context;
use crate::error::Error;
use crate::ui;
use crate::ui::form::{self, Form};
use crate::ui::human;

/// Show volumes in full, as JSON
///
/// The form is that of `docker volume inspect`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: who uses a volume\n  \
                  stack volume inspect data | jq '.[].Users'")]
pub(super) struct Inspect {
    /// json (on one line), or a text with fields in it, e.g. '{{.Mountpoint}}'
    #[arg(short, long, value_name = "FORM", value_parser = form)]
    format: Option<Form>,

    /// Volumes: full names, or keys of this project's file
    #[arg(value_name = "VOLUME", required = true)]
    volumes: Vec<String>,
}

impl Inspect {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let client = context.client().await?;
        let mut all = Vec::new();
        let one = async |word: &str| {
            let name = find(context, &client, word).await?;
            let path = format!("/v1/volumes?name={name}");
            let found: Vec<VolumeInfo> = client.get(&path).await?;
            // It may have gone since.
            all.extend(found.iter().map(super::ls::row));
            Ok::<(), Error>(())
        };
        let code = context.each(&self.volumes, one).await?;
        ui::print(form::objects(self.format.as_ref(), context.ui, &all)?)?;
        Ok(code)
    }
}

fn form(text: &str) -> Result<Form, String> {
    Form::of_objects(text, &super::ls::row(&VolumeInfo::default()))
}

/// As `docker volume inspect` shows it.
pub(super) fn json(volume: &VolumeInfo) -> Value {
    json!({
        "Name": volume.name,
        "Stack": volume.project,
        "Driver": "local",
        "Scope": "local",
        "Mountpoint": volume.path,
        "Form": kind(volume.form),
        "Size": volume.size,
        "Anonymous": volume.anonymous,
        "Labels": volume.labels,
        "CreatedAt": human::timestamp(volume.created_ms),
        "CreatedMs": volume.created_ms,
        "Users": volume.users,
    })
}

/// `disk` or `tree`.
pub(super) fn kind(form: volume::Form) -> &'static str {
    match form {
        volume::Form::Disk => "disk",
        volume::Form::Tree => "tree",
    }
}

//! `stack volume inspect`

use serde_json::{Value, json};
use stack_api::volume::{Form, VolumeInfo};

use super::find;
use crate::context::Context;
use crate::error::Error;
use crate::{exit, ui};

/// Show volumes in full, as JSON
///
/// The form is that of `docker volume inspect`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: who uses a volume\n  \
                  stack volume inspect data | jq '.[].Users'")]
pub(super) struct Inspect {
    /// Volumes: full names, or keys of this project's file
    #[arg(value_name = "VOLUME", required = true)]
    volumes: Vec<String>,
}

impl Inspect {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let client = context.client().await?;
        let mut all = Vec::new();
        for word in &self.volumes {
            let name = find(context, &client, word).await?;
            let path = format!("/v1/volumes?name={name}");
            let found: Vec<VolumeInfo> = client.get(&path).await?;
            // It may have gone since.
            all.extend(found.iter().map(json));
        }
        let text = serde_json::to_string_pretty(&all).map_err(|e| Error::Lost(e.to_string()))?;
        ui::print_line(text)?;
        Ok(exit::OK)
    }
}

/// As `docker volume inspect` shows it.
pub(super) fn json(volume: &VolumeInfo) -> Value {
    json!({
        "Name": volume.name,
        "Stack": volume.project,
        "Driver": "local",
        "Scope": "local",
        "Mountpoint": volume.path,
        "Form": form(volume.form),
        "Size": volume.size,
        "Anonymous": volume.anonymous,
        "Labels": volume.labels,
        "CreatedMs": volume.created_ms,
        "Users": volume.users,
    })
}

/// `disk` or `tree`.
pub(super) fn form(form: Form) -> &'static str {
    match form {
        Form::Disk => "disk",
        Form::Tree => "tree",
    }
}

//! `stack images`

use std::collections::BTreeMap;

use serde_json::json;
use stack_api::container::Container;
use stack_api::image::Details;

use super::Services;
use super::image::{familiar, parts};
use crate::context::{Context, containers};
use crate::error::Error;
use crate::ui::form::{Form, Row};
use crate::ui::human;
use crate::ui::table::Columns;
use crate::{exit, ui};

/// List the images that the containers of a stack were made from
///
/// `stack image ls` lists all images on this machine.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: the image of each container, with its size in bytes\n  \
                  stack images --format json | jq -r '.[] | [.ContainerName, .Size] | @tsv'"
)]
pub(crate) struct Images {
    #[command(flatten)]
    services: Services,

    /// Only ids, each once
    #[arg(short, long)]
    quiet: bool,

    /// table, json (one array), or a text with fields in it, e.g.
    /// '{{.Repository}} {{.Size}}'
    #[arg(long, value_name = "FORM", default_value = "table", value_parser = form)]
    format: Form,
}

impl Images {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let services = &self.services.services;
        let project = context.named()?;
        let client = context.client().await?;
        let mut used = containers(&client, &project.name).await?;
        project.check_services(services, &used)?;
        used.retain(|one| services.is_empty() || services.contains(&one.service));
        used.sort_by(|a, b| a.name.cmp(&b.name));
        if self.quiet {
            let mut seen = Vec::new();
            for one in &used {
                let id = human::bare_id(&one.image_id);
                if !seen.contains(&id) {
                    ui::print_line(id)?;
                    seen.push(id);
                }
            }
            return Ok(exit::OK);
        }
        let all: Vec<Details> = client.get("/v1/images/all").await?;
        let all: BTreeMap<&str, &Details> =
            all.iter().map(|image| (image.id.as_str(), image)).collect();
        let image = |one: &Container| all.get(one.image_id.as_str()).copied();
        let rows: Vec<Row> = used.iter().map(|one| row(one, image(one))).collect();
        if let Some(text) = self.format.array(context.ui, &rows)? {
            ui::print(text)?;
            return Ok(exit::OK);
        }
        let head = [
            "CONTAINER",
            "REPOSITORY",
            "TAG",
            "PLATFORM",
            "IMAGE ID",
            "SIZE",
        ];
        let mut table = Columns::new(context.ui, &head);
        for one in &used {
            let (repository, tag) = name(one);
            let found = image(one);
            table.row(vec![
                one.name.clone(),
                repository,
                tag,
                found.map_or_else(|| "-".to_owned(), |image| image.platform.clone()),
                human::short_id(&one.image_id).to_owned(),
                found.map_or_else(|| "-".to_owned(), |image| human::bytes(image.size)),
            ]);
        }
        ui::print(table)?;
        Ok(exit::OK)
    }
}

fn form(text: &str) -> Result<Form, String> {
    let details = Details::default();
    Form::parse(text, &row(&Container::default(), Some(&details)))
}

/// Repository and tag, as the stack file has them.
fn name(container: &Container) -> (String, String) {
    let shown = familiar(&container.image);
    let (repository, tag) = parts(&shown);
    (repository.to_owned(), tag.unwrap_or("latest").to_owned())
}

fn row(container: &Container, image: Option<&Details>) -> Row {
    let (repository, tag) = name(container);
    Row::from(json!({
        "ID": container.image_id,
        "ContainerName": container.name,
        "Repository": repository,
        "Tag": tag,
        "Platform": image.map(|image| &image.platform),
        "Size": image.map(|image| image.size),
        "Created": image.and_then(|image| image.made.as_ref()),
    }))
}

//! `stack ps`

mod json;
mod status;

use stack_api::container::{Container, State};

use crate::context::{Context, containers};
use crate::error::Error;
use crate::ui::form::{Form, Row};
use crate::ui::table::{Columns, cut};
use crate::ui::{Ui, human, untrusted};
use crate::{exit, ui};

/// List the containers of a stack
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: names and health of all containers, one JSON object per line\n  \
                  stack ps -a --format json"
)]
pub(crate) struct Ps {
    /// Services (default: all)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,

    /// Also containers that do not run
    #[arg(short, long)]
    all: bool,

    /// Only ids
    #[arg(short, long)]
    quiet: bool,

    /// Only names of services
    #[arg(long = "services", conflicts_with = "quiet")]
    service_names: bool,

    /// Only containers in this state (implies -a); may be repeated
    #[arg(long, value_name = "STATE")]
    status: Vec<String>,

    /// The same as Docker writes it: status=STATE
    #[arg(long = "filter", value_name = "FILTER", value_parser = filter, hide = true)]
    filters: Vec<String>,

    /// table, json (one object per line), or a text with fields in it, e.g.
    /// '{{.Name}} {{.Status}}'
    #[arg(long, value_name = "FORM", default_value = "table", value_parser = form)]
    format: Form,

    /// Also containers of services that are not in the file
    #[arg(long, value_name = "BOOL", default_value_t = true, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    orphans: bool,

    /// Do not shorten commands and image names
    #[arg(long)]
    no_trunc: bool,
}

impl Ps {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let project = context.named()?;
        let client = context.client().await?;
        let mut list = containers(&client, &project.name).await?;
        project.check_services(&self.services, &list)?;
        list.retain(|container| self.is_wanted(container));
        if let (false, Some(known)) = (self.orphans, &project.services) {
            list.retain(|container| known.contains(&container.service));
        }
        if self.quiet {
            for container in &list {
                ui::print_line(&container.id)?;
            }
            return Ok(exit::OK);
        }
        if self.service_names {
            let mut names: Vec<&str> = list.iter().map(|c| c.service.as_str()).collect();
            names.dedup();
            for name in names {
                ui::print_line(name)?;
            }
            return Ok(exit::OK);
        }
        let now = human::now_ms();
        let rows: Vec<Row> = list.iter().map(|c| json::row(c, now)).collect();
        match self.format.list(context.ui, &rows)? {
            Some(text) => ui::print(text)?,
            None => self.table(context, &list)?,
        }
        Ok(exit::OK)
    }

    fn is_wanted(&self, container: &Container) -> bool {
        let state = container.state;
        // One-off containers are nobody's business but that of whoever asks.
        if container.one_off && !self.all && self.status.is_empty() && self.filters.is_empty() {
            return false;
        }
        let by_service = self.services.is_empty() || self.services.contains(&container.service);
        let mut wanted = self.status.iter().chain(&self.filters).peekable();
        let by_state = if wanted.peek().is_none() {
            self.all || state.is_live()
        } else {
            wanted.any(|wanted| {
                wanted == state.as_str() || (wanted == "stopped" && state == State::Exited)
            })
        };
        by_service && by_state
    }

    fn table(&self, context: &Context, list: &[Container]) -> Result<(), Error> {
        let ui = context.ui;
        // What says least goes first when the terminal is narrow.
        let leave_out: [&[&str]; 3] = [&[], &["COMMAND"], &["COMMAND", "CREATED", "IMAGE"]];
        let tables = leave_out.map(|left_out| self.columns(ui, list, left_out));
        let [.., narrowest] = &tables;
        let fits = |table: &&Columns| self.no_trunc || table.width() <= ui.width;
        ui::print(tables.iter().find(fits).unwrap_or(narrowest))?;
        for container in list {
            if let Some(error) = &container.error {
                ui.warn(format_args!(
                    "{}: {}",
                    container.name,
                    untrusted::plain(error)
                ));
            }
        }
        Ok(())
    }

    fn columns(&self, ui: Ui, list: &[Container], left_out: &[&str]) -> Columns {
        let now = human::now_ms();
        let head = [
            "NAME", "IMAGE", "COMMAND", "SERVICE", "CREATED", "STATUS", "PORTS",
        ];
        let keep = |name: &&str| !left_out.contains(name);
        let kept: Vec<&str> = head.into_iter().filter(keep).collect();
        let mut table = Columns::new(ui, &kept);
        let short = |text: &str, width: usize| {
            let text = untrusted::plain(text);
            if self.no_trunc {
                text
            } else {
                cut(&text, width)
            }
        };
        for container in list {
            let cell = |name: &str| match name {
                "NAME" => container.name.clone(),
                "IMAGE" => short(&container.image, 40),
                "COMMAND" => format!("\"{}\"", short(&container.command, 24)),
                "SERVICE" => container.service.clone(),
                "CREATED" => {
                    format!(
                        "{} ago",
                        human::span(now.saturating_sub(container.created_ms))
                    )
                }
                "STATUS" => ui
                    .out
                    .paint(status::colour(container), status::text(container, now)),
                _ => status::ports(container),
            };
            table.row(kept.iter().map(|name| cell(name)).collect());
        }
        table
    }
}

fn form(text: &str) -> Result<Form, String> {
    Form::parse(text, &json::row(&Container::default(), 0))
}

/// The state of `status=STATE`.
fn filter(text: &str) -> Result<String, String> {
    let state = text
        .strip_prefix("status=")
        .filter(|state| !state.is_empty());
    state
        .map(str::to_owned)
        .ok_or_else(|| "status=STATE is the only filter".to_owned())
}

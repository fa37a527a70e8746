//! `stack stats`

mod form;
mod history;
mod screen;

use std::io::IsTerminal;
use std::time::Duration;

use stack_api::look::Usage;
use stack_api::network::NetStats;

use super::{Services, net};
use crate::client::{Client, services_query};
use crate::context::{Context, containers};
use crate::error::Error;
use crate::interrupt::Interrupts;
use crate::ui::form::Form;
use crate::ui::{Ui, human};
use crate::{exit, ui};
use history::History;
use screen::Screen;

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// Show what containers use
///
/// On a terminal the table is live, with the processor's last half minute as
/// a line of bars. Percentages are of one processor: two busy ones are 200%.
/// Below the table is what the network daemon sees; `stack net stats` tells more.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: one look, for a script\n  \
                  stack stats --no-stream --format json")]
pub(crate) struct Stats {
    #[command(flatten)]
    services: Services,

    /// Also containers that do not run
    #[arg(short, long)]
    all: bool,

    /// Look once and end
    #[arg(long)]
    no_stream: bool,

    /// Do not shorten ids
    #[arg(long)]
    no_trunc: bool,

    /// table, json (one object per line), or a text with fields in it, e.g.
    /// '{{.Name}} {{.CPUPerc}}'
    #[arg(long, value_name = "FORM", default_value = "table", value_parser = form::parse)]
    format: Form,
}

impl Stats {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let project = context.named()?;
        let client = context.client().await?;
        let existing = containers(&client, &project.name).await?;
        project.check_services(&self.services.services, &existing)?;
        let path = format!(
            "/v1/stacks/{}/stats?{}",
            project.name,
            services_query(&self.services.services)
        );
        let mut interrupts = Interrupts::take()?;
        let mut history = History::default();
        // Shares of a processor need two looks.
        history.add(self.look(&client, &path).await?);
        let mut drawn = 0;
        loop {
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = interrupts.next() => return Ok(exit::OK),
            }
            history.add(self.look(&client, &path).await?);
            let live = !self.no_stream && std::io::stdout().is_terminal();
            let screen = Screen::now(live);
            let text = self.text(context.ui, &history, screen)?;
            let mut below = Vec::new();
            if self.format == Form::Table {
                let path = format!("/v1/stacks/{}/net", project.name);
                let seen: NetStats = client.get(&path).await?;
                below.extend(seen.daemons.iter().map(net::summary));
            }
            let text = screen.cut(&text, below);
            if live && drawn > 0 {
                // Back to the first line, and away with what is below.
                ui::print(format_args!("\u{1b}[{drawn}A\u{1b}[J"))?;
            }
            ui::print(&text)?;
            drawn = text.lines().count();
            if self.no_stream {
                return Ok(exit::OK);
            }
        }
    }

    async fn look(&self, client: &Client, path: &str) -> Result<Vec<Usage>, Error> {
        let mut list: Vec<Usage> = client.get(path).await?;
        list.retain(|usage| self.all || usage.live);
        Ok(list)
    }

    fn text(&self, ui: Ui, history: &History, screen: Screen) -> Result<String, Error> {
        let rows: Vec<form::Row> = history
            .latest()
            .map(|usage| {
                let mut row = form::Row::new(usage, history.share(usage));
                row.bars = history.bars(&usage.id);
                if !self.no_trunc {
                    row.id = human::short_id(&row.id).to_owned();
                }
                row
            })
            .collect();
        let lines: Vec<_> = rows.iter().map(|row| row.json().into()).collect();
        Ok(match self.format.list(ui, &lines)? {
            Some(text) => text,
            None => screen.table(ui, &rows).to_string(),
        })
    }
}

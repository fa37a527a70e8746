//! `stack net stats`

use stack_api::network::{DaemonStats, NetStats};

use crate::context::Context;
use crate::error::Error;
use crate::ui::form::Format;
use crate::ui::human;
use crate::ui::table::Columns;
use crate::{exit, ui};

/// Show what passed the networks, and what was dropped and why
///
/// Counters start with the network daemon of the stack.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: was anything dropped\n  \
                  stack net stats --format json | jq '.daemons[].drops'")]
pub(super) struct Stats {
    /// table, or json: one object
    #[arg(long, value_enum, default_value_t, hide_possible_values = true)]
    format: Format,

    /// Services (default: all)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

impl Stats {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let project = context.named()?;
        let client = context.client().await?;
        let path = format!("/v1/stacks/{}/net", project.name);
        let mut stats: NetStats = client.get(&path).await?;
        if !self.services.is_empty() {
            stats
                .cards
                .retain(|card| self.services.contains(&card.service));
        }
        if self.format == Format::Json {
            let text = serde_json::to_string(&stats).map_err(|e| Error::Lost(e.to_string()))?;
            ui::print_line(text)?;
            return Ok(exit::OK);
        }
        let head = [
            "CONTAINER",
            "NETWORK",
            "RECEIVED",
            "FRAMES",
            "SENT",
            "FRAMES",
        ];
        let mut table = Columns::new(context.ui, &head);
        for card in &stats.cards {
            table.row(vec![
                card.container.clone(),
                card.network.clone(),
                human::bytes(card.rx_bytes),
                card.rx_frames.to_string(),
                human::bytes(card.tx_bytes),
                card.tx_frames.to_string(),
            ]);
        }
        ui::print(table)?;
        for daemon in &stats.daemons {
            ui::print_line(summary(daemon))?;
        }
        Ok(exit::OK)
    }
}

/// A network daemon in a line.
pub(in crate::commands) fn summary(daemon: &DaemonStats) -> String {
    let drops = daemon.drops.iter();
    let drops: Vec<String> = drops
        .map(|(reason, count)| format!("{reason} {count}"))
        .collect();
    let drops = match drops.is_empty() {
        true => "none".to_owned(),
        false => drops.join(", "),
    };
    format!(
        "{}: {} flows, {} published ports, {} questions for names ({} passed on), dropped: {drops}",
        daemon.home, daemon.flows, daemon.published, daemon.queries, daemon.forwarded
    )
}

//! `stack top`

use stack_api::look::{Process, Processes};

use super::Services;
use crate::client::services_query;
use crate::context::{Context, containers};
use crate::error::Error;
use crate::ui::table::Columns;
use crate::ui::{human, palette, untrusted};
use crate::{exit, ui};

/// List the processes of running containers
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: what runs in one service, as seen from inside\n  \
                  stack top web"
)]
pub(crate) struct Top {
    #[command(flatten)]
    services: Services,
}

impl Top {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let services = self.services.services;
        let project = context.named()?;
        let client = context.client().await?;
        let existing = containers(&client, &project.name).await?;
        project.check_services(&services, &existing)?;
        let path = format!(
            "/v1/stacks/{}/processes?{}",
            project.name,
            services_query(&services)
        );
        let lists: Vec<Processes> = client.get(&path).await?;
        for list in &lists {
            ui::print_line(context.ui.out.paint(palette::STRONG, &list.container))?;
            let head = ["UID", "PID", "PPID", "C", "STIME", "TIME", "RSS", "CMD"];
            let mut table = Columns::new(context.ui, &head);
            for process in &list.processes {
                table.row(row(process, human::now_ms()));
            }
            ui::print(table)?;
            ui::print_line("")?;
        }
        Ok(exit::OK)
    }
}

/// The words of ps(1).
fn row(process: &Process, now_ms: u64) -> Vec<String> {
    let share = (process.cpu_ms * 100)
        .checked_div(process.age_ms)
        .unwrap_or(0);
    let began = i64::try_from(now_ms.saturating_sub(process.age_ms)).unwrap_or(0);
    let began = jiff::Timestamp::from_millisecond(began).map_or_else(
        |_| "?".to_owned(),
        |time| {
            let form = if process.age_ms < 24 * 3_600_000 {
                "%H:%M"
            } else {
                "%b%d"
            };
            time.to_zoned(jiff::tz::TimeZone::system())
                .strftime(form)
                .to_string()
        },
    );
    let seconds = process.cpu_ms / 1000;
    vec![
        untrusted::plain(&process.user),
        process.pid.to_string(),
        process.ppid.to_string(),
        share.to_string(),
        began,
        format!(
            "{:02}:{:02}:{:02}",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60
        ),
        human::bytes(process.memory),
        untrusted::plain(&process.command),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_ps() {
        let process = Process {
            pid: 7,
            user: "www".to_owned(),
            cpu_ms: 3_725_000,
            age_ms: 7_450_000,
            command: "nginx\u{1b}[2J".to_owned(),
            ..Process::default()
        };
        let row = row(&process, 1_700_000_000_000);
        assert_eq!(row[3], "50");
        assert_eq!(row[5], "01:02:05");
        assert!(!row[7].contains('\u{1b}'));
    }
}

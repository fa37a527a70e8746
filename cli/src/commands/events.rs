//! `stack events`

mod filter;

use stack_api::journal::{EventQuery, Happening};

use super::logs::time;
use crate::context::{Context, containers};
use crate::error::Error;
use crate::interrupt::Interrupts;
use crate::ui::untrusted;
use crate::{exit, ui};
use filter::Filter;

/// Show what happens to containers, as it happens
///
/// With --since what happened before is shown first; the daemon keeps it,
/// also while it does not run. With --until the command ends by itself.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: which containers of this stack ended in the last hour, and how\n  \
                  stack events --since 1h --until 0s --filter event=die --json"
)]
pub(crate) struct Events {
    /// Services (default: all)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,

    /// One JSON object per line
    #[arg(long)]
    json: bool,

    /// Begin with what happened since then: a duration (10m, 1h30m), a time
    /// (RFC 3339) or seconds since 1970
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<u64>,

    /// End with what happened until then; as --since
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<u64>,

    /// Only what fits: event=, container=, service=, image=, label= or
    /// type=container; the same key twice is either, but all labels are needed
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<Filter>,
}

impl Events {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let project = context.named()?;
        let client = context.client().await?;
        // A container that is gone has a past, too.
        if self.since.is_none() {
            let existing = containers(&client, &project.name).await?;
            project.check_services(&self.services, &existing)?;
        }
        let query = EventQuery {
            services: (!self.services.is_empty()).then(|| self.services.join(",")),
            since_ns: self.since,
            until_ns: self.until,
            after: None,
        };
        let mut interrupts = Interrupts::take()?;
        let mut events = client.happenings(&project.name, &query).await?;
        loop {
            let next = tokio::select! {
                next = events.next() => next?,
                () = interrupts.next() => return Ok(exit::INTERRUPTED),
            };
            let Some(happening) = next else {
                return Ok(exit::OK);
            };
            if filter::all(&self.filters, &happening) {
                if self.json {
                    ui::print_line(json(&happening))?;
                } else {
                    ui::print_line(text(&happening))?;
                }
            }
        }
    }
}

/// As `docker compose events` writes it, in local time.
fn text(happening: &Happening) -> String {
    let attributes: Vec<String> = happening
        .attributes
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let time = stamp(happening.time_ns).map_or_else(String::new, |time| {
        time.to_zoned(jiff::tz::TimeZone::system())
            .strftime("%Y-%m-%d %H:%M:%S%.6f")
            .to_string()
    });
    untrusted::plain(&format!(
        "{time} container {} {} ({})",
        happening.action,
        happening.id,
        attributes.join(", ")
    ))
}

/// The fields of `docker compose events --json`, and `sequence`.
fn json(happening: &Happening) -> serde_json::Value {
    serde_json::json!({
        "time": stamp(happening.time_ns).map(|time| format!("{time:.9}")),
        "type": "container",
        "service": happening.service,
        "id": happening.id,
        "action": happening.action,
        "attributes": happening.attributes,
        "sequence": happening.sequence,
    })
}

fn stamp(ns: u64) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_nanosecond(i128::from(ns)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_those_of_compose() {
        let happening = Happening {
            sequence: 7,
            time_ns: 1_700_000_000_123_456_789,
            project: "shop".to_owned(),
            service: "web".to_owned(),
            id: "ab".repeat(32),
            action: "die".to_owned(),
            attributes: [("exitCode", "3"), ("name", "shop-web-1")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
        };
        let text = text(&happening);
        assert!(
            text.ends_with(&format!(
                ".123456 container die {} (exitCode=3, name=shop-web-1)",
                "ab".repeat(32)
            )),
            "{text}"
        );
        let json = json(&happening);
        assert_eq!(json["time"], "2023-11-14T22:13:20.123456789Z");
        assert_eq!(json["attributes"]["exitCode"], "3");
        assert_eq!(json["action"], "die");
    }
}

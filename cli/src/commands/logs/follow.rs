//! `logs -f`: lines and ends of containers, as they come.

use std::time::Duration;

use stack_api::request::LogQuery;
use tokio::time::MissedTickBehavior;

use super::Logs;
use crate::client::Client;
use crate::context::containers;
use crate::error::Error;
use crate::exits::{Exited, Exits};
use crate::logs::Printer;
use crate::ui::human;

/// How long a new container may take to follow an old one.
const SUCCESSOR: Duration = Duration::from_millis(600);
/// How often containers are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(400);

/// Prints until nothing runs any more.
///
/// # Errors
/// The daemon goes away, or the output does.
pub(super) async fn follow(
    logs: &Logs,
    client: &Client,
    stack: &str,
    mut query: LogQuery,
    printer: &mut Printer,
) -> Result<(), Error> {
    let began_ms = human::now_ms();
    let (mut exits, _) = Exits::from_now_on(client, stack).await?;
    // Told at the next look: their last lines may still be on their way.
    let mut pending: Vec<Exited> = Vec::new();
    let mut look = tokio::time::interval(LOOK_EVERY);
    // Lines have their turn, too.
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let mut lines = client.logs(stack, &query).await?;
        loop {
            let line = tokio::select! {
                line = lines.next_or_idle(|| printer.flush()) => line?,
                never = exits.attend() => match never? {},
                _ = look.tick() => {
                    let mut list = containers(client, stack).await?;
                    list.retain(|container| logs.is_chosen(container));
                    let news = exits.news(&list).await?;
                    tell(printer, &std::mem::replace(&mut pending, news))?;
                    continue;
                }
            };
            let Some(line) = line else { break };
            // Those of several containers do not come in order.
            query.since_ns = query.since_ns.max(Some(line.time_ns.saturating_add(1)));
            printer.line(&line)?;
        }
        printer.flush()?;
        // The daemon follows until nothing runs, which may be the moment
        // between an old container and the new one in its place.
        let attended = tokio::time::timeout(SUCCESSOR, exits.attend()).await;
        if let Ok(never) = attended {
            match never? {}
        }
        let mut list = containers(client, stack).await?;
        list.retain(|container| logs.is_chosen(container));
        pending.extend(exits.news(&list).await?);
        tell(printer, &std::mem::take(&mut pending))?;
        if !list.iter().any(|container| container.goes_on()) {
            return printer.flush();
        }
        // What was there before has been passed over.
        if query.tail.take().is_some() && query.since_ns == logs.since {
            query.since_ns = query.since_ns.max(Some(began_ms.saturating_mul(1_000_000)));
        }
    }
}

fn tell(printer: &mut Printer, ended: &[Exited]) -> Result<(), Error> {
    ended.iter().try_for_each(|exited| printer.exited(exited))
}

//! `stack logs`

mod follow;

use jiff::{SignedDuration, Timestamp};
use stack_api::container::Container;
use stack_api::request::LogQuery;

use crate::context::{Context, containers};
use crate::error::Error;
use crate::exit;
use crate::logs::{Look, Printer};

/// Show what services wrote to standard output and standard error
///
/// Lines of all containers are merged by the time they were written. What a command of
/// `run` or a `pre_start` hook wrote is shown by the name of its container (`stack ps -a`).
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: the last ten lines of two services, then what they write next\n  \
                  stack logs -f -n 10 web db\n\n\
                  Example: what went wrong in the last half hour\n  \
                  stack logs --since 30m --grep '(?i)error|panic'"
)]
pub(crate) struct Logs {
    /// Services, or names of containers, also of hooks and of `run` (default: all services)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,

    /// Go on with new lines until nothing runs any more
    #[arg(short, long)]
    pub(crate) follow: bool,

    /// Only the last N lines of each container, or all
    #[arg(short = 'n', long, value_name = "N", default_value = "all", value_parser = tail)]
    tail: Tail,

    /// Only lines since then: a duration (10m, 1h30m), a time (RFC 3339) or
    /// seconds since 1970
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<u64>,

    /// Only lines before then; as --since
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<u64>,

    /// Only lines that match this regular expression; (?i) ignores case
    #[arg(short, long, value_name = "PATTERN")]
    grep: Option<String>,

    /// Say when each line was written
    #[arg(short, long)]
    timestamps: bool,

    /// No colours
    #[arg(long)]
    no_color: bool,

    /// Do not say which container a line is from
    #[arg(long)]
    no_log_prefix: bool,

    /// Only the container with this number of each service
    #[arg(long, value_name = "N")]
    index: Option<u32>,
}

/// `--tail`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tail {
    All,
    Last(u64),
}

impl Logs {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let project = context.named()?;
        let client = context.client().await?;
        let mut known = containers(&client, &project.name).await?;
        let is_container = |name: &&String| known.iter().any(|c| c.name == **name);
        let services = self.services.iter().filter(|name| !is_container(name));
        project.check_services(&services.cloned().collect::<Vec<_>>(), &known)?;
        if known.is_empty() {
            context
                .ui
                .note(format_args!("stack {} has no containers", project.name));
            return Ok(exit::OK);
        }
        known.retain(|container| self.is_chosen(container));
        if let Some(index) = self.index
            && !known.iter().any(|container| container.number == index)
        {
            return Err(no_such_index(&self.services, index));
        }
        let query = LogQuery {
            services: (!self.services.is_empty()).then(|| self.services.join(",")),
            follow: self.follow,
            tail: match self.tail {
                Tail::All => None,
                Tail::Last(n) => Some(n),
            },
            since_ns: self.since,
            until_ns: self.until,
            grep: self.grep.clone(),
            index: self.index,
        };
        let look = Look {
            prefix: !self.no_log_prefix,
            timestamps: self.timestamps,
            apart: false,
            ..Look::new(context.ui, !self.no_color)
        };
        let mut printer = Printer::new(look, &project.name, &known);
        if self.follow && self.until.is_none() {
            follow::follow(&self, &client, &project.name, query, &mut printer).await?;
            return Ok(exit::OK);
        }
        let mut lines = client.logs(&project.name, &query).await?;
        while let Some(line) = lines.next_or_idle(|| printer.flush()).await? {
            printer.line(&line)?;
        }
        printer.flush()?;
        Ok(exit::OK)
    }
}

impl Logs {
    /// As the daemon has it.
    fn is_chosen(&self, container: &Container) -> bool {
        let by_service = self.services.is_empty() || self.services.contains(&container.service);
        by_service && !container.one_off || self.services.contains(&container.name)
    }
}

fn no_such_index(services: &[String], index: u32) -> Error {
    let what = match services {
        [] => "the stack".to_owned(),
        services => services.join(", "),
    };
    Error::usage(
        format!("{what} has no container {index}"),
        "`stack ps -a` shows which there are",
    )
}

fn tail(text: &str) -> Result<Tail, String> {
    match text {
        "all" => Ok(Tail::All),
        // As Docker: a negative number is all.
        _ if text
            .strip_prefix('-')
            .is_some_and(|n| n.parse::<u64>().is_ok()) =>
        {
            Ok(Tail::All)
        }
        _ => text
            .parse()
            .map(Tail::Last)
            .map_err(|_| "a number of lines, or all".to_owned()),
    }
}

/// A moment on the command line, in nanoseconds since the epoch.
pub(super) fn time(text: &str) -> Result<u64, String> {
    time_at(text, Timestamp::now())
}

/// Nanoseconds since the epoch.
fn time_at(text: &str, now: Timestamp) -> Result<u64, String> {
    let time = if let Ok(time) = text.parse::<Timestamp>() {
        time
    } else if let Ok(ago) = text.parse::<SignedDuration>() {
        now.checked_sub(ago.abs())
            .map_err(|error| error.to_string())?
    } else if let Ok(seconds) = text.parse::<f64>() {
        let since = SignedDuration::try_from_secs_f64(seconds).map_err(|e| e.to_string())?;
        Timestamp::from_duration(since).map_err(|error| error.to_string())?
    } else if let Ok(local) = text.parse::<jiff::civil::DateTime>() {
        let zoned = local.to_zoned(jiff::tz::TimeZone::system());
        zoned.map_err(|error| error.to_string())?.timestamp()
    } else {
        return Err(
            "a duration (10m, 1h30m), a time (2026-01-31T15:00:00Z) or seconds since 1970"
                .to_owned(),
        );
    };
    Ok(u64::try_from(time.as_nanosecond()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_all_forms() {
        let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        let ns =
            |text: &str| u64::try_from(text.parse::<Timestamp>().unwrap().as_nanosecond()).unwrap();
        assert_eq!(time_at("10m", now), Ok(ns("2026-01-01T11:50:00Z")));
        assert_eq!(time_at("1h30m", now), Ok(ns("2026-01-01T10:30:00Z")));
        assert_eq!(
            time_at("2025-12-31T00:00:00+01:00", now),
            Ok(ns("2025-12-30T23:00:00Z"))
        );
        assert_eq!(time_at("1700000000.5", now), Ok(1_700_000_000_500_000_000));
        assert!(time_at("2025-12-31", now).is_ok());
        assert!(time_at("yesterday", now).is_err());
    }

    #[test]
    fn tails() {
        assert_eq!(tail("all"), Ok(Tail::All));
        assert_eq!(tail("-1"), Ok(Tail::All));
        assert_eq!(tail("0"), Ok(Tail::Last(0)));
        assert!(tail("many").is_err());
    }
}

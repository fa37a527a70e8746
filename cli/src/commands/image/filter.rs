//! `--filter` of images and of what is pruned.

use jiff::{Span, Timestamp, Zoned};
use stack_api::image::{Details, Filter};

/// One filter for a list.
#[derive(Debug, Clone)]
pub(super) enum Wanted {
    Dangling(bool),
    Reference(String),
    Other(Prune),
}

/// One filter for what is pruned.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Prune {
    Until(u64),
    Label(String),
    NoLabel(String),
}

/// Reads a filter of a list.
pub(super) fn parse(text: &str) -> Result<Wanted, String> {
    match text.split_once('=') {
        Some(("dangling", "true" | "1")) => Ok(Wanted::Dangling(true)),
        Some(("dangling", "false" | "0")) => Ok(Wanted::Dangling(false)),
        Some(("reference", pattern)) => Ok(Wanted::Reference(pattern.to_owned())),
        _ => parse_prune(text).map(Wanted::Other).map_err(|_| {
            "there are `dangling=true`, `reference=PATTERN`, `label=key[=value]` and `until=TIME`"
                .to_owned()
        }),
    }
}

/// Reads a filter of what is pruned.
pub(crate) fn parse_prune(text: &str) -> Result<Prune, String> {
    match text.split_once('=') {
        Some(("until", time)) => until(time).map(Prune::Until),
        Some(("label", label)) => Ok(Prune::Label(label.to_owned())),
        Some(("label!", label)) => Ok(Prune::NoLabel(label.to_owned())),
        _ => Err("there are `until=TIME`, `label=key[=value]` and `label!=key[=value]`".to_owned()),
    }
}

/// All of them as the daemon takes them.
pub(crate) fn together(filters: &[Prune]) -> Filter {
    let mut all = Filter::default();
    for filter in filters {
        match filter {
            Prune::Until(time) => {
                all.until_ms = Some(all.until_ms.map_or(*time, |before| before.min(*time)));
            }
            Prune::Label(label) => all.labels.push(label.clone()),
            Prune::NoLabel(label) => all.without_labels.push(label.clone()),
        }
    }
    all
}

/// A time stamp, or a duration before now: `24h`, `10m`, `7d`.
fn until(text: &str) -> Result<u64, String> {
    let bad = || format!("`{text}` is neither a time (2024-05-01T12:00:00Z) nor a duration (24h)");
    let at: Timestamp = if let Ok(at) = text.parse() {
        at
    } else if let Ok(civil) = text.parse::<jiff::civil::DateTime>() {
        let zoned = civil.to_zoned(jiff::tz::TimeZone::system());
        zoned.map_err(|_| bad())?.timestamp()
    } else {
        let span: Span = text.parse().map_err(|_| bad())?;
        let then = Zoned::now().checked_sub(span.abs()).map_err(|_| bad())?;
        then.timestamp()
    };
    u64::try_from(at.as_millisecond()).map_err(|_| bad())
}

impl Wanted {
    /// Is the image wanted?
    pub(super) fn takes(&self, image: &Details) -> bool {
        match self {
            Wanted::Dangling(wanted) => image.nameless == *wanted,
            Wanted::Reference(pattern) => fits(pattern, image),
            Wanted::Other(filter) => {
                together(std::slice::from_ref(filter)).takes(&image.labels, image.stored_ms)
            }
        }
    }
}

/// The pattern against the name with and without tag, in full and short.
fn fits(pattern: &str, image: &Details) -> bool {
    if image.nameless {
        return false;
    }
    let full = image.reference.as_str();
    let short = super::familiar(full);
    [full, &short]
        .into_iter()
        .flat_map(|name| [name, super::parts(name).0])
        .any(|name| glob(pattern.as_bytes(), name.as_bytes()))
}

/// `*` and `?` within a part of a path, as in a shell.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            glob(rest, text)
                || text
                    .split_first()
                    .is_some_and(|(first, after)| *first != b'/' && glob(pattern, after))
        }
        (Some((b'?', rest)), Some((c, after))) => *c != b'/' && glob(rest, after),
        (Some((p, rest)), Some((c, after))) => p == c && glob(rest, after),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_patterns() {
        let image = Details {
            reference: "docker.io/library/nginx:1.27".to_owned(),
            ..Details::default()
        };
        for yes in [
            "nginx",
            "nginx:1.27",
            "ngin?",
            "nginx:*",
            "*/*/nginx",
            "n*:1.2?",
        ] {
            assert!(fits(yes, &image), "{yes}");
        }
        for no in ["redis", "nginx:2", "*", "?"] {
            assert_eq!(fits(no, &image), no == "*", "{no}");
        }
    }

    #[test]
    fn times_are_read() {
        assert!(until("24h").unwrap() < until("1h").unwrap());
        assert_eq!(until("1970-01-01T00:00:01Z"), Ok(1000));
        assert!(until("soon").is_err());
        let both = [Prune::Until(5), Prune::Until(3), Prune::Label("a".into())];
        assert_eq!(together(&both).until_ms, Some(3));
    }
}
